//! What the engine may do at a time. Knows no model.
use crate::{Error, Result, speculate::Speculation};

/// Limits of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Sequences that run at a time; each choice of a request is one.
    pub max_sequences: usize,
    /// Requests that wait for their first turn.
    pub max_queue: usize,
    /// Prompt tokens per step: more is faster in total, less keeps running answers smooth.
    pub prefill_chunk: usize,
    /// Whether requests share the keys and values of common prefixes.
    pub prefix_cache: bool,
    /// Where drafts of the next tokens come from. Changes the speed, never an answer.
    pub speculation: Speculation,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            max_sequences: 64,
            max_queue: 256,
            prefill_chunk: 512,
            prefix_cache: true,
            speculation: Speculation::default(),
        }
    }
}

impl EngineOptions {
    /// # Errors
    /// [`Error::Request`] names a limit of 0, with which nothing could ever run.
    pub fn validate(&self) -> Result<()> {
        let limits = [
            ("max_sequences", self.max_sequences),
            ("max_queue", self.max_queue),
            ("prefill_chunk", self.prefill_chunk),
        ];
        match limits.into_iter().find(|(_, limit)| *limit == 0) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Error::Request { param: name.into(), reason: "expected at least 1, found 0".into() })
            }
        }
    }
}
