//! Arithmetic on slices: no tensors, no models, no I/O. The only crate of this project that computes with `unsafe`.
//!
//! [`Cpu`] is the way in: threads and the best kernel set of this machine. [`Matrix`] holds weights, [`Activations`] what
//! meets them, [`KvLayer`] keys and values, [`Mixer`] what mixes a sequence without them.
mod activations;
mod attention;
mod bytes;
mod cpu;
pub mod decode;
mod dtype;
mod format;
mod gemm;
mod kv;
mod matrix;
mod mixer;
mod mixing;
mod packed;
mod pool;
mod quantize;
mod roof;
mod rows;
mod set;
mod simd;

pub use activations::Activations;
pub use bytes::Bytes;
pub use cpu::{AttentionSegment, Cpu, GateBuffers, LowRank, LowRankJob, MatmulJob, Roofs};
pub use decode::{Group, NativeGroup, decode_group, dequantize, native_group};
pub use dtype::DType;
pub use format::Format;
pub use kv::{KvLayer, KvShape, KvType, MAX_HEAD_DIM};
pub use matrix::Matrix;
pub use mixer::{MONARCH_VALUES, MONARCH_WINDOW, Mixer, Monarch, MonarchLayout, WindowLayer, WindowShape};

/// Tokens in one KV page: one vector register of scores on AVX-512.
pub const PAGE_TOKENS: usize = 16;
