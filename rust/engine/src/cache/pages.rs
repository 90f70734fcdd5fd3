//! Gives pages to sequences and takes them back; evicts known prefixes when pages run short. Knows no requests.
use super::{Lineage, Namespace, PagePool, PrefixCache, prefix::PageKey};
use crate::batch::{PAGE_TOKENS, PageId, TokenId};

/// The pages of a model with the prefixes known in them.
#[derive(Debug)]
pub struct Pages {
    pool: PagePool,
    prefixes: PrefixCache,
}

impl Pages {
    /// `count` free pages.
    pub fn new(count: usize) -> Self {
        Self { pool: PagePool::new(count), prefixes: PrefixCache::default() }
    }

    /// A page to write to, from the free ones or from the longest unused known prefix.
    pub fn take(&mut self) -> Option<PageId> {
        if self.pool.free() == 0 {
            let Self { pool, prefixes } = self;
            let page = prefixes.evict(|page| pool.is_idle(page))?;
            pool.drop_kept(page);
        }
        self.pool.take()
    }

    /// Gives back pages that one sequence used.
    pub fn release(&mut self, pages: &[PageId]) {
        // From the end, so that the beginning of a sequence is handed out last.
        pages.iter().rev().for_each(|&page| self.pool.release(page));
    }

    /// The pages known to hold the beginning of `tokens`, for one sequence to read.
    pub fn reuse(&mut self, lineage: impl Into<Lineage>, tokens: &[TokenId]) -> Vec<PageId> {
        let pages = self.prefixes.find(lineage.into(), page_keys(tokens));
        pages.iter().for_each(|&page| self.pool.share(page));
        pages
    }

    /// Makes the full pages of a sequence known. Where the same tokens are known from another page, the sequence goes on
    /// with that one: the same tokens at the same place give the same keys and values bit for bit.
    pub fn remember(&mut self, lineage: impl Into<Lineage>, tokens: &[TokenId], pages: &mut [PageId]) {
        let path = page_keys(tokens).zip(pages.iter().copied());
        let kept = self.prefixes.insert(lineage.into(), path);
        for (own, kept) in pages.iter_mut().zip(kept) {
            if *own != kept {
                self.pool.share(kept);
                self.pool.release(*own);
                *own = kept;
            } else {
                self.pool.keep(kept);
            }
        }
    }

    /// Drops all prefixes of a namespace.
    pub fn forget(&mut self, namespace: Namespace) {
        self.prefixes.forget(namespace).into_iter().for_each(|page| self.pool.drop_kept(page));
    }

    /// Pages that [`Pages::take`] can still give.
    pub fn obtainable(&self) -> usize {
        self.pool.free() + self.pool.idle()
    }

    /// Pages in all.
    pub fn total(&self) -> usize {
        self.pool.total()
    }

    /// Pages that sequences use.
    pub fn used(&self) -> usize {
        self.pool.total() - self.obtainable()
    }

    /// Pages kept only because their prefix is known.
    pub fn idle(&self) -> usize {
        self.pool.idle()
    }
}

fn page_keys(tokens: &[TokenId]) -> impl Iterator<Item = PageKey> {
    tokens.as_chunks::<PAGE_TOKENS>().0.iter().copied()
}
