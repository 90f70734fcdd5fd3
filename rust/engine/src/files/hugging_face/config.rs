//! `config.json` to a [`ModelConfig`]. Says no, by name, to whatever these families do not have.
//! Keys and defaults: `LlamaConfig`, `Qwen2Config` and `MistralConfig` of transformers 4.46 to 5.
use std::path::Path;

use serde_json::{Map, Value};

use super::{rope, scales::BEFORE, symbio};
use crate::{
    Error, Result,
    architectures::{Family, ModelConfig},
    files::{
        json::{self, Object, describe},
        limits,
    },
};

/// What transformers assumes for a Mistral without the key.
const MISTRAL_WINDOW: usize = 4096;

/// Reads and checks a configuration; `path` only names the file in errors.
pub fn config_from_json(path: &Path, bytes: &[u8]) -> Result<ModelConfig> {
    let fields: Map<String, Value> = json::parse(path, bytes)?;
    let object = Object { path, prefix: "", fields: &fields };
    let model_type = object.required("model_type", object.text("model_type")?)?;
    let family = match model_type {
        "qwen2" => Family::Qwen2,
        "llama" | "mistral" => Family::Llama,
        "symbio" => Family::Symbio,
        other => return Err(object.unsupported("model_type", format!("`{other}`"))),
    };
    refuse_quantization(&object)?;
    if family == Family::Symbio {
        return symbio::read(&object);
    }
    let config = read(&object, family)?;
    limits::check(path, &config)?;
    refuse_unsupported(&object)?;
    refuse_window(&object, model_type, &config)?;
    Ok(config)
}

fn read(object: &Object, family: Family) -> Result<ModelConfig> {
    let size = |key| object.required(key, object.integer(key)?);
    let (hidden_size, heads) = (size("hidden_size")?, size("num_attention_heads")?);
    let attention_bias = object.flag("attention_bias")?.unwrap_or(false);
    let context_length = size("max_position_embeddings")?;
    let (rope_theta, rope_scaling) = rope::read(object, context_length)?;
    Ok(ModelConfig {
        family,
        vocab_size: size("vocab_size")?,
        hidden_size,
        intermediate_size: size("intermediate_size")?,
        layers: size("num_hidden_layers")?,
        heads,
        kv_heads: object.integer("num_key_value_heads")?.unwrap_or(heads),
        head_dim: head_dim(object, hidden_size, heads)?,
        norm_eps: object.float("rms_norm_eps")?.unwrap_or(1e-6),
        rope_theta,
        rope_scaling,
        context_length,
        tied_head: object.flag("tie_word_embeddings")?.unwrap_or(false),
        qkv_bias: family == Family::Qwen2 || attention_bias,
        o_bias: family == Family::Llama && attention_bias,
        organelles: None,
    })
}

fn head_dim(object: &Object, hidden_size: usize, heads: usize) -> Result<usize> {
    match object.integer("head_dim")? {
        Some(head_dim) => Ok(head_dim),
        None if heads > 0 && hidden_size.is_multiple_of(heads) => Ok(hidden_size / heads),
        None => Err(object.fault(format!(
            "`num_attention_heads`: {heads} heads do not divide `hidden_size` {hidden_size}, and `head_dim` is missing"
        ))),
    }
}

fn refuse_unsupported(object: &Object) -> Result<()> {
    if let Some(activation) = object.text("hidden_act")?.filter(|&name| name != "silu") {
        return Err(object.unsupported("hidden_act", format!("`{activation}`")));
    }
    if object.flag("mlp_bias")? == Some(true) {
        return Err(object.unsupported("mlp_bias", true));
    }
    Ok(())
}

/// The older key is that of compressed-tensors.
fn refuse_quantization(object: &Object) -> Result<()> {
    for key in ["quantization_config", "compression_config"] {
        if let Some(quantization) = object.object(key)? {
            let method = quantization.get("quant_method").and_then(Value::as_str).unwrap_or("unnamed");
            let found = format!("`{key}` is set (method `{method}`), which this engine does not run");
            return Err(Error::Model(format!("{}: {found}; {BEFORE}", object.path.display())));
        }
    }
    Ok(())
}

/// Sliding-window attention that would make a difference within the context.
fn refuse_window(object: &Object, model_type: &str, config: &ModelConfig) -> Result<()> {
    if let Some(types) = object.get("layer_types") {
        let full = |kind: &Value| kind.as_str() == Some("full_attention");
        if !types.as_array().is_some_and(|types| types.iter().all(full)) {
            return Err(object.unsupported("layer_types", format!("{}, not all `full_attention`", describe(types))));
        }
    }
    let window = match object.integer("sliding_window")? {
        None if model_type == "mistral" && !object.fields.contains_key("sliding_window") => Some(MISTRAL_WINDOW),
        window => window,
    };
    let switched_on = match model_type {
        "qwen2" => {
            object.flag("use_sliding_window")?.unwrap_or(false)
                && object.integer("max_window_layers")?.is_none_or(|first| first < config.layers)
        }
        "mistral" => true,
        _ => false,
    };
    match window {
        Some(window) if switched_on && window < config.context_length => {
            Err(object.unsupported("sliding_window", format!("{window} in a context of {}", config.context_length)))
        }
        _ => Ok(()),
    }
}
