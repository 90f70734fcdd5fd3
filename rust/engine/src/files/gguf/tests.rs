//! One test per way a GGUF file can lie, and the honest file that they are lies about.
use std::path::Path;

use proptest::prelude::*;
use synapse_kernels::DType;

use super::{
    GgufFile, Value,
    writer::{Writer, array_value, f32_value, text, text_value, u32_value},
};
use crate::{
    Error, Result,
    architectures::{Family, RopeScaling},
    files::{Checkpoint, TokenizerSource},
};

fn open(writer: &Writer) -> Result<Checkpoint> {
    read(writer.bytes())
}

fn read(bytes: Vec<u8>) -> Result<Checkpoint> {
    GgufFile::from_bytes(Path::new("test.gguf"), bytes)?.checkpoint()
}

/// Applies a lie to a sound Llama file and returns the message of the format error that it must cause.
#[track_caller]
fn damaged(lie: impl FnOnce(&mut Writer)) -> String {
    match open(&lied(lie)) {
        Err(Error::Format { reason, .. }) => reason,
        Err(other) => panic!("expected a format error, found {other:?}"),
        Ok(_) => panic!("the lie was believed"),
    }
}

/// The same for what is sound but cannot be run.
#[track_caller]
fn unsupported(lie: impl FnOnce(&mut Writer)) -> String {
    match open(&lied(lie)) {
        Err(Error::Model(reason)) => reason,
        Err(other) => panic!("expected a model error, found {other:?}"),
        Ok(_) => panic!("an unsupported model was taken"),
    }
}

fn lied(lie: impl FnOnce(&mut Writer)) -> Writer {
    let mut writer = Writer::model("llama");
    lie(&mut writer);
    writer
}

#[track_caller]
fn assert_names(message: String, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
}

#[test]
fn a_sound_llama_file_is_read() {
    let model = open(&Writer::model("llama")).unwrap();
    assert_eq!((model.config.family, model.interleaved_rope, model.format), (Family::Llama, true, "gguf"));
    assert_eq!((model.config.vocab_size, model.config.layers, model.config.head_dim), (6, 2, 8));
    assert_eq!((model.config.heads, model.config.kv_heads, model.config.context_length), (4, 2, 64));
    assert!(model.config.tied_head && !model.config.qkv_bias && !model.config.o_bias);
    assert_eq!(model.config.rope_scaling, RopeScaling::None);
    assert_eq!(model.generation.eos, [4, 5]);
    assert_eq!(model.chat_template.as_deref(), Some("{{ messages }}"));
    let TokenizerSource::Gguf(tokenizer) = &model.tokenizer else { panic!("another tokenizer") };
    assert_eq!((tokenizer.tokens[3].as_str(), tokenizer.merges[0].as_str()), ("é", "a b"));
    let down = model.tensors.tensor("model.layers.1.mlp.down_proj.weight").unwrap();
    assert_eq!((down.dtype, down.shape, down.data.len()), (DType::Q5_0, &[32, 64][..], 32 * 44));
    assert_eq!(model.tensors.names().len(), 20);
}

#[test]
fn a_sound_qwen2_file_is_read_with_its_biases_and_head() {
    let mut writer = Writer::model("qwen2");
    for layer in 0..2 {
        for (part, size) in [("attn_q", 32), ("attn_k", 16), ("attn_v", 16)] {
            writer.add(&format!("blk.{layer}.{part}.bias"), &[size], DType::F32);
        }
    }
    writer.add("output.weight", &[32, 6], DType::Q8_0);
    writer.version = 2;
    let model = open(&writer).unwrap();
    assert_eq!((model.config.family, model.interleaved_rope), (Family::Qwen2, false));
    assert!(model.config.qkv_bias && !model.config.tied_head);
    assert_eq!(model.tensors.tensor("model.layers.0.self_attn.k_proj.bias").unwrap().shape, [16]);
}

