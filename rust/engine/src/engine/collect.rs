//! Gathers what comes per prompt token: the mean hidden state, the log-probabilities. Knows no scheduler.
//!
//! A sequence that had to make room runs again from its beginning; what was gathered before is then left alone.
use std::sync::Arc;

use super::{choice::token_info, text::Vocabulary};
use crate::{Result, batch::TokenId, schedule::TokenInfo};

/// Mean over the prompt of the hidden states.
#[derive(Debug, Default)]
pub struct MeanHidden {
    sum: Vec<f64>,
    seen: usize,
}

impl MeanHidden {
    /// Adds the hidden states of the tokens from position `start` on, one after the other, so that chunks do not matter.
    pub fn add(&mut self, start: usize, hidden: &[f32], hidden_size: usize) {
        self.sum.resize(hidden_size, 0.0);
        for state in hidden.chunks_exact(hidden_size).skip(self.seen.saturating_sub(start)) {
            self.sum.iter_mut().zip(state).for_each(|(sum, value)| *sum += f64::from(*value));
            self.seen += 1;
        }
    }

    /// The mean.
    pub fn mean(&self) -> Vec<f32> {
        self.sum.iter().map(|sum| (sum / self.seen.max(1) as f64) as f32).collect()
    }
}

/// Log-probability of each prompt token given those before it.
pub struct Scores {
    prompt: Vec<TokenId>,
    top: usize,
    vocabulary: Arc<dyn Vocabulary>,
    found: Vec<TokenInfo>,
}

impl Scores {
    /// The first token has nothing before it, so it has no probability.
    pub fn new(prompt: Vec<TokenId>, top: usize, vocabulary: Arc<dyn Vocabulary>) -> Self {
        let first = prompt.first();
        let bare = |&id: &TokenId| TokenInfo { id, bytes: vocabulary.token_bytes(id), logprob: None, top: Vec::new() };
        let found = first.map(bare).into_iter().collect();
        Self { prompt, top, vocabulary, found }
    }

    /// Adds what the logits of the tokens from position `start` on say of the tokens after them.
    ///
    /// # Errors
    /// Logits that are not finite.
    pub fn add(&mut self, start: usize, logits: &[f32], vocab_size: usize) -> Result<()> {
        let known = self.found.len() - 1;
        for row in logits.chunks_exact(vocab_size).skip(known.saturating_sub(start)) {
            let Some(&next) = self.prompt.get(self.found.len()) else { break };
            self.found.push(token_info(next, row, self.top, self.vocabulary.as_ref())?);
        }
        Ok(())
    }

    /// One entry per prompt token.
    pub fn take(&mut self) -> Vec<TokenInfo> {
        std::mem::take(&mut self.found)
    }
}
