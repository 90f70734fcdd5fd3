//! Synapse Engine's core: loads language models and runs them. Knows nothing of Python or HTTP.
//!
//! `text -> tokenize -> schedule -> architectures (on a backend) -> sample -> stream -> text`
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]

pub mod adapter;
pub mod architectures;
pub mod backends;
pub mod batch;
pub mod cache;
pub mod clock;
pub mod engine;
pub mod error;
pub mod files;
pub mod load;
pub mod sample;
pub mod schedule;
pub mod speculate;
pub mod stream;
pub mod swarm;
pub mod tokenize;

pub use error::{Error, Result};
