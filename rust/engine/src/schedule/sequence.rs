//! One choice of one request on its way through the model. Knows its tokens and pages, nothing of text or sampling.
use std::{sync::Arc, time::Instant};

use super::RequestId;
use crate::{
    adapter::Blend,
    batch::{PAGE_TOKENS, PageId, Segment, TokenId, Want},
    cache::Lineage,
};

/// Names a sequence. Ordered by age: requests are numbered as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceKey {
    /// The request.
    pub request: RequestId,
    /// The choice.
    pub index: usize,
}

/// What a sequence runs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Logits after the last token, again and again.
    Generate,
    /// The hidden state of every token.
    Embed,
    /// Logits after every token.
    Score,
}

/// How far a sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Several tokens are not in the pages yet.
    Prefill {
        /// How many.
        left: usize,
    },
    /// Only the last token is not.
    Decode,
}

#[derive(Debug)]
pub(super) struct Sequence {
    pub key: SequenceKey,
    pub client: Arc<str>,
    pub purpose: Purpose,
    /// The prompt, then what was generated.
    pub tokens: Vec<TokenId>,
    pub prompt: usize,
    /// Tokens at the beginning that the model does not see any more: the others have outgrown its window.
    pub dropped: usize,
    /// Tokens, after those dropped, that are in `pages`.
    pub computed: usize,
    pub pages: Vec<PageId>,
    pub lineage: Lineage,
    /// What it computes with beside the model's own weights.
    pub blend: Option<Blend>,
    /// Further choices of the request, which wait until this one has made the prompt known.
    pub followers: usize,
    /// It had its turn before: as a choice that follows, or before it had to make room.
    pub begun: bool,
    /// When to give up waiting for the first turn.
    pub expires: Option<Instant>,
}

impl Sequence {
    /// What the model sees.
    pub fn seen(&self) -> &[TokenId] {
        &self.tokens[self.dropped..]
    }

    pub fn phase(&self) -> Phase {
        match self.seen().len() - self.computed {
            1 => Phase::Decode,
            left => Phase::Prefill { left },
        }
    }

    /// Tokens after those computed that the pages have room for.
    pub fn room(&self) -> usize {
        self.pages.len() * PAGE_TOKENS - self.computed
    }

    /// The next `count` tokens as a segment of a batch, then those of a draft.
    pub fn segment(&self, count: usize, draft: &[TokenId]) -> Segment {
        let end = self.computed + count;
        Segment {
            tokens: [&self.seen()[self.computed..end], draft].concat(),
            start: self.computed,
            pages: self.pages[..(end + draft.len()).div_ceil(PAGE_TOKENS)].to_vec(),
            want: match self.purpose {
                Purpose::Generate if end < self.seen().len() => Want::Nothing,
                Purpose::Generate if !draft.is_empty() => Want::AllLogits,
                Purpose::Generate => Want::LastLogits,
                Purpose::Embed => Want::Hidden,
                Purpose::Score => Want::AllLogits,
            },
            blend: self.blend.clone(),
        }
    }

    /// Choice `index`, which begins where the prompt ends.
    pub fn follower(&self, index: usize) -> Self {
        Self {
            key: SequenceKey { request: self.key.request, index },
            client: Arc::clone(&self.client),
            purpose: self.purpose,
            tokens: self.tokens[..self.prompt].to_vec(),
            prompt: self.prompt,
            dropped: 0,
            computed: 0,
            pages: Vec::new(),
            lineage: self.lineage,
            blend: self.blend.clone(),
            followers: 0,
            begun: true,
            expires: None,
        }
    }
}
