//! Configurations as published, one test per way they can lie, and the folders they lie in.
use std::path::Path;

use proptest::prelude::*;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

use super::{config_from_json, generation_from_json, open_file, template::from_tokenizer_config};
use crate::{
    Error, Result,
    architectures::{Family, ModelConfig, RopeScaling},
    files::{Checkpoint, GenerationDefaults, TokenizerSource, open},
};

/// The published numbers of Qwen2.5-0.5B-Instruct.
fn qwen() -> Value {
    json!({
        "model_type": "qwen2", "hidden_act": "silu", "vocab_size": 151936, "hidden_size": 896,
        "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "max_position_embeddings": 32768, "tie_word_embeddings": true,
        "use_sliding_window": false, "sliding_window": 32768, "max_window_layers": 21, "eos_token_id": 151645
    })
}

/// The published numbers of Llama-3.2-1B.
fn llama() -> Value {
    json!({
        "model_type": "llama", "hidden_act": "silu", "vocab_size": 128256, "hidden_size": 2048,
        "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 64, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "max_position_embeddings": 131072,
        "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false,
        "rope_scaling": {
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192
        }
    })
}

fn read(config: &Value) -> Result<ModelConfig> {
    config_from_json(Path::new("config.json"), config.to_string().as_bytes())
}

fn with(mut config: Value, key: &str, value: Value) -> Value {
    config[key] = value;
    config
}

#[track_caller]
fn damaged(config: &Value, part: &str) {
    match read(config) {
        Err(Error::Format { reason, .. }) => assert!(reason.contains(part), "`{part}` is not in `{reason}`"),
        other => panic!("expected a format error about `{part}`, found {other:?}"),
    }
}

#[track_caller]
fn unsupported(config: &Value, parts: &[&str]) {
    match read(config) {
        Err(Error::Model(reason)) => {
            for part in parts {
                assert!(reason.contains(part), "`{part}` is not in `{reason}`");
            }
        }
        other => panic!("expected a model error about {parts:?}, found {other:?}"),
    }
}

#[test]
fn qwen2_as_published() {
    let config = read(&qwen()).unwrap();
    let wanted = ModelConfig {
        family: Family::Qwen2,
        vocab_size: 151936,
        hidden_size: 896,
        intermediate_size: 4864,
        layers: 24,
        heads: 14,
        kv_heads: 2,
        head_dim: 64,
        norm_eps: 1e-6,
        rope_theta: 1e6,
        rope_scaling: RopeScaling::None,
        context_length: 32768,
        tied_head: true,
        qkv_bias: true,
        o_bias: false,
        organelles: None,
    };
    assert_eq!(config, wanted);
}

#[test]
fn llama3_scaling_in_both_spellings() {
    let old = read(&llama()).unwrap();
    let wanted =
        RopeScaling::Llama3 { factor: 32.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 8192 };
    assert_eq!((old.rope_theta, &old.rope_scaling), (500_000.0, &wanted));
    assert!(!old.qkv_bias && !old.o_bias);
    let mut new = llama();
    let mut rope = new["rope_scaling"].take();
    rope["rope_theta"] = new["rope_theta"].take();
    assert_eq!(read(&with(new, "rope_parameters", rope)).unwrap(), old);
}

#[test]
fn linear_scaling_in_every_spelling() {
    let linear = RopeScaling::Linear { factor: 2.0 };
    for (key, rope) in [
        ("rope_scaling", json!({"type": "linear", "factor": 2.0})),
        ("rope_scaling", json!({"rope_type": "linear", "factor": 2})),
        ("rope_parameters", json!({"rope_type": "linear", "factor": 2.0})),
    ] {
        assert_eq!(read(&with(qwen(), key, rope)).unwrap().rope_scaling, linear);
    }
    let plain = json!({"rope_type": "default", "rope_theta": 5e4});
    let config = read(&with(qwen(), "rope_parameters", plain)).unwrap();
    assert_eq!((config.rope_theta, config.rope_scaling), (5e4, RopeScaling::None));
}

