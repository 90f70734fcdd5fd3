//! Honest adapters of both formats, and one test per way in which they can lie.
mod gguf;
mod peft;
mod whole;

use crate::{
    Error, Result,
    architectures::{Family, ModelConfig, RopeScaling},
    files::adapters::AdapterSource,
};

/// Two layers of width 8 with 2 heads of 4 rows over 1, as the adapters here are made for.
fn config(family: Family) -> ModelConfig {
    ModelConfig {
        family,
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
    }
}

const Q: &str = "model.layers.0.self_attn.q_proj";
const DOWN: &str = "model.layers.1.mlp.down_proj";

/// 0, 1, 2, ...
fn counted(values: usize) -> Vec<f32> {
    (0..values).map(|value| value as f32).collect()
}

/// All rows of a matrix of a part.
fn rows(source: &AdapterSource, module: &str, b: bool) -> Vec<Vec<f32>> {
    let (_, part) = source.parts().find(|(name, _)| *name == module).unwrap();
    let matrix = if b { part.b } else { part.a };
    let (rows, columns) = matrix.shape();
    let read = |index| {
        let mut row = vec![0.0; columns];
        matrix.row(index, &mut row);
        row
    };
    (0..rows).map(read).collect()
}

fn scale(source: &AdapterSource, module: &str) -> f32 {
    source.parts().find(|(name, _)| *name == module).unwrap().1.scale
}

/// The message of the format error that a lie must cause.
#[track_caller]
fn damaged(result: Result<AdapterSource>, parts: &[&str]) {
    match result {
        Err(Error::Format { path, reason }) => assert_names(&format!("{}: {reason}", path.display()), parts),
        Err(other) => panic!("expected a format error, found {other:?}"),
        Ok(_) => panic!("the lie was believed"),
    }
}

/// The same for what is sound but cannot be used.
#[track_caller]
fn refused(result: Result<AdapterSource>, parts: &[&str]) {
    match result {
        Err(error @ Error::Adapter { .. }) => {
            assert_names(&format!("{error} ({})", error.hint().unwrap_or_default()), parts);
        }
        Err(other) => panic!("expected a refusal, found {other:?}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[track_caller]
fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
}
