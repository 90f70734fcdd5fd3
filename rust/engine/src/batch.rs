//! What goes through one forward pass, and what comes out. Knows neither who asked nor how it is computed.
use crate::{
    adapter::{Blend, Site},
    clock::Clock,
};

/// A token's index in the vocabulary.
pub type TokenId = u32;

/// Index of a KV page; the backend that owns the memory gives it meaning.
pub type PageId = u32;

/// Tokens in one KV page. Prefixes are shared in units of this.
pub const PAGE_TOKENS: usize = synapse_kernels::PAGE_TOKENS;

/// What the caller wants back for the tokens of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Nothing: a prefill chunk that is not the last.
    Nothing,
    /// Logits of the last token.
    LastLogits,
    /// Logits of every token.
    AllLogits,
    /// The final (normalized) hidden state of every token.
    Hidden,
}

/// Consecutive tokens of one sequence.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The tokens to run, at positions `start..start + tokens.len()`.
    pub tokens: Vec<TokenId>,
    /// Position of the first token; everything before it is in `pages` already.
    pub start: usize,
    /// The sequence's pages, covering positions `0..start + tokens.len()`.
    pub pages: Vec<PageId>,
    /// What to return.
    pub want: Want,
    /// What is added to the model's linear maps, if anything.
    pub blend: Option<Blend>,
}

/// One forward pass: prefill chunks and decode rows of different sequences, mixed.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// In order; results come back in the same order.
    pub segments: Vec<Segment>,
}

impl Batch {
    /// Rows (tokens) in all segments.
    pub fn rows(&self) -> usize {
        self.segments.iter().map(|segment| segment.tokens.len()).sum()
    }
}

/// What one segment asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SegmentOutput {
    /// `(rows wanted, vocab_size)` row-major, empty unless logits were wanted.
    pub logits: Vec<f32>,
    /// `(tokens, hidden_size)` row-major, empty unless hidden states were wanted.
    pub hidden: Vec<f32>,
}

/// What a model can take, and the sizes of what it gives.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Tokens in the vocabulary; the length of a logits row.
    pub vocab_size: usize,
    /// Length of a hidden state.
    pub hidden_size: usize,
    /// The most positions a sequence may have.
    pub context_length: usize,
    /// Whether a sequence may outgrow that: the model then sees its last tokens alone, from position 0.
    pub slides: bool,
    /// How many pages exist; page ids are `0..page_count`.
    pub page_count: usize,
}

/// A model ready to run. The scheduler and the tests see models only through this.
pub trait Model: Send {
    /// What it can take.
    fn limits(&self) -> Limits;
    /// Runs the batch: writes its keys and values into the pages, returns one output per segment.
    fn forward(&mut self, batch: &Batch) -> crate::Result<Vec<SegmentOutput>>;
    /// See [`Limits::vocab_size`].
    fn vocab_size(&self) -> usize {
        self.limits().vocab_size
    }
    /// See [`Limits::hidden_size`].
    fn hidden_size(&self) -> usize {
        self.limits().hidden_size
    }
    /// See [`Limits::context_length`].
    fn context_length(&self) -> usize {
        self.limits().context_length
    }
    /// See [`Limits::slides`].
    fn slides(&self) -> bool {
        self.limits().slides
    }
    /// See [`Limits::page_count`].
    fn page_count(&self) -> usize {
        self.limits().page_count
    }
    /// Where adapters can add to it.
    fn sites(&self) -> &[Site] {
        &[]
    }
    /// Where its time goes, if it keeps account.
    fn clock(&self) -> Option<&Clock> {
        None
    }
}
