//! Every way the engine can say no. One variant per kind a caller would handle differently; each becomes one Python class.
use std::path::PathBuf;

/// The result of any fallible engine operation.
pub type Result<T> = std::result::Result<T, Error>;

/// An error that names the thing, what was wanted, what was found and, in [`Error::hint`], what to do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A file cannot be opened, read or written.
    #[error("{path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// A model file is damaged, hostile or of a kind that this engine does not read.
    #[error("{path}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Names the tensor or key, what was wanted and what was found.
        reason: String,
    },
    /// The file is sound but the model in it cannot be run: an unknown architecture, a missing or misshapen tensor.
    #[error("{0}")]
    Model(String),
    /// An adapter is sound but cannot be used: a kind that this engine does not run, or made for another base.
    #[error("{path}: {reason}")]
    Adapter {
        /// The file or folder.
        path: PathBuf,
        /// Names the setting, module or tensor, what was wanted and what was found.
        reason: String,
        /// What would work.
        hint: &'static str,
    },
    /// A request asks for something impossible. `param` is the name of the field in the OpenAI API.
    #[error("{param}: {reason}")]
    Request {
        /// The field at fault.
        param: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// Prompt and answer together do not fit the context window.
    #[error("this model's context window is {limit} tokens, but the request needs {needed} ({prompt} in the prompt)")]
    ContextLength {
        /// Size of the context window, in tokens.
        limit: usize,
        /// Tokens in the prompt.
        prompt: usize,
        /// Tokens in the prompt and the answer asked for.
        needed: usize,
    },
    /// The waiting queue is full.
    #[error("the queue is full: {waiting} requests are waiting (limit {limit})")]
    QueueFull {
        /// Requests that wait now.
        waiting: usize,
        /// The limit.
        limit: usize,
    },
    /// A request waited longer than it was willing to.
    #[error("waited {waited:.1} s for its turn (limit {limit} s)")]
    QueueTimeout {
        /// Seconds since submission.
        waited: f64,
        /// The request's limit, in seconds.
        limit: f64,
    },
    /// The engine was closed or its thread ended.
    #[error("the engine is closed")]
    Closed,
    /// A bug in the engine, contained to one request.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// What the user can do about it, if there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Io { .. } => Some("check that the file exists and is readable; `synapse ls` shows installed models"),
            Error::Format { .. } => Some("the file may be damaged or for another program; run `synapse verify`"),
            Error::Model(_) => {
                Some("see `synapse show` for what the file holds and docs/adding-a-model.md for what runs")
            }
            Error::Adapter { hint, .. } => Some(hint),
            Error::ContextLength { .. } => Some("shorten the prompt or lower max_tokens"),
            Error::QueueFull { .. } => Some("try again shortly, or raise --max-queue"),
            Error::QueueTimeout { .. } => Some("try again when fewer requests run, or allow a longer wait"),
            Error::Internal(_) => Some("please report this with the steps that led to it"),
            Error::Request { .. } | Error::Closed => None,
        }
    }
}
