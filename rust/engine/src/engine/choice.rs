//! One continuation of a prompt: logits to token to text. Knows neither pages nor the other choices.
use std::{sync::Arc, time::Instant};

use super::text::{TokenText, Vocabulary};
use crate::{
    Result,
    batch::TokenId,
    sample::{Sampler, Scratch, fresh_seed, logprobs},
    schedule::{FinishReason, GenerateOptions, TokenInfo},
    speculate::Foresight,
};

/// What every choice of a request goes by.
pub struct Rules {
    max_new_tokens: usize,
    stop_tokens: Vec<TokenId>,
    logprobs: Option<usize>,
    vocabulary: Arc<dyn Vocabulary>,
}

/// The state of one choice.
pub struct Choice {
    sampler: Sampler,
    text: Box<dyn TokenText>,
    /// Tokens generated since the last text that was published.
    pending: Vec<TokenInfo>,
    generated: usize,
    foresight: Foresight,
    /// When the last token came.
    pub last_token: Option<Instant>,
    /// Its last token is not known yet.
    pub open: bool,
}

/// What a token brings.
pub struct Turn {
    pub token: TokenId,
    /// Text and tokens to publish.
    pub piece: Option<(String, Vec<TokenInfo>)>,
    /// The choice is complete.
    pub finished: Option<FinishReason>,
}

/// The choices of a request and their rules.
///
/// # Errors
/// A stop string that cannot be one.
pub fn open_choices(
    options: GenerateOptions,
    prompt: &[TokenId],
    vocabulary: &Arc<dyn Vocabulary>,
) -> Result<(Rules, Vec<Choice>)> {
    let seed = options.sampling.seed.unwrap_or_else(fresh_seed);
    let choice = |index| {
        Ok(Choice {
            sampler: Sampler::new(options.sampling.clone(), seed, index, prompt),
            text: Arc::clone(vocabulary).text_stream(&options.stop)?,
            pending: Vec::new(),
            generated: 0,
            foresight: Foresight::new(prompt.len()),
            last_token: None,
            open: true,
        })
    };
    let choices = (0..options.choices).map(choice).collect::<Result<_>>()?;
    let vocabulary = Arc::clone(vocabulary);
    let GenerateOptions { max_new_tokens, stop_tokens, logprobs, .. } = options;
    Ok((Rules { max_new_tokens, stop_tokens, logprobs, vocabulary }, choices))
}

impl Choice {
    /// Chooses the next token.
    ///
    /// A stop token ends the choice and is neither shown nor reported with its log-probability; it counts as generated,
    /// as in vLLM and llama.cpp, because it cost as much as any other.
    ///
    /// # Errors
    /// Logits that are not finite.
    pub fn take_turn(&mut self, rules: &Rules, logits: &[f32], scratch: &mut Scratch) -> Result<Turn> {
        let token = self.sampler.sample(logits, scratch)?;
        self.generated += 1;
        if rules.stop_tokens.contains(&token) {
            let text = self.text.finish().text;
            return Ok(self.turn(rules, token, text, Some(FinishReason::Stop)));
        }
        self.pending.push(rules.describe(token, logits)?);
        let mut piece = self.text.push(token);
        let last = self.generated == rules.max_new_tokens;
        if last && !piece.stopped {
            let rest = self.text.finish();
            piece.text.push_str(&rest.text);
            piece.stopped = rest.stopped;
        }
        let finished = match (piece.stopped, last) {
            (true, _) => Some(FinishReason::Stop),
            (false, true) => Some(FinishReason::Length),
            (false, false) => None,
        };
        Ok(self.turn(rules, token, piece.text, finished))
    }

    /// What foretells the choice, and for how many tokens: the last one needs no draft after it.
    pub fn foresight(&mut self, rules: &Rules) -> (&mut Foresight, usize) {
        (&mut self.foresight, rules.max_new_tokens.saturating_sub(self.generated + 1))
    }

    fn turn(&mut self, rules: &Rules, token: TokenId, text: String, finished: Option<FinishReason>) -> Turn {
        let to_report = rules.logprobs.is_some() && !self.pending.is_empty();
        let piece = (to_report || !text.is_empty()).then(|| (text, std::mem::take(&mut self.pending)));
        self.open = finished.is_none();
        Turn { token, piece, finished }
    }
}

impl Rules {
    fn describe(&self, id: TokenId, logits: &[f32]) -> Result<TokenInfo> {
        match self.logprobs {
            None => Ok(TokenInfo { id, bytes: self.vocabulary.token_bytes(id), logprob: None, top: Vec::new() }),
            Some(top) => token_info(id, logits, top, self.vocabulary.as_ref()),
        }
    }
}

/// A token with its log-probability and those of the `top` likeliest.
///
/// # Errors
/// Logits that are not finite.
pub fn token_info(id: TokenId, logits: &[f32], top: usize, vocabulary: &dyn Vocabulary) -> Result<TokenInfo> {
    let report = logprobs(logits, id, top)?;
    let alternative = |(id, logprob)| (id, vocabulary.token_bytes(id), logprob);
    let top = report.top.into_iter().map(alternative).collect();
    Ok(TokenInfo { id, bytes: vocabulary.token_bytes(id), logprob: Some(report.chosen), top })
}
