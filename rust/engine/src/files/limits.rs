//! What no honest model file exceeds, for every format. Bounds what later code may compute or allocate from a file's numbers.
use std::path::Path;

use synapse_kernels::DType;

use crate::{
    Error, Result,
    architectures::{ModelConfig, RopeScaling},
    files::GenerationDefaults,
};

/// Layers of a model.
pub(super) const MOST_LAYERS: usize = 1 << 12;

/// Bytes of a tensor, or `None` if its rows are not whole blocks or the product overflows.
pub(super) fn tensor_bytes(dtype: DType, shape: &[usize]) -> Option<usize> {
    let (row, rows) = shape.split_last().map_or((1, shape), |(&row, rows)| (row, rows));
    // The count of values must fit too: whoever dequantizes the tensor allocates four bytes for each.
    let values = shape.iter().try_fold(4usize, |product, &size| product.checked_mul(size));
    let rows = rows.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
    values.and(dtype.row_bytes(row)).and_then(|bytes| bytes.checked_mul(rows))
}

/// Checks a configuration read from `path`, whatever its format.
pub(super) fn check(path: &Path, config: &ModelConfig) -> Result<()> {
    let sizes = [
        ("vocabulary size", config.vocab_size, 1 << 24),
        ("hidden size", config.hidden_size, 1 << 18),
        ("feed-forward size", config.intermediate_size, 1 << 20),
        ("number of layers", config.layers, MOST_LAYERS),
        ("context length", config.context_length, 1 << 27),
    ];
    let heads = [
        ("number of attention heads", config.heads, 1 << 12),
        ("number of key-value heads", config.kv_heads, 1 << 12),
        ("head size", config.head_dim, 1 << 12),
    ];
    let heads = heads.into_iter().filter(|_| config.has_attention());
    let wrong = |reason| Err(Error::Format { path: path.to_owned(), reason });
    if let Some((name, size, limit)) =
        sizes.into_iter().chain(heads).find(|&(_, size, limit)| size == 0 || size > limit)
    {
        return wrong(format!("{name}: expected 1 to {limit}, found {size}"));
    }
    if config.has_attention() && !config.heads.is_multiple_of(config.kv_heads) {
        let (heads, kv_heads) = (config.heads, config.kv_heads);
        return wrong(format!("{heads} attention heads cannot share {kv_heads} key-value heads evenly"));
    }
    if !config.head_dim.is_multiple_of(2) {
        return wrong(format!("head size: expected an even number for rotary embedding, found {}", config.head_dim));
    }
    let mut numbers = vec![("norm epsilon", config.norm_eps, 1.0), ("RoPE base", config.rope_theta, 1e12)];
    numbers.extend(rope_numbers(&config.rope_scaling));
    if let Some((name, value, limit)) = numbers.into_iter().find(|&(_, value, limit)| !(value > 0.0 && value <= limit))
    {
        return wrong(format!("{name}: expected more than 0 and at most {limit:e}, found {value:e}"));
    }
    check_scaling(config).or_else(wrong)
}

/// Checks sampling defaults read from `path`.
pub(super) fn check_generation(path: &Path, defaults: &GenerationDefaults) -> Result<()> {
    let wrong = |reason| Err(Error::Format { path: path.to_owned(), reason });
    if let Some(found) = defaults.temperature.filter(|value| !(0.0..=100.0).contains(value)) {
        return wrong(format!("temperature: expected 0 to 100, found {found}"));
    }
    if let Some(found) = defaults.top_p.filter(|&value| !(value > 0.0 && value <= 1.0)) {
        return wrong(format!("top_p: expected more than 0 and at most 1, found {found}"));
    }
    match defaults.repetition_penalty.filter(|&value| !(value > 0.0 && value <= 100.0)) {
        Some(found) => wrong(format!("repetition penalty: expected more than 0 and at most 100, found {found}")),
        None => Ok(()),
    }
}

fn rope_numbers(scaling: &RopeScaling) -> Vec<(&'static str, f32, f32)> {
    const MOST: f32 = 1e6;
    match scaling {
        RopeScaling::None => vec![],
        RopeScaling::Linear { factor } => vec![("RoPE factor", *factor, MOST)],
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, .. } => vec![
            ("RoPE factor", *factor, MOST),
            ("RoPE low_freq_factor", *low_freq_factor, MOST),
            ("RoPE high_freq_factor", *high_freq_factor, MOST),
        ],
        RopeScaling::Factors(factors) => {
            factors.iter().map(|&factor| ("RoPE frequency factor", factor, MOST)).collect()
        }
    }
}

