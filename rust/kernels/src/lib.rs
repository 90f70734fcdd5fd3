//! Arithmetic on slices: no tensors, no models, no I/O. The only crate of this project that computes with `unsafe`.
mod dtype;

pub use dtype::DType;

/// Tokens in one KV page: one vector register of scores on AVX-512.
pub const PAGE_TOKENS: usize = 16;
