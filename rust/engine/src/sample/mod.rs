//! Logits to a token. Knows no model and no scheduler.
mod filters;
mod logprobs;
#[cfg(test)]
mod oracle;
mod penalties;
pub(crate) mod random;
mod sampler;
mod softmax;
mod validate;

use filters::Filters;
pub use logprobs::{Logprobs, logprobs};
use penalties::History;
pub use random::fresh_seed;
pub use sampler::{Sampler, Scratch};

use crate::batch::TokenId;

/// How to choose a token. The defaults are greedy-free plain sampling: temperature 1, no filter, no penalty.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingOptions {
    /// Divides the logits; 0 is greedy. `0..=2`.
    pub temperature: f32,
    /// Keep the k likeliest; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set whose probability reaches p. `(0, 1]`.
    pub top_p: f32,
    /// Drop tokens less likely than this share of the likeliest. `[0, 1)`.
    pub min_p: f32,
    /// Locally typical sampling (Meister et al. 2022); 1 is off. `(0, 1]`.
    pub typical_p: f32,
    /// Divides positive and multiplies negative logits of tokens seen (Keskar et al. 2019); 1 is off. `0.01..=100`.
    pub repetition_penalty: f32,
    /// Subtracted once from tokens already generated (OpenAI). `-2..=2`.
    pub presence_penalty: f32,
    /// Subtracted per occurrence from tokens already generated (OpenAI). `-2..=2`.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// Makes a choice reproducible whatever else runs beside it.
    pub seed: Option<u64>,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}