fn check_scaling(config: &ModelConfig) -> std::result::Result<(), String> {
    match &config.rope_scaling {
        RopeScaling::Factors(factors) if factors.len() != config.head_dim / 2 => {
            Err(format!("RoPE frequency factors: expected {}, found {}", config.head_dim / 2, factors.len()))
        }
        RopeScaling::Llama3 { low_freq_factor: low, high_freq_factor: high, .. } if low >= high => {
            Err(format!("RoPE: expected low_freq_factor under high_freq_factor, found {low} and {high}"))
        }
        RopeScaling::Llama3 { original_context, .. } if !(1..=1 << 27).contains(original_context) => {
            Err(format!("RoPE original context: expected 1 to {}, found {original_context}", 1 << 27))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architectures::Family;

    #[test]
    fn sizes_of_tensors_never_overflow() {
        assert_eq!(tensor_bytes(DType::F32, &[3, 5]), Some(60));
        assert_eq!(tensor_bytes(DType::F16, &[]), Some(2));
        assert_eq!(tensor_bytes(DType::Q4_0, &[2, 64]), Some(72));
        assert_eq!(tensor_bytes(DType::Q4_0, &[64, 2]), None);
        assert_eq!(tensor_bytes(DType::F32, &[usize::MAX, usize::MAX]), None);
        assert_eq!(tensor_bytes(DType::F32, &[1 << 62]), None);
        assert_eq!(tensor_bytes(DType::Q2_K, &[1 << 40, 1 << 22]), None, "bytes fit, values as f32 do not");
    }

    fn sound() -> ModelConfig {
        ModelConfig {
            family: Family::Llama,
            vocab_size: 100,
            hidden_size: 64,
            intermediate_size: 128,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
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

    #[test]
    fn sampling_defaults_out_of_range_are_refused() {
        let check = |defaults: GenerationDefaults| check_generation(Path::new("m"), &defaults);
        check(GenerationDefaults { temperature: Some(0.0), top_p: Some(1.0), ..Default::default() }).unwrap();
        check(GenerationDefaults { temperature: Some(f32::NAN), ..Default::default() }).unwrap_err();
        check(GenerationDefaults { top_p: Some(0.0), ..Default::default() }).unwrap_err();
        check(GenerationDefaults { repetition_penalty: Some(f32::INFINITY), ..Default::default() }).unwrap_err();
    }

    /// One change to a sound configuration.
    type Lie = fn(&mut ModelConfig);

    #[test]
    fn absurd_numbers_are_refused_by_name() {
        check(Path::new("m"), &sound()).unwrap();
        let lies: [(&str, Lie); 14] = [
            ("vocabulary size", |c| c.vocab_size = 0),
            ("hidden size", |c| c.hidden_size = usize::MAX),
            ("feed-forward size", |c| c.intermediate_size = 0),
            ("number of layers", |c| c.layers = 1_000_000_000),
            ("number of attention heads", |c| c.heads = 0),
            ("number of key-value heads", |c| c.kv_heads = 0),
            ("evenly", |c| c.kv_heads = 3),
            ("even number", |c| c.head_dim = 15),
            ("context length", |c| c.context_length = 0),
            ("norm epsilon", |c| c.norm_eps = f32::NAN),
            ("RoPE base", |c| c.rope_theta = -1.0),
            ("RoPE factor", |c| c.rope_scaling = RopeScaling::Linear { factor: 0.0 }),
            ("expected 8, found 3", |c| c.rope_scaling = RopeScaling::Factors(vec![1.0; 3])),
            ("low_freq_factor under", |c| {
                c.rope_scaling = RopeScaling::Llama3 {
                    factor: 8.0,
                    low_freq_factor: 4.0,
                    high_freq_factor: 4.0,
                    original_context: 8192,
                }
            }),
        ];
        for (part, lie) in lies {
            let mut config = sound();
            lie(&mut config);
            let error = check(Path::new("m"), &config).unwrap_err();
            assert!(matches!(error, Error::Format { .. }) && error.to_string().contains(part), "{part}: {error}");
        }
    }
}