#[test]
fn raw_access_gives_metadata_and_tensors_by_gguf_name() {
    let file = GgufFile::from_bytes(Path::new("test.gguf"), Writer::model("llama").bytes()).unwrap();
    assert_eq!(file.metadata()[0], ("general.architecture".to_owned(), Value::Text("llama".into())));
    assert_eq!(file.tensors()[0].shape, [6, 32]);
    let values = file.tensor("token_embd.weight").unwrap().to_f32();
    // A Q8_0 block of 0x3c: the f16 0x3c3c (1.05859375) times 60.
    assert_eq!(values, vec![1.058_593_8 * 60.0; 192]);
    assert!(file.tensor("model.embed_tokens.weight").is_none());
}

#[test]
fn rope_scaling_is_read_from_keys_or_factors() {
    let linear = lied(|w| {
        w.set("llama.rope.scaling.type", text_value("linear"));
        w.set("llama.rope.scaling.factor", f32_value(4.0));
    });
    assert_eq!(open(&linear).unwrap().config.rope_scaling, RopeScaling::Linear { factor: 4.0 });
    let mut factors = Writer::model("llama");
    factors.add("rope_freqs.weight", &[4], DType::F32);
    factors.tensor("rope_freqs.weight").data = [1f32, 1.0, 8.0, 8.0].iter().flat_map(|f| f.to_le_bytes()).collect();
    let model = open(&factors).unwrap();
    assert_eq!(model.config.rope_scaling, RopeScaling::Factors(vec![1.0, 1.0, 8.0, 8.0]));
    assert_eq!(model.tensors.names().len(), 20, "the factors are configuration, not a weight");
    let message = unsupported(|w| w.set("llama.rope.scaling.type", text_value("yarn")));
    assert_names(message, &["llama.rope.scaling.type", "yarn"]);
}

#[test]
fn truncated_anywhere_is_an_error() {
    let bytes = Writer::model("llama").bytes();
    let data: usize = Writer::model("llama").tensors.iter().map(|tensor| tensor.data.len()).sum();
    // Every byte of the header, then places in each tensor; this file ends with a tensor's last byte.
    let cuts = (0..bytes.len() - data).chain((bytes.len() - data..bytes.len()).step_by(61)).chain([bytes.len() - 1]);
    for length in cuts {
        assert!(matches!(read(bytes[..length].to_vec()), Err(Error::Format { .. })), "{length} bytes");
    }
}

#[test]
fn another_magic() {
    assert_names(damaged(|w| w.magic = *b"GGML"), &["expected a GGUF file", "GGML"]);
}

#[test]
fn other_versions() {
    assert_names(damaged(|w| w.version = 1), &["GGUF version 1"]);
    assert_names(damaged(|w| w.version = 4), &["GGUF version 4"]);
    assert_names(damaged(|w| w.version = 3u32.swap_bytes()), &["big-endian"]);
}

#[test]
fn huge_counts() {
    assert_names(damaged(|w| w.tensor_count = Some(u64::MAX)), &["tensor count"]);
    assert_names(damaged(|w| w.tensor_count = Some(1 << 40)), &["tensor count"]);
    assert_names(damaged(|w| w.entry_count = Some(u64::MAX)), &["metadata count"]);
    assert_names(damaged(|w| w.entry_count = Some(1 << 33)), &["metadata count"]);
}

#[test]
fn counts_that_do_not_match() {
    damaged(|w| w.tensor_count = Some(w.tensors.len() as u64 + 1));
    damaged(|w| w.entry_count = Some(w.entries.len() as u64 - 1));
    damaged(|w| w.entry_count = Some(w.entries.len() as u64 + 1));
}

#[test]
fn huge_text_length() {
    let huge = |length: u64| [8u32.to_le_bytes().to_vec(), length.to_le_bytes().to_vec()].concat();
    assert_names(damaged(|w| w.set("x", huge(u64::MAX))), &["x needs", "the file ends"]);
    damaged(|w| w.set("x", huge(1 << 40)));
}

