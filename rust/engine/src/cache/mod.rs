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

/// Prefixes are shared within a namespace: sequences whose pages would differ for the same tokens have different ones.
pub type Namespace = u64;
