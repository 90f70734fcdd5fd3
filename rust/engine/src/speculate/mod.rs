//! Drafts the next tokens of a sequence, so that one pass of the model can check several. Never decides a token, and knows
//! neither logits nor who runs.
//!
//! Whatever is drafted, the answer is the same: a drafted token counts only if the model, with the sequence's own options and
//! random numbers, chooses it itself. Drafts decide nothing but the speed.
mod chance;
mod draft_model;
mod foresight;
mod lookup;
mod trust;
mod worth;

pub use draft_model::{DraftModel, Order};
pub use foresight::Foresight;
pub use worth::share;

use chance::Chances;
use lookup::Lookup;
use trust::Trust;

/// Most tokens drafted for a sequence per step; with the token to decode they make a product of 16 rows.
pub const MAX_DRAFT: usize = 15;

/// Where drafts come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Speculation {
    /// Nowhere: one token at a time.
    Off,
    /// From the prompt and the answer so far: what followed the last few tokens when they stood there before.
    #[default]
    Ngram,
}

/// Who would draft.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    /// What followed the last few tokens before.
    #[default]
    Ngram,
    /// The draft model.
    Model,
}

/// What one sequence could draft.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Who would.
    pub source: Source,
    /// By drafted token: the chance that it and all before it come true. Falls.
    pub chances: Vec<f64>,
    /// Time of a pass that drafts a token, where a pass of the model over one row takes 1.
    pub price: f64,
}
