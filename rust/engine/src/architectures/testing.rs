//! Tiny models with random weights, for tests.
use super::{Family, ModelConfig, RopeScaling};

/// A Llama of odd sizes; tests change what they are about.
pub fn config() -> ModelConfig {
    ModelConfig {
        family: Family::Llama,
        vocab_size: 101,
        hidden_size: 48,
        intermediate_size: 72,
        layers: 2,
        heads: 3,
        kv_heads: 1,
        head_dim: 10,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        context_length: 200,
        tied_head: false,
        qkv_bias: false,
        o_bias: false,
    }
}
