//! Who holds which KV page, and which prefixes are known. Never sees a key or a value.
//!
//! A page is *free*, *used* by one or more sequences, or *idle*: kept only because the prefix cache knows what is in it.
mod pages;
mod pool;
mod prefix;
#[cfg(test)]
mod property_tests;

pub use pages::Pages;
use pool::PagePool;
use prefix::PrefixCache;

use crate::batch::PAGE_TOKENS;

/// Prefixes are shared within a namespace: sequences whose pages would differ for the same tokens have different ones.
pub type Namespace = u64;

/// In which namespace each page of a sequence is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage {
    /// Up to `begin`.
    pub shared: Namespace,
    /// From the page on that holds the position `begin`.
    pub own: Namespace,
    /// The first position at which the sequence's keys and values are not those of everybody in `shared`.
    pub begin: usize,
}

impl Lineage {
    fn of_page(self, index: usize) -> Namespace {
        if (index + 1) * PAGE_TOKENS <= self.begin { self.shared } else { self.own }
    }
}

impl From<Namespace> for Lineage {
    fn from(namespace: Namespace) -> Self {
        Self { shared: namespace, own: namespace, begin: 0 }
    }
}
