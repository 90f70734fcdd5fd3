//! One choice's way from logits to its next token. Knows neither the batch nor the text.
use super::{Filters, History, SamplingOptions, random, softmax};
use crate::{Error, Result, batch::TokenId};

/// Buffers that all samplers of one thread share.
#[derive(Debug, Default)]
pub struct Scratch {
    adjusted: Vec<f32>,
    pub(super) filters: Filters,
}

/// Chooses the tokens of one choice.
///
/// Order: repetition penalty, frequency and presence penalty, logit bias; then temperature, top-k, top-p, min-p, typical.
/// What is drawn depends on the logits, the options, the seed, the choice and the position only.
#[derive(Debug, Clone)]
pub struct Sampler {
    options: SamplingOptions,
    seed: u64,
    choice: u64,
    position: u64,
    history: History,
}

impl Sampler {
    /// For choice `choice` of a request. `seed` stands for `options.seed`, which may be absent.
    pub fn new(options: SamplingOptions, seed: u64, choice: usize, prompt: &[TokenId]) -> Self {
        let history = History::new(prompt, &options);
        Self { options, seed, choice: choice as u64, position: 0, history }
    }

    /// Chooses the next token; equal logits go to the lowest id when greedy.
    ///
    /// # Errors
    /// [`Error::Internal`] if a logit is not finite.
    pub fn sample(&mut self, logits: &[f32], scratch: &mut Scratch) -> Result<TokenId> {
        let Scratch { adjusted, filters } = scratch;
        let logits = if self.options.adjusts_logits() {
            adjusted.clear();
            adjusted.extend_from_slice(logits);
            self.history.apply(&self.options, adjusted);
            adjusted.as_slice()
        } else {
            logits
        };
        let peak = finite_peak(logits)?;
        let token = if self.options.temperature == 0.0 {
            logits.iter().position(|&logit| logit == peak).unwrap_or(0) as TokenId
        } else {
            filters.draw(logits, peak, &self.options, random::uniform(self.seed, self.choice, self.position))
        };
        self.position += 1;
        if self.options.adjusts_logits() {
            self.history.push(token);
        }
        Ok(token)
    }
}

/// The largest logit, if all are finite.
pub(super) fn finite_peak(logits: &[f32]) -> Result<f32> {
    softmax::peak(logits)
        .ok_or_else(|| Error::Internal(format!("the model gave {} logits that are not all finite", logits.len())))
}
