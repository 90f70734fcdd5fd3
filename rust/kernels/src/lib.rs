//! Arithmetic on slices: no tensors, no models, no I/O. The only crate of this project that computes with `unsafe`.
pub mod decode;
mod dtype;

pub use decode::{Group, NativeGroup, decode_group, dequantize, native_group};
pub use dtype::DType;

/// Tokens in one KV page: one vector register of scores on AVX-512.
pub const PAGE_TOKENS: usize = 16;
