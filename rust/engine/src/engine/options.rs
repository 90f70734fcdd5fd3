//! What the engine may do at a time. Knows no model.
use super::AdapterLimits;
use crate::{
    Error, Result,
    batch::{Model, PAGE_TOKENS},
    schedule::Window,
    speculate::Speculation,
};

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
    /// How answers go on that outgrow what the model sees at a time.
    pub past_window: PastWindow,
    /// How much of adapters is held.
    pub adapters: AdapterLimits,
}

/// How an answer goes on when a model with a window of fixed length ([`Model::slides`]) has seen its fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PastWindow {
    /// Every further token is computed from all the last tokens that fit, as the model was trained: a whole prompt for each.
    #[default]
    Exact,
    /// Starts again with the last half whenever the window is full: as fast as before, but for up to half a window less is seen.
    Restart,
}

impl PastWindow {
    /// What the scheduler does for this model.
    pub(super) fn window(self, model: &dyn Model) -> Option<Window> {
        let length = model.context_length().min(model.page_count() * PAGE_TOKENS);
        let keep = match self {
            Self::Exact => length,
            Self::Restart => length.div_ceil(2),
        };
        model.slides().then_some(Window { length, keep })
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            max_sequences: 64,
            max_queue: 256,
            prefill_chunk: 512,
            prefix_cache: true,
            speculation: Speculation::default(),
            past_window: PastWindow::default(),
            adapters: AdapterLimits::default(),
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
