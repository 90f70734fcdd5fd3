//! Readers of model files. Trusts nothing in them; knows nothing of arithmetic.
mod checkpoint;

pub use checkpoint::{Checkpoint, GenerationDefaults, GgufTokenizer, TensorSource, TensorView, TokenizerSource};