#[test]
fn huge_array_count() {
    for kind in [0u32, 4, 8, 9, 12] {
        let value = [&9u32.to_le_bytes()[..], &kind.to_le_bytes(), &u64::MAX.to_le_bytes()].concat();
        assert_names(damaged(|w| w.set("x", value)), &["`x`: number of elements"]);
    }
}

#[test]
fn unknown_value_type() {
    assert_names(damaged(|w| w.set("x", 13u32.to_le_bytes().to_vec())), &["`x`", "found 13"]);
    assert_names(damaged(|w| w.set("x", array_value(77, &[]))), &["`x`", "found 77"]);
}

#[test]
fn a_truth_value_of_two() {
    assert_names(damaged(|w| w.set("x", [&7u32.to_le_bytes()[..], &[2]].concat())), &["`x`", "found 2"]);
}

#[test]
fn arrays_in_arrays_are_passed_over_but_not_for_ever() {
    let nested =
        |depth: usize| (0..depth).fold(array_value(0, &[vec![1]]), |inner, _| array_value(9, &[inner[4..].to_vec()]));
    open(&lied(|w| w.set("x", nested(3)))).unwrap();
    assert_names(damaged(|w| w.set("x", nested(4))), &["`x`", "nested"]);
    assert_names(damaged(|w| w.set("x", nested(1_000))), &["`x`", "nested"]);
}

#[test]
fn text_that_is_not_utf8() {
    assert_names(damaged(|w| w.set("general.name", text_value(b"\xff\xfe"))), &["general.name", "UTF-8"]);
    assert_names(damaged(|w| w.entries.push([text(b"\xc3\x28"), u32_value(1)].concat())), &["metadata key", "UTF-8"]);
    assert_names(damaged(|w| w.tensors[3].name = b"\x80".to_vec()), &["name of tensor 3", "UTF-8"]);
    let tokens = array_value(8, &[text("a"), text(b"\xed\xa0\x80")]);
    assert_names(damaged(|w| w.set("tokenizer.ggml.tokens", tokens)), &["tokenizer.ggml.tokens", "UTF-8"]);
}

#[test]
fn keys_and_tensors_that_appear_twice() {
    assert_names(damaged(|w| w.entries.push(w.entries[0].clone())), &["general.architecture", "twice"]);
    assert_names(damaged(|w| w.tensors.push(w.tensors[0].clone())), &["token_embd.weight", "twice"]);
    // The same layer under a second spelling.
    unsupported(|w| w.tensor("blk.1.attn_q.weight").name = b"blk.01.attn_q.weight".to_vec());
}

#[test]
fn alignment_that_is_not_a_power_of_two() {
    for alignment in [0, 24, 33] {
        assert_names(
            damaged(|w| w.set("general.alignment", u32_value(alignment))),
            &["general.alignment", "power of two"],
        );
    }
    damaged(|w| w.set("general.alignment", text_value("32")));
    let huge = [10u32.to_le_bytes().to_vec(), (1u64 << 63).to_le_bytes().to_vec()].concat();
    damaged(|w| w.set("general.alignment", huge));
}

#[test]
fn another_alignment_is_honoured() {
    let writer = lied(|w| {
        w.set("general.alignment", u32_value(256));
        w.alignment = 256;
    });
    open(&writer).unwrap();
    assert_names(
        damaged(|w| w.tensor("output_norm.weight").offset = Some(8)),
        &["output_norm.weight", "multiple of 32"],
    );
}

#[test]
fn offsets_past_the_end() {
    for offset in [1 << 20, 1 << 62, u64::MAX - 31] {
        assert_names(damaged(|w| w.tensors[5].offset = Some(offset)), &["past the end"]);
    }
}

#[test]
fn overlapping_tensors() {
    assert_names(damaged(|w| w.tensor("output_norm.weight").offset = Some(0)), &["output_norm.weight", "overlap"]);
    assert_names(damaged(|w| w.tensor("output_norm.weight").offset = Some(192)), &["output_norm.weight", "overlap"]);
}

