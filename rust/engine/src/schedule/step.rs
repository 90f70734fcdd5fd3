//! A step as the scheduler plans it and the engine runs it. Knows neither who waits nor pages.
use std::collections::HashMap;

use super::{RequestId, SequenceKey};
use crate::batch::{Batch, TokenId};

/// Which sequences a step may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All, and who waits may join.
    Everyone,
    /// One that runs already.
    Only(SequenceKey),
}

/// What a step runs of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The sequence.
    pub key: SequenceKey,
    /// Position of the first token.
    pub start: usize,
    /// Tokens, without those drafted.
    pub count: usize,
    /// With these, all tokens of the sequence are computed.
    pub completes: bool,
    /// Tokens drafted, which follow in the segment; logits of the token before them and of each of them are wanted.
    pub drafted: usize,
}

impl Row {
    /// What is computed of the sequence once `taken` of the drafted tokens are taken for its own.
    pub fn after(self, taken: usize) -> Self {
        Self { start: self.start + taken, drafted: 0, ..self }
    }
}

/// How sequences that decode may go on.
pub type Drafts = HashMap<SequenceKey, Vec<TokenId>>;

/// A request that had its first turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// The request.
    pub request: RequestId,
    /// Prompt tokens that need not be computed.
    pub cached_tokens: usize,
}

/// One step.
#[derive(Debug, Default)]
pub struct Plan {
    /// What to run.
    pub batch: Batch,
    /// Whose it is, segment by segment.
    pub rows: Vec<Row>,
    /// Who joined.
    pub started: Vec<Started>,
}
