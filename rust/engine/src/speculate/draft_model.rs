//! A small model that drafts for a large one, on pages of its own. Knows neither who asked nor, but by the tokens that follow,
//! what came of a draft.
use std::collections::HashMap;

use crate::{
    Error, Result,
    batch::{Batch, Model, PAGE_TOKENS, PageId, Segment, TokenId, Want},
    cache::{Namespace, Pages},
    schedule::{Drafts, SequenceKey},
};

/// Tokens of one sequence that are read per step: a long prompt is read in pieces, so that the others need not wait.
const READ_AT_ONCE: usize = 512;
/// All requests share prefixes: nobody sees what a draft was made of.
const SHARED: Namespace = 0;

/// A draft to make.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// For whom.
    pub key: SequenceKey,
    /// The sequence so far; never empty.
    pub tokens: &'a [TokenId],
    /// Tokens to draft.
    pub count: usize,
}

/// The small model, with what it has read of each sequence.
pub struct DraftModel {
    model: Box<dyn Model>,
    price: f64,
    /// Tokens that both models have.
    vocab_size: usize,
    pages: Pages,
    read: HashMap<SequenceKey, Read>,
}

/// What the pages hold of a sequence. Its end may be a draft that did not come true.
#[derive(Debug, Default)]
struct Read {
    tokens: Vec<TokenId>,
    pages: Vec<PageId>,
}

/// An order that is being carried out.
struct Work<'a> {
    order: Order<'a>,
    read: Read,
    /// To run next; nothing when the work is done.
    next: Vec<TokenId>,
    draft: Vec<TokenId>,
}

impl DraftModel {
    /// Drafts for a model of `vocab_size` tokens. `price` is the time of a pass over one row, where that model takes 1.
    pub fn new(model: Box<dyn Model>, vocab_size: usize, price: f64) -> Self {
        let vocab_size = vocab_size.min(model.vocab_size());
        Self { pages: Pages::new(model.page_count()), model, price, vocab_size, read: HashMap::new() }
    }

    /// Time of a pass over one row, where the large model takes 1.
    pub fn price(&self) -> f64 {
        self.price
    }

    /// Forgets the sequences that are no more.
    pub fn retain(&mut self, mut lives: impl FnMut(SequenceKey) -> bool) {
        for (_, read) in self.read.extract_if(|&key, _| !lives(key)) {
            self.pages.release(&read.pages);
        }
    }

    /// The likeliest tokens to follow each sequence, a pass for all of them per token. A sequence that does not fit, or is not
    /// read to its end yet, gets none.
    ///
    /// # Errors
    /// The model failed. It cannot be used any more.
    pub fn draft(&mut self, orders: &[Order<'_>]) -> Result<Drafts> {
        let mut works: Vec<Work<'_>> = Vec::new();
        for order in orders {
            if self.fits(order) {
                works.push(self.begin(*order));
            }
        }
        while self.run(&mut works)? {}
        let mut drafts = Drafts::new();
        for Work { order, mut read, draft, .. } in works {
            let sure = read.tokens.len().min(order.tokens.len() - 1);
            self.pages.remember(SHARED, &read.tokens[..sure], &mut read.pages);
            self.read.insert(order.key, read);
            drafts.insert(order.key, draft);
        }
        Ok(drafts)
    }

    fn fits(&self, order: &Order<'_>) -> bool {
        let known = |&token: &TokenId| (token as usize) < self.vocab_size;
        order.count > 0
            && order.tokens.len() + order.count <= self.model.context_length()
            && order.tokens.iter().all(known)
    }

    /// Goes back to where the sequence and what was read of it part.
    fn begin<'a>(&mut self, order: Order<'a>) -> Work<'a> {
        let before_last = &order.tokens[..order.tokens.len() - 1];
        let mut read = self.read.remove(&order.key).unwrap_or_else(|| {
            let pages = self.pages.reuse(SHARED, before_last);
            Read { tokens: before_last[..pages.len() * PAGE_TOKENS].to_vec(), pages }
        });
        let same = read.tokens.iter().zip(before_last).take_while(|(read, token)| read == token).count();
        read.tokens.truncate(same);
        let next = order.tokens[same..].iter().copied().take(READ_AT_ONCE).collect();
        Work { order, read, next, draft: Vec::new() }
    }

    /// One pass over what is next of each; false if nothing is.
    fn run(&mut self, works: &mut [Work<'_>]) -> Result<bool> {
        let Self { pages, model, vocab_size, .. } = self;
        let mut batch = Batch::default();
        let mut running = Vec::new();
        for work in works {
            if let Some(segment) = work.segment(pages) {
                batch.segments.push(segment);
                running.push(work);
            }
        }
        if running.is_empty() {
            return Ok(false);
        }
        let outputs = model.forward(&batch)?;
        let (found, wanted) = (outputs.len(), running.len());
        if found != wanted {
            return Err(Error::Internal(format!("the draft model answered {found} segments of {wanted}")));
        }
        running.into_iter().zip(outputs).for_each(|(work, output)| work.take(&output.logits, *vocab_size));
        Ok(true)
    }
}

