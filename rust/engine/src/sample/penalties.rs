//! What was said so far, and how that changes the logits. Knows no probabilities.
use std::collections::HashMap;

use super::SamplingOptions;
use crate::batch::TokenId;

/// Tokens seen: those of the prompt and those generated, with how often they were generated.
#[derive(Debug, Clone, Default)]
pub struct History {
    generated: HashMap<TokenId, u32>,
}

impl History {
    /// Starts with a prompt, which only the repetition penalty looks at.
    pub fn new(prompt: &[TokenId], options: &SamplingOptions) -> Self {
        let relevant = if options.repetition_penalty == 1.0 { &[] } else { prompt };
        Self { generated: relevant.iter().map(|&token| (token, 0)).collect() }
    }

    /// Counts a generated token.
    pub fn push(&mut self, token: TokenId) {
        *self.generated.entry(token).or_default() += 1;
    }

    /// Changes `logits` in place: repetition, then frequency and presence, then bias.
    pub fn apply(&self, options: &SamplingOptions, logits: &mut [f32]) {
        for (&token, &count) in &self.generated {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            let factor = options.repetition_penalty;
            *logit = if *logit > 0.0 { *logit / factor } else { *logit * factor };
            if count > 0 {
                *logit -= options.frequency_penalty * count as f32 + options.presence_penalty;
            }
        }
        for &(token, bias) in &options.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
    }
}

impl SamplingOptions {
    /// Whether anything changes single logits.
    pub(super) fn adjusts_logits(&self) -> bool {
        let penalties = self.presence_penalty != 0.0 || self.frequency_penalty != 0.0;
        self.repetition_penalty != 1.0 || penalties || !self.logit_bias.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_covers_the_prompt_and_the_others_do_not() {
        let options = SamplingOptions {
            repetition_penalty: 2.0,
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            logit_bias: vec![(3, 10.0)],
            ..SamplingOptions::default()
        };
        let mut history = History::new(&[0, 1], &options);
        history.push(1);
        history.push(1);
        history.push(2);
        let mut logits = [4.0, -3.0, 1.0, 0.0, 7.0];
        history.apply(&options, &mut logits);
        assert_eq!(logits, [2.0, -6.0 - 0.5 - 0.5, 0.5 - 0.25 - 0.5, 10.0, 7.0]);
    }
}
