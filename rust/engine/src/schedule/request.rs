//! What a caller asks for and what comes back. Knows no model.
use crate::{Error, batch::TokenId, sample::SamplingOptions};

/// Names a request for as long as the engine lives.
pub type RequestId = u64;

/// Work for the engine.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt; never empty.
    pub tokens: Vec<TokenId>,
    /// What to do with it.
    pub task: Task,
    /// Requests of one client wait in one line; lines take turns. Empty: the common line.
    pub client: String,
    /// Adapters by name, each with the weight that multiplies what it adds; added in this order.
    pub adapters: Vec<(String, f32)>,
    /// Fail with [`Error::QueueTimeout`] if the first token's computation has not begun after this many seconds.
    pub max_queue_seconds: Option<f64>,
}

/// The kinds of work.
#[derive(Debug, Clone)]
pub enum Task {
    /// Continue the prompt.
    Generate(GenerateOptions),
    /// Mean over the prompt of the final hidden states, as one vector.
    Embed,
    /// Log-probability of every prompt token given those before it (the first has none).
    Score {
        /// Also the k likeliest tokens at each place.
        top: usize,
    },
}

/// How to continue a prompt.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// Stop after this many tokens.
    pub max_new_tokens: usize,
    /// Independent continuations of the same prompt (OpenAI `n`), at least 1; they share the prompt's KV pages.
    pub choices: usize,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end the answer.
    pub stop_tokens: Vec<TokenId>,
    /// Report the log-probability of each token and of this many alternatives.
    pub logprobs: Option<usize>,
    /// How to choose each token.
    pub sampling: SamplingOptions,
}

/// What the engine reports. `index` is the choice, `0..choices`.
#[derive(Debug, Clone)]
pub enum Event {
    /// More text. It may be empty while a character or a stop string is incomplete.
    Text {
        /// The choice.
        index: usize,
        /// Whole UTF-8 characters.
        text: String,
        /// The tokens since the last event, with log-probabilities if asked for.
        tokens: Vec<TokenInfo>,
    },
    /// A choice is complete.
    Finished {
        /// The choice.
        index: usize,
        /// Why.
        reason: FinishReason,
    },
    /// The answer to [`Task::Embed`].
    Embedding(Vec<f32>),
    /// The answer to [`Task::Score`], one per prompt token.
    Scores(Vec<TokenInfo>),
    /// Last event of a request: all choices are complete.
    Done(Usage),
    /// Last event of a request that could not be completed.
    Failed(Error),
}

/// One token as reported to the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenInfo {
    /// The token.
    pub id: TokenId,
    /// Its bytes (not always whole characters).
    pub bytes: Vec<u8>,
    /// Natural log of its probability under the model (before temperature and filters); absent if not asked for.
    pub logprob: Option<f32>,
    /// The likeliest alternatives: token, bytes, log-probability.
    pub top: Vec<(TokenId, Vec<u8>, f32)>,
}

/// Why generation ended. OpenAI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop token or stop string.
    Stop,
    /// `max_new_tokens` or the context window.
    Length,
    /// Cancelled.
    Cancelled,
}

/// What a request cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Tokens in the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated, over all choices.
    pub completion_tokens: usize,
    /// Prompt tokens whose keys and values were known already.
    pub cached_tokens: usize,
    /// Tokens drafted and checked; they are not part of `completion_tokens` unless they came true.
    pub drafted_tokens: usize,
    /// Drafted tokens that came true and saved a pass.
    pub accepted_tokens: usize,
    /// Seconds in the queue.
    pub queue_seconds: f64,
    /// Seconds from submission to the first token.
    pub first_token_seconds: f64,
    /// Seconds from submission to the end.
    pub total_seconds: f64,
}
