//! Any bytes are an adapter or a typed error, in either format; every row of one can be read and is finite.
#![no_main]
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use synapse_engine::{
    Result,
    architectures::{Family, ModelConfig, RopeScaling},
    files::{
        adapters::{AdapterMatrix, AdapterSource},
        gguf::GgufFile,
        safetensors::SafetensorsFile,
    },
};

const CONFIG: ModelConfig = ModelConfig {
    family: Family::Llama,
    vocab_size: 100,
    hidden_size: 8,
    intermediate_size: 12,
    layers: 2,
    heads: 2,
    kv_heads: 1,
    head_dim: 4,
    norm_eps: 1e-5,
    rope_theta: 1e4,
    rope_scaling: RopeScaling::None,
    context_length: 512,
    tied_head: true,
    qkv_bias: false,
    o_bias: false,
    organelles: None,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = read(bytes) else { return };
    for (_, part) in source.parts() {
        assert!(part.scale.is_finite());
        [part.a, part.b].iter().for_each(check);
    }
});

/// A GGUF file, or the settings of PEFT, a zero and the weights.
fn read(bytes: &[u8]) -> Result<AdapterSource> {
    let path = Path::new("fuzz");
    if bytes.starts_with(b"GGUF") {
        return AdapterSource::from_gguf(path, GgufFile::from_bytes(path, bytes.to_vec())?, &CONFIG);
    }
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let weights = bytes[end..].get(1..).unwrap_or_default();
    AdapterSource::from_peft(path, &bytes[..end], path, SafetensorsFile::from_bytes(path, weights.to_vec())?, &CONFIG)
}

fn check(matrix: &AdapterMatrix) {
    let (rows, columns) = matrix.shape();
    let mut row = vec![0.0; columns];
    for index in 0..rows {
        matrix.row(index, &mut row);
        assert!(row.iter().all(|value| value.is_finite()));
    }
}
