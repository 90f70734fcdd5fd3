//! The numbers that give a model its shape, whatever file they came from.

/// Which family a checkpoint belongs to; picks the file in `architectures/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Qwen2 and Qwen2.5: bias on q, k, v.
    Qwen2,
    /// Llama 2, 3.x, SmolLM2 and Mistral-shaped models.
    Llama,
}

/// How rotary frequencies are stretched for contexts longer than those trained on.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Plain rotary embedding.
    None,
    /// Positions are divided by `factor`.
    Linear {
        /// The divisor.
        factor: f32,
    },
    /// Llama 3.1's frequency-dependent stretch (`rope_type: llama3`).
    Llama3 {
        /// Stretch of the long wavelengths.
        factor: f32,
        /// Wavelengths over `original_context / low_freq_factor` are stretched in full.
        low_freq_factor: f32,
        /// Wavelengths under `original_context / high_freq_factor` are left alone.
        high_freq_factor: f32,
        /// Context the model was first trained on, in tokens.
        original_context: usize,
    },
    /// Each frequency divided by its own factor (GGUF `rope_freqs.weight`), `head_dim / 2` values.
    Factors(Vec<f32>),
}

/// A decoder-only transformer's shape.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The family.
    pub family: Family,
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward network.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; not always `hidden_size / heads`.
    pub head_dim: usize,
    /// RMSNorm's epsilon.
    pub norm_eps: f32,
    /// RoPE base.
    pub rope_theta: f32,
    /// RoPE stretch.
    pub rope_scaling: RopeScaling,
    /// Longest sequence, in tokens.
    pub context_length: usize,
    /// The output head is the embedding matrix.
    pub tied_head: bool,
    /// q, k, v projections have a bias.
    pub qkv_bias: bool,
    /// The output projection of attention has a bias (Llama `attention_bias`).
    pub o_bias: bool,
}