#[test]
fn shapes_that_overflow() {
    for dimensions in [vec![u64::MAX, u64::MAX], vec![1 << 63, 2], vec![1 << 32, 1 << 32], vec![32, u64::MAX]] {
        assert_names(damaged(|w| w.tensors[0].dimensions = dimensions.clone()), &["token_embd.weight", "impossible"]);
    }
}

#[test]
fn dimensions_of_zero_and_too_many() {
    damaged(|w| w.tensors[0].dimensions = vec![32, 0]);
    damaged(|w| w.tensors[0].dimensions = vec![0, 6]);
    assert_names(damaged(|w| w.tensors[0].dimensions = vec![]), &["1 to 4 dimensions", "found 0"]);
    assert_names(damaged(|w| w.tensors[0].dimensions = vec![1; 5]), &["1 to 4 dimensions", "found 5"]);
}

#[test]
fn rows_that_are_not_whole_blocks() {
    assert_names(damaged(|w| w.tensors[0].dimensions = vec![33, 6]), &["token_embd.weight", "[6, 33]", "Q8_0"]);
}

#[test]
fn tensor_types_nobody_or_somebody_else_knows() {
    assert_names(damaged(|w| w.tensors[0].kind = 5), &["token_embd.weight", "number 5"]);
    assert_names(damaged(|w| w.tensors[0].kind = u32::MAX), &["token_embd.weight"]);
    let reason = unsupported(|w| w.tensors[0].kind = 16);
    assert_names(reason.clone(), &["token_embd.weight", "IQ2_XXS", "IQ4_XS"]);
    assert!(!reason.contains("F8_E4M3"), "GGUF has no such type: {reason}");
}

#[test]
fn metadata_of_the_wrong_type() {
    assert_names(damaged(|w| w.set("general.architecture", u32_value(1))), &["general.architecture", "a text"]);
    assert_names(damaged(|w| w.set("llama.block_count", f32_value(2.0))), &["llama.block_count", "whole number"]);
    let per_layer = array_value(4, &[2u32.to_le_bytes().to_vec(), 2u32.to_le_bytes().to_vec()]);
    assert_names(damaged(|w| w.set("llama.attention.head_count_kv", per_layer)), &["head_count_kv", "array of 2 U32"]);
    let negative = [5u32.to_le_bytes(), (-1i32).to_le_bytes()].concat();
    assert_names(damaged(|w| w.set("llama.block_count", negative)), &["llama.block_count", "-1"]);
    assert_names(damaged(|w| w.set("tokenizer.ggml.tokens", array_value(4, &[]))), &["tokenizer.ggml.tokens", "Text"]);
    damaged(|w| w.set("tokenizer.chat_template", u32_value(0)));
    damaged(|w| w.set("tokenizer.ggml.add_bos_token", u32_value(1)));
}

#[test]
fn missing_keys_and_tensors() {
    let keys = ["block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count"];
    for key in keys.map(|key| format!("llama.{key}")) {
        assert_names(damaged(|w| w.remove(&key)), &[&key, "missing"]);
    }
    assert_names(damaged(|w| w.remove("general.architecture")), &["general.architecture", "missing"]);
    assert_names(damaged(|w| w.tensors.retain(|t| t.name != b"token_embd.weight")), &["token_embd.weight", "missing"]);
    assert_names(unsupported(|w| w.remove("tokenizer.ggml.tokens")), &["tokenizer.ggml.tokens"]);
}

#[test]
fn absurd_numbers_in_the_configuration() {
    damaged(|w| w.set("llama.block_count", u32_value(1_000_000_000)));
    damaged(|w| w.set("llama.block_count", u32_value(0)));
    damaged(|w| w.set("llama.attention.head_count", u32_value(0)));
    damaged(|w| w.set("llama.attention.head_count", u32_value(u32::MAX)));
    damaged(|w| w.set("llama.attention.head_count_kv", u32_value(0)));
    damaged(|w| w.set("llama.attention.head_count_kv", u32_value(3)));
    damaged(|w| w.set("llama.context_length", u32_value(u32::MAX)));
    damaged(|w| w.set("llama.embedding_length", u32_value(64)));
    damaged(|w| w.set("llama.rope.freq_base", f32_value(f32::NAN)));
    damaged(|w| w.set("llama.attention.layer_norm_rms_epsilon", f32_value(-1.0)));
    damaged(|w| w.set("general.sampling.temp", f32_value(f32::INFINITY)));
}