#[test]
fn mistral_is_a_llama_without_its_window() {
    let mut mistral = with(llama(), "model_type", json!("mistral"));
    unsupported(&mistral, &["sliding_window", "4096"]);
    mistral["sliding_window"] = Value::Null;
    assert_eq!(read(&mistral).unwrap().family, Family::Llama);
    mistral["sliding_window"] = json!(131072);
    read(&mistral).unwrap();
    mistral["sliding_window"] = json!(4096);
    unsupported(&mistral, &["sliding_window", "4096", "131072"]);
}

#[test]
fn llama_attention_bias_reaches_all_four_projections() {
    let config = read(&with(llama(), "attention_bias", json!(true))).unwrap();
    assert!(config.qkv_bias && config.o_bias);
}

#[test]
fn other_models_are_refused_by_name() {
    unsupported(&with(qwen(), "model_type", json!("gpt2")), &["model_type", "gpt2"]);
    unsupported(&with(qwen(), "hidden_act", json!("gelu")), &["hidden_act", "gelu"]);
    unsupported(&with(llama(), "mlp_bias", json!(true)), &["mlp_bias"]);
    unsupported(&with(qwen(), "layer_types", json!(["full_attention", "sliding_attention"])), &["layer_types"]);
    unsupported(&with(qwen(), "partial_rotary_factor", json!(0.5)), &["partial_rotary_factor", "0.5"]);
    for kind in ["yarn", "dynamic", "longrope", "mrope"] {
        let rope = json!({"type": kind, "factor": 4.0});
        unsupported(&with(qwen(), "rope_scaling", rope), &["rope_scaling.type", kind]);
        let rope = json!({"rope_type": kind, "factor": 4.0});
        unsupported(&with(qwen(), "rope_parameters", rope), &["rope_parameters.rope_type", kind]);
    }
    let per_layer = json!({"full_attention": {"rope_type": "default"}});
    unsupported(&with(qwen(), "rope_parameters", per_layer), &["rope_parameters", "layer"]);
    let window = with(with(qwen(), "use_sliding_window", json!(true)), "sliding_window", json!(4096));
    unsupported(&window, &["sliding_window", "4096"]);
    read(&with(window, "max_window_layers", json!(24))).unwrap();
}

#[test]
fn quantized_models_are_refused_whatever_the_family() {
    for config in [qwen(), llama(), json!({ "model_type": "symbio" })] {
        for key in ["quantization_config", "compression_config"] {
            let quantized = with(config.clone(), key, json!({"quant_method": "fp8"}));
            unsupported(&quantized, &["config.json", key, "`fp8`", "before it was quantized"]);
        }
    }
    read(&with(qwen(), "quantization_config", Value::Null)).unwrap();
}

#[test]
fn missing_and_mistyped_keys() {
    for key in ["model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"] {
        damaged(&with(qwen(), key, Value::Null), &format!("`{key}` is missing"));
        damaged(&with(qwen(), key, json!([1])), &format!("`{key}`: expected"));
    }
    damaged(
        &with(qwen(), "hidden_size", json!("896")),
        "`hidden_size`: expected a whole number of 0 or more, found \"896\"",
    );
    damaged(&with(qwen(), "hidden_size", json!(896.5)), "`hidden_size`");
    damaged(&with(qwen(), "hidden_size", json!(-896)), "`hidden_size`");
    damaged(&with(qwen(), "tie_word_embeddings", json!("yes")), "`tie_word_embeddings`: expected true or false");
    damaged(&with(qwen(), "rope_theta", json!("many")), "`rope_theta`");
    damaged(&with(qwen(), "rope_scaling", json!("linear")), "`rope_scaling`: expected an object");
    damaged(&with(qwen(), "rope_scaling", json!({"type": "linear"})), "`rope_scaling.factor` is missing");
    damaged(&with(qwen(), "rope_scaling", json!({"type": 3})), "`rope_scaling.type`");
}

