//! Rotary embedding's settings in `config.json`, in the spelling of transformers 4 (`rope_theta`, `rope_scaling`) and 5
//! (`rope_parameters`). Knows nothing else of the file.
use serde_json::Value;

use crate::{Result, architectures::RopeScaling, files::json::Object};

const DEFAULT_THETA: f32 = 10_000.0;

/// RoPE base and stretch.
pub(super) fn read(config: &Object, context_length: usize) -> Result<(f32, RopeScaling)> {
    refuse_partial(config)?;
    let outer_theta = config.float("rope_theta")?;
    let (key, prefix) = match config.get("rope_parameters") {
        Some(_) => ("rope_parameters", "rope_parameters."),
        None => ("rope_scaling", "rope_scaling."),
    };
    let Some(fields) = config.object(key)? else {
        return Ok((outer_theta.unwrap_or(DEFAULT_THETA), RopeScaling::None));
    };
    let rope = Object { path: config.path, prefix, fields };
    refuse_partial(&rope)?;
    if fields.values().any(Value::is_object) {
        return Err(config.unsupported(key, "different from layer to layer"));
    }
    let theta = rope.float("rope_theta")?.or(outer_theta).unwrap_or(DEFAULT_THETA);
    Ok((theta, scaling(&rope, context_length)?))
}

fn scaling(rope: &Object, context_length: usize) -> Result<RopeScaling> {
    let float = |key| rope.required(key, rope.float(key)?);
    let (key, kind) = match rope.text("rope_type")? {
        Some(kind) => ("rope_type", kind),
        None => ("type", rope.text("type")?.unwrap_or("default")),
    };
    match kind {
        "default" => Ok(RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear { factor: float("factor")? }),
        "llama3" => Ok(RopeScaling::Llama3 {
            factor: float("factor")?,
            low_freq_factor: float("low_freq_factor")?,
            high_freq_factor: float("high_freq_factor")?,
            original_context: rope.integer("original_max_position_embeddings")?.unwrap_or(context_length),
        }),
        other => Err(rope.unsupported(key, format!("`{other}`"))),
    }
}

fn refuse_partial(object: &Object) -> Result<()> {
    match object.float("partial_rotary_factor")? {
        Some(factor) if factor != 1.0 => Err(object.unsupported("partial_rotary_factor", factor)),
        _ => Ok(()),
    }
}