#[test]
fn token_ids_and_tables_out_of_range() {
    assert_names(damaged(|w| w.set("tokenizer.ggml.eos_token_id", u32_value(6))), &["eos_token_id", "under 6"]);
    assert_names(damaged(|w| w.set("tokenizer.ggml.bos_token_id", u32_value(1 << 31))), &["bos_token_id"]);
    let seven = array_value(8, &vec![text("t"); 7]);
    assert_names(damaged(|w| w.set("tokenizer.ggml.tokens", seven)), &["7 tokens", "6"]);
    let scores = array_value(6, &vec![0f32.to_le_bytes().to_vec(); 5]);
    assert_names(damaged(|w| w.set("tokenizer.ggml.scores", scores)), &["tokenizer.ggml.scores", "found 5"]);
}

#[test]
fn models_of_other_kinds_are_refused_by_name() {
    assert_names(unsupported(|w| w.set("general.architecture", text_value("mamba"))), &["mamba"]);
    assert_names(unsupported(|w| w.set("llama.expert_count", u32_value(8))), &["llama.expert_count", "8"]);
    assert_names(unsupported(|w| w.set("llama.rope.dimension_count", u32_value(4))), &["llama.rope.dimension_count"]);
    assert_names(unsupported(|w| w.set("llama.attention.sliding_window", u32_value(16))), &["sliding_window"]);
    assert_names(unsupported(|w| w.set("split.count", u32_value(3))), &["split.count", "merge"]);
    assert_names(unsupported(|w| w.add("blk.0.attn_q_norm.weight", &[8], DType::F32)), &["blk.0.attn_q_norm.weight"]);
    assert_names(unsupported(|w| w.add("blk.2.attn_q.weight", &[32], DType::F32)), &["blk.2.attn_q.weight"]);
    assert_names(unsupported(|w| w.add("blk.1.attn_q.bias", &[32], DType::F32)), &["1 of 2 layers", "attn_q"]);
}

/// Needs a real file: `SYNAPSE_TEST_MODEL=SmolLM2-135M-Instruct.Q4_1.gguf`.
#[test]
fn the_real_smollm2_is_read() {
    let Some(path) = std::env::var_os("SYNAPSE_TEST_MODEL") else { return };
    let model = crate::files::open(Path::new(&path)).unwrap();
    assert_eq!((model.config.layers, model.config.hidden_size, model.config.vocab_size), (30, 576, 49152));
    assert_eq!((model.config.heads, model.config.kv_heads, model.config.head_dim), (9, 3, 64));
    assert_eq!((model.config.rope_theta, model.config.norm_eps, model.config.tied_head), (100_000.0, 1e-5, true));
    assert_eq!((model.generation.eos.as_slice(), model.tensors.names().len()), (&[2][..], 272));
    let names = model.tensors.names();
    let finite = |name: &&str| model.tensors.tensor(name).unwrap().to_f32().iter().all(|value| value.is_finite());
    assert!(names.iter().all(finite));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever bytes are changed, the answer is a model or an error; a model's tensors can all be read.
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = Writer::model("llama").bytes();
        // Only the header decides anything; the weights after it are plain numbers.
        let header = bytes.len() - Writer::model("llama").tensors.iter().map(|t| t.data.len()).sum::<usize>();
        for (at, byte) in changes {
            bytes[at.index(header)] = byte;
        }
        if let Ok(model) = read(bytes) {
            for name in model.tensors.names() {
                let tensor = model.tensors.tensor(name).unwrap();
                prop_assert_eq!(tensor.to_f32().len(), tensor.shape.iter().product::<usize>());
            }
        }
    }
}