#[test]
fn absurd_numbers() {
    damaged(&with(qwen(), "num_attention_heads", json!(0)), "heads");
    damaged(&with(qwen(), "num_attention_heads", json!(13)), "do not divide");
    damaged(&with(qwen(), "num_key_value_heads", json!(0)), "key-value heads");
    damaged(&with(qwen(), "num_key_value_heads", json!(3)), "evenly");
    damaged(&with(qwen(), "num_key_value_heads", json!(28)), "evenly");
    damaged(&with(qwen(), "num_hidden_layers", json!(1_000_000_000)), "number of layers");
    damaged(&with(qwen(), "vocab_size", json!(u64::MAX)), "vocabulary size");
    damaged(&with(qwen(), "max_position_embeddings", json!(0)), "context length");
    damaged(&with(qwen(), "head_dim", json!(7)), "even number");
    damaged(&with(qwen(), "rms_norm_eps", json!(0)), "norm epsilon");
    damaged(&with(qwen(), "rope_theta", json!(1e300)), "RoPE base");
    damaged(&with(qwen(), "rope_scaling", json!({"type": "linear", "factor": -1})), "RoPE factor");
    let mut equal = llama();
    equal["rope_scaling"]["high_freq_factor"] = json!(1.0);
    damaged(&equal, "low_freq_factor");
}

#[test]
fn json_that_is_not_a_configuration() {
    for bytes in [&b""[..], b"[]", b"null", b"{\"model_type\":", b"\xff", b"{}garbage"] {
        let error = config_from_json(Path::new("config.json"), bytes).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error}");
    }
    let deep = "{\"a\":".repeat(100_000);
    config_from_json(Path::new("config.json"), deep.as_bytes()).unwrap_err();
}

fn generation(value: &Value) -> Result<GenerationDefaults> {
    generation_from_json(Path::new("generation_config.json"), value.to_string().as_bytes())
}

#[test]
fn generation_defaults_are_read() {
    let qwen = json!({
        "do_sample": true, "eos_token_id": [151645, 151643], "temperature": 0.7, "top_k": 20, "top_p": 0.8,
        "repetition_penalty": 1.1
    });
    let wanted = GenerationDefaults {
        eos: vec![151645, 151643],
        temperature: Some(0.7),
        top_k: Some(20),
        top_p: Some(0.8),
        repetition_penalty: Some(1.1),
    };
    assert_eq!(generation(&qwen).unwrap(), wanted);
    assert_eq!(generation(&json!({"eos_token_id": 2})).unwrap().eos, [2]);
    let greedy = generation(&with(qwen, "do_sample", json!(false))).unwrap();
    assert_eq!((greedy.temperature, greedy.top_k, greedy.repetition_penalty), (Some(0.0), None, Some(1.1)));
}

#[test]
fn generation_defaults_that_lie() {
    for (key, value) in [
        ("eos_token_id", json!(-1)),
        ("eos_token_id", json!([2, "3"])),
        ("eos_token_id", json!(4294967296u64)),
        ("temperature", json!("hot")),
        ("temperature", json!(-0.5)),
        ("top_p", json!(1.5)),
        ("top_k", json!(-1)),
        ("repetition_penalty", json!(0)),
    ] {
        let error = generation(&json!({ key: value })).unwrap_err().to_string();
        assert!(error.contains(&key.replace('_', " ")) || error.contains(key), "{key}: {error}");
    }
}

#[test]
fn templates_by_text_and_by_name() {
    let read = |value: Value| {
        let config = json!({ "chat_template": value }).to_string();
        from_tokenizer_config(Path::new("tokenizer_config.json"), config.as_bytes())
    };
    assert_eq!(read(json!("text")).unwrap().as_deref(), Some("text"));
    let named = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
    assert_eq!(read(named).unwrap().as_deref(), Some("d"));
    assert_eq!(read(json!([{"name": "tool_use", "template": "t"}, 7])).unwrap(), None);
    assert_eq!(read(Value::Null).unwrap(), None);
    assert!(read(json!(7)).unwrap_err().to_string().contains("`chat_template`"));
}

