//! What every reader delivers: a configuration, named tensors, a tokenizer. Knows no file format.
use std::path::PathBuf;

use synapse_kernels::DType;

use crate::{architectures::ModelConfig, batch::TokenId};

/// A tensor as it lies in a file. Names are Hugging Face's (`model.layers.0.self_attn.q_proj.weight`) for every format.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Number format of `data`.
    pub dtype: DType,
    /// Outermost dimension first: a linear layer is `[out_features, in_features]`.
    pub shape: &'a [usize],
    /// The bytes, row-major; length checked against `shape` and `dtype`.
    pub data: &'a [u8],
}

impl TensorView<'_> {
    /// All values, exactly as the `gguf` package dequantizes them.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.shape.iter().product()];
        synapse_kernels::dequantize(self.dtype, self.data, &mut values);
        values
    }
}

/// Named tensors of one model.
pub trait TensorSource: Send + Sync {
    /// The tensor of this name.
    fn tensor(&self, name: &str) -> Option<TensorView<'_>>;
    /// All names, sorted.
    fn names(&self) -> Vec<&str>;
}

/// Where the tokenizer is.
#[derive(Debug, Clone)]
pub enum TokenizerSource {
    /// A Hugging Face `tokenizer.json` (with `tokenizer_config.json` beside it, if there is one).
    HuggingFace(PathBuf),
    /// GGUF `tokenizer.ggml.*` metadata.
    Gguf(GgufTokenizer),
}

/// GGUF's tokenizer metadata, bounds checked (ids are below `tokens.len()`), not yet interpreted.
#[derive(Debug, Clone, Default)]
pub struct GgufTokenizer {
    /// `tokenizer.ggml.model`: `gpt2` (byte-level BPE), `llama` (SentencePiece), ...
    pub model: String,
    /// `tokenizer.ggml.pre`: name of the pre-tokenizer; empty if absent.
    pub pre: String,
    /// `tokenizer.ggml.tokens`.
    pub tokens: Vec<String>,
    /// `tokenizer.ggml.scores`, empty or one per token.
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.token_type`, empty or one per token (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte).
    pub token_types: Vec<i32>,
    /// `tokenizer.ggml.merges`.
    pub merges: Vec<String>,
    /// Beginning of sequence.
    pub bos: Option<TokenId>,
    /// End of sequence.
    pub eos: Option<TokenId>,
    /// Unknown.
    pub unknown: Option<TokenId>,
    /// Put `bos` before a text.
    pub add_bos: Option<bool>,
    /// Put `eos` after a text.
    pub add_eos: Option<bool>,
    /// SentencePiece: put a space before a text.
    pub add_space_prefix: Option<bool>,
}

/// Defaults that come with a model (`generation_config.json`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationDefaults {
    /// Tokens that end a turn.
    pub eos: Vec<TokenId>,
    /// Sampling temperature.
    pub temperature: Option<f32>,
    /// Keep the k likeliest tokens.
    pub top_k: Option<usize>,
    /// Nucleus sampling.
    pub top_p: Option<f32>,
    /// Multiplicative repetition penalty.
    pub repetition_penalty: Option<f32>,
}

/// A model on disk, read and checked.
pub struct Checkpoint {
    /// The file or folder it came from.
    pub path: PathBuf,
    /// `"gguf"` or `"safetensors"`.
    pub format: &'static str,
    /// Shape.
    pub config: ModelConfig,
    /// Weights.
    pub tensors: Box<dyn TensorSource>,
    /// Tokenizer.
    pub tokenizer: TokenizerSource,
    /// Jinja chat template, if the model brings one.
    pub chat_template: Option<String>,
    /// Sampling defaults and stop tokens.
    pub generation: GenerationDefaults,
    /// GGUF of family Llama: rows of q and k are permuted for interleaved RoPE and must be put back when packed.
    pub interleaved_rope: bool,
}
