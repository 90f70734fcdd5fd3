//! Checks a request before it may wait, on the caller's thread. Knows the model's limits, not its state.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    adapters::Adapters,
    choice::open_choices,
    collect::{MeanHidden, Scores},
    job::{Job, Sink, Work},
    text::Vocabulary,
};
use crate::{
    Error, Result,
    batch::{Model, PAGE_TOKENS, TokenId},
    schedule::{GenerateOptions, Purpose, Request, Submission, Task},
};

/// OpenAI's limit on `n`.
const MAX_CHOICES: usize = 128;
/// OpenAI's limit on `top_logprobs`.
const MAX_TOP: usize = 20;

/// What a request must fit.
#[derive(Clone)]
pub struct Intake {
    vocab_size: usize,
    context_length: usize,
    /// An answer may go on beyond it.
    slides: bool,
    vocabulary: Arc<dyn Vocabulary>,
    adapters: Adapters,
}

/// A request that may wait.
pub struct Prepared {
    pub job: Job,
    pub submission: Submission,
}

impl Intake {
    pub fn new(model: &dyn Model, vocabulary: Arc<dyn Vocabulary>, adapters: Adapters) -> Self {
        let context_length = model.context_length().min(model.page_count() * PAGE_TOKENS);
        Self { vocab_size: model.vocab_size(), context_length, slides: model.slides(), vocabulary, adapters }
    }

    /// The adapters that requests may name.
    pub fn adapters(&self) -> &Adapters {
        &self.adapters
    }

    /// The most tokens that the model sees at a time: its own limit, or all pages. Prompt and answer must fit, or the prompt alone where
    /// the model slides.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// # Errors
    /// [`Error::Request`] names the field at fault; [`Error::ContextLength`] if the request can never fit.
    pub fn prepare(&self, request: Request, sink: Box<dyn Sink>) -> Result<Prepared> {
        self.check_prompt(&request)?;
        let expires = expiry(request.max_queue_seconds)?;
        let blend = self.adapters.blend(&request.adapters, &request.tokens)?;
        let Request { tokens, task, client, max_queue_seconds, .. } = request;
        let (work, purpose, choices) = match task {
            Task::Generate(options) => {
                self.check_options(&options, tokens.len())?;
                let choices = options.choices;
                let (rules, opened) = open_choices(options, &tokens, &self.vocabulary)?;
                (Work::Generate(rules, opened), Purpose::Generate, choices)
            }
            Task::Embed => (Work::Embed(MeanHidden::default()), Purpose::Embed, 1),
            Task::Score { top } => {
                check_range("top", top, 0, self.vocab_size)?;
                (Work::Score(Scores::new(tokens.clone(), top, Arc::clone(&self.vocabulary))), Purpose::Score, 1)
            }
        };
        let job = Job::new(work, tokens.len(), max_queue_seconds, sink);
        let submission = Submission { tokens, client: client.into(), purpose, choices, expires, blend };
        Ok(Prepared { job, submission })
    }

    fn check_prompt(&self, request: &Request) -> Result<()> {
        if request.tokens.is_empty() {
            return Err(refused("prompt", "expected at least one token, found none"));
        }
        self.check_tokens("prompt", &request.tokens)?;
        self.check_length(request.tokens.len(), 0)
    }

    fn check_options(&self, options: &GenerateOptions, prompt: usize) -> Result<()> {
        check_range("max_tokens", options.max_new_tokens, 1, usize::MAX)?;
        check_range("n", options.choices, 1, MAX_CHOICES)?;
        check_range("top_logprobs", options.logprobs.unwrap_or(0), 0, MAX_TOP)?;
        self.check_tokens("stop_tokens", &options.stop_tokens)?;
        options.sampling.validate(self.vocab_size)?;
        self.check_length(prompt, if self.slides { 0 } else { options.max_new_tokens })
    }

    fn check_length(&self, prompt: usize, answer: usize) -> Result<()> {
        let (limit, needed) = (self.context_length, prompt.saturating_add(answer));
        if needed > limit { Err(Error::ContextLength { limit, prompt, needed }) } else { Ok(()) }
    }

    fn check_tokens(&self, param: &str, tokens: &[TokenId]) -> Result<()> {
        match tokens.iter().find(|&&token| token as usize >= self.vocab_size) {
            None => Ok(()),
            Some(token) => Err(refused(
                param,
                format!("expected tokens below {} (the vocabulary), found {token}", self.vocab_size),
            )),
        }
    }
}

fn expiry(seconds: Option<f64>) -> Result<Option<Instant>> {
    let Some(seconds) = seconds else { return Ok(None) };
    let wait = Duration::try_from_secs_f64(seconds)
        .map_err(|_| refused("max_queue_seconds", format!("expected seconds from 0, found {seconds}")))?;
    Ok(Instant::now().checked_add(wait))
}

fn check_range(param: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let wanted = if most == usize::MAX { format!("at least {least}") } else { format!("{least} to {most}") };
    Err(refused(param, format!("expected {wanted}, found {value}")))
}

fn refused(param: &str, reason: impl Into<String>) -> Error {
    Error::Request { param: param.to_owned(), reason: reason.into() }
}
