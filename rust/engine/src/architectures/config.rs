//! The numbers that give a model its shape, whatever file they came from.
use super::{Organelle, Organelles};
use crate::backends::{KvShape, KvType, WindowShape};

/// Which family a checkpoint belongs to; picks the file in `architectures/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Qwen2 and Qwen2.5: bias on q, k, v.
    Qwen2,
    /// Llama 2, 3.x, SmolLM2 and Mistral-shaped models.
    Llama,
    /// SymbioSLM, SymbioGPT, VocabFusion, MonarchSLM: layers mixed by organelles.
    Symbio,
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

/// A language model's shape.
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
    /// Query heads; none if no layer has attention, and then neither KV heads nor a width of one.
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
    /// What mixes the sequence in each layer of [`Family::Symbio`]; none in the others.
    pub organelles: Option<Organelles>,
}

impl ModelConfig {
    /// Whether any layer has attention.
    pub fn has_attention(&self) -> bool {
        self.attention_layers() > 0
    }

    /// Bytes of one page of sequence state, in all layers.
    pub fn page_bytes(&self, kv_type: KvType) -> usize {
        let kv = KvShape { kv_heads: self.kv_heads, head_dim: self.head_dim, kv_type }.page_bytes();
        let windows = (0..self.layers).filter_map(|layer| self.window(layer)).map(|window| window.page_bytes());
        self.attention_layers() * kv + windows.sum::<usize>()
    }

    /// The past inputs that a layer keeps, if it has convolutions or Monarch matrices.
    pub fn window(&self, layer: usize) -> Option<WindowShape> {
        let organelles = self.organelles.as_ref()?.layers.get(layer)?;
        let kept = organelles.iter().any(|&organelle| organelle != Organelle::Attention);
        let monarch = organelles.contains(&Organelle::Monarch);
        kept.then_some(WindowShape { channels: self.hidden_size, monarch })
    }

    /// What the forward pass relies on in the organelles; says what is wrong with them.
    pub fn check_organelles(&self) -> Result<(), String> {
        self.organelles.as_ref().map_or(Ok(()), |organelles| organelles.check(self))
    }

    fn attention_layers(&self) -> usize {
        let attends = |layer: &&Vec<Organelle>| layer.contains(&Organelle::Attention);
        self.organelles.as_ref().map_or(self.layers, |organelles| organelles.layers.iter().filter(attends).count())
    }
}