/// A complete model folder, of one tensor.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let header = r#"{"model.norm.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let weights = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
    for (name, content) in [
        ("config.json", qwen().to_string().into_bytes()),
        ("tokenizer.json", b"{}".to_vec()),
        ("tokenizer_config.json", br#"{"chat_template": "old"}"#.to_vec()),
        ("model.safetensors", weights),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn a_folder_and_a_file_in_it_open_the_same_model() {
    let folder = folder();
    let whole = open(folder.path()).unwrap();
    let single = open(&folder.path().join("model.safetensors")).unwrap();
    for model in [&whole, &single] {
        assert_eq!((model.format, model.interleaved_rope), ("safetensors", false));
        assert_eq!(model.tensors.names(), ["model.norm.weight"]);
        assert_eq!(model.generation.eos, [151645], "from config.json: there is no generation_config.json");
        assert_eq!(model.chat_template.as_deref(), Some("old"));
        let TokenizerSource::HuggingFace(path) = &model.tokenizer else { panic!("another tokenizer") };
        assert_eq!(path, &folder.path().join("tokenizer.json"));
    }
    assert_eq!(whole.config, single.config);
}

/// One-element tensors beside an F8_E4M3 weight, or another.
fn opened_with(dtype: Dtype, others: &[&str]) -> Result<Checkpoint> {
    let folder = folder();
    let weight = [(
        "model.layers.0.mlp.up_proj.weight",
        TensorView::new(dtype, vec![1], &[0; 4][..dtype.bitsize() / 8]).unwrap(),
    )];
    let others = others.iter().map(|name| (*name, TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap()));
    let path = folder.path().join("model.safetensors");
    safetensors::serialize_to_file(weight.into_iter().chain(others), None, &path).unwrap();
    open(folder.path())
}

#[test]
fn scales_of_f8_weights_are_refused_by_name() {
    for name in [
        "model.layers.0.mlp.up_proj.weight_scale_inv",
        "model.layers.0.mlp.up_proj.weight_scale",
        "model.layers.0.mlp.up_proj.input_scale",
        "model.layers.0.mlp.up_proj.scale_weight",
        "model.layers.0.mlp.up_proj.scale",
        "scaled_fp8",
    ] {
        let Err(Error::Model(reason)) = opened_with(Dtype::F8_E4M3, &["model.norm.weight", name]) else {
            panic!("opened with {name}")
        };
        assert!(reason.contains(&format!("`{name}`")) && reason.contains("before it was quantized"), "{reason}");
    }
    // Names of organelle models.
    opened_with(Dtype::F8_E4M3, &["model.norm.weight", "blocks.0.skip1.scale"]).unwrap();
    opened_with(Dtype::F32, &["model.layers.0.self_attn.k_scale"]).unwrap();
}

#[test]
fn the_jinja_file_wins() {
    let folder = folder();
    std::fs::write(folder.path().join("chat_template.jinja"), "new").unwrap();
    assert_eq!(open(folder.path()).unwrap().chat_template.as_deref(), Some("new"));
    std::fs::write(folder.path().join("chat_template.jinja"), b"\xff").unwrap();
    assert!(matches!(open(folder.path()), Err(Error::Format { .. })));
}

#[test]
fn files_missing_from_a_folder_are_named() {
    for name in ["config.json", "tokenizer.json"] {
        let folder = folder();
        std::fs::remove_file(folder.path().join(name)).unwrap();
        let Err(Error::Io { path, .. }) = open(folder.path()) else { panic!("opened without {name}") };
        assert!(path.ends_with(name));
        assert!(open_file(&folder.path().join("model.safetensors")).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = llama().to_string().into_bytes();
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[at.index(length)] = byte;
        }
        if let Ok(config) = config_from_json(Path::new("config.json"), &bytes) {
            prop_assert!(config.heads % config.kv_heads == 0 && config.layers > 0);
        }
    }
}