impl Work<'_> {
    /// What is next, in pages that have room for it. Where pages run short the work ends.
    fn segment(&mut self, pages: &mut Pages) -> Option<Segment> {
        let Self { order, read, next, .. } = self;
        let (start, end) = (read.tokens.len(), read.tokens.len() + next.len());
        while !next.is_empty() && read.pages.len() * PAGE_TOKENS < end {
            match pages.take() {
                Some(page) => read.pages.push(page),
                None => next.clear(),
            }
        }
        let want = if end < order.tokens.len() { Want::Nothing } else { Want::LastLogits };
        let pages = read.pages.get(..end.div_ceil(PAGE_TOKENS))?.to_vec();
        (!next.is_empty()).then(|| Segment { tokens: next.clone(), start, pages, want, blend: None })
    }

    fn take(&mut self, logits: &[f32], vocab_size: usize) {
        self.read.tokens.append(&mut self.next);
        // The rest of a long prompt is for the next step.
        let to_its_end = self.read.tokens.len() >= self.order.tokens.len();
        let Some(token) = likeliest(logits, vocab_size).filter(|_| to_its_end) else { return };
        self.draft.push(token);
        if self.draft.len() < self.order.count {
            self.next.push(token);
        }
    }
}

/// The lowest of the tokens with the largest logit.
fn likeliest(logits: &[f32], vocab_size: usize) -> Option<TokenId> {
    let tokens = logits.iter().take(vocab_size).enumerate();
    let best = tokens.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(token, _)| token as TokenId)
}

#[cfg(test)]
mod tests {
    use synapse_kernels::Format;

    use super::*;
    use crate::{
        architectures::testing::{config, model, run, segment, text},
        backends::KvType,
    };

    fn tiny() -> Box<dyn Model> {
        model(&config(), Format::F32, KvType::F32, 1)
    }

    fn key(request: u64) -> SequenceKey {
        SequenceKey { request, index: 0 }
    }

    /// Greedy, the whole text anew for each token.
    fn slowly(tokens: &[TokenId], count: usize) -> Vec<TokenId> {
        let (mut model, mut tokens, pages) = (tiny(), tokens.to_vec(), Vec::from_iter(0..64));
        let start = tokens.len();
        for end in start..start + count {
            let logits = run(model.as_mut(), segment(&tokens, 0..end, &pages, Want::LastLogits));
            tokens.extend(likeliest(&logits, 101));
        }
        tokens.split_off(start)
    }

    #[test]
    fn a_draft_is_what_the_model_would_say_whatever_was_drafted_before() {
        let mut drafter = DraftModel::new(tiny(), 101, 0.1);
        let (mut one, mut other) = (text(1, 40, 101), text(2, 3, 101));
        for turn in 0..6 {
            let orders =
                [Order { key: key(1), tokens: &one, count: 4 }, Order { key: key(2), tokens: &other, count: 1 + turn }];
            let drafts = drafter.draft(&orders).unwrap();
            for Order { key, tokens, count } in orders {
                assert_eq!(drafts[&key], slowly(tokens, count));
            }
            // Of one draft a part comes true, of the other nothing does.
            one.extend_from_slice(&drafts[&key(1)][..turn.min(4)]);
            one.push(7);
            other.extend([50 + turn as TokenId, 3]);
        }
        drafter.retain(|key| key.request == 2);
        assert_eq!(drafter.pages.used(), 2);
        drafter.retain(|_| false);
        assert_eq!(drafter.pages.used(), 0);
    }

    #[test]
    fn what_does_not_fit_gets_no_draft() {
        let mut drafter = DraftModel::new(tiny(), 90, 0.1);
        let (long, foreign, good) = (text(1, 198, 90), vec![1, 95], vec![1, 2]);
        let orders = [(1, &long), (2, &foreign), (3, &good)];
        let orders = orders.map(|(id, tokens)| Order { key: key(id), tokens, count: 3 });
        let drafts = drafter.draft(&orders).unwrap();
        assert_eq!(drafts.keys().collect::<Vec<_>>(), [&key(3)]);
        assert!(drafts[&key(3)].iter().all(|&token| token < 90));
    }

    #[test]
    fn without_pages_there_is_no_draft_and_later_there_is() {
        let mut drafter = DraftModel::new(tiny(), 101, 0.1);
        let texts: Vec<_> = (0..8).map(|seed| text(seed, 150, 101)).collect();
        let orders: Vec<_> = (0..8).map(|id| Order { key: key(id), tokens: &texts[id as usize], count: 2 }).collect();
        let drafts = drafter.draft(&orders).unwrap();
        let made = drafts.values().filter(|draft| !draft.is_empty()).count();
        assert!((1..8).contains(&made), "{made} drafts in 64 pages of 16");
        drafter.retain(|_| false);
        assert_eq!(drafter.draft(&orders[7..]).unwrap()[&key(7)], slowly(&texts[7], 2));
    }
}
