//! Forward passes, one file per model family. Never imports the scheduler.
mod builder;
mod config;
mod qwen2;
mod rope;
mod rows;
#[cfg(test)]
pub(crate) mod testing;
mod weights;

pub use config::{Family, ModelConfig, RopeScaling};
pub use qwen2::Qwen2;
pub use weights::{MatrixSpec, Role, VectorSpec, Weights};

use crate::{
    Error, Result,
    backends::{Backend, KvType, MAX_HEAD_DIM},
    batch::Model,
};

/// What the user decides about a model's state, as opposed to what its files say.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The most positions a sequence may have.
    pub context_length: usize,
    /// KV pages per layer.
    pub pages: usize,
    /// Number format of keys and values.
    pub kv_type: KvType,
}

/// Builds the model that a configuration describes.
pub fn build<B: Backend + 'static>(
    config: &ModelConfig,
    settings: Settings,
    backend: B,
    weights: &dyn Weights,
) -> Result<Box<dyn Model>> {
    check(config)?;
    match config.family {
        Family::Qwen2 | Family::Llama => Ok(Box::new(Qwen2::new(config, settings, backend, weights)?)),
    }
}

/// What the forward passes rely on, whatever a reader let through.
fn check(config: &ModelConfig) -> Result<()> {
    let fault = |what: String| Err(Error::Model(what));
    let ModelConfig { heads, kv_heads, head_dim, .. } = *config;
    let sizes = [config.vocab_size, config.hidden_size, config.intermediate_size, config.layers, heads, kv_heads];
    if sizes.contains(&0) {
        return fault("the configuration has a size of zero".into());
    }
    if heads % kv_heads != 0 {
        return fault(format!("num_attention_heads: expected a multiple of {kv_heads} KV heads, found {heads}"));
    }
    if head_dim == 0 || head_dim % 2 != 0 || head_dim > MAX_HEAD_DIM {
        return fault(format!("head_dim: expected an even number up to {MAX_HEAD_DIM}, found {head_dim}"));
    }
    match &config.rope_scaling {
        RopeScaling::Factors(factors) if factors.len() != head_dim / 2 => {
            fault(format!("rope_freqs.weight: expected {} values, found {}", head_dim / 2, factors.len()))
        }
        _ => Ok(()),
    }
}
