//! How a model asks for its weights: names, shapes and what each is for. Knows neither files nor formats.
use synapse_kernels::Matrix;

use crate::Result;

/// What a weight is for, where that changes how it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing special.
    Plain,
    /// Embedding or output head: one row per token of the vocabulary; keeps more bits.
    Vocabulary,
    /// v. An error in it passes through every query head that shares its row, so that it keeps more bits if several do.
    Value {
        /// There are fewer of these heads than query heads.
        shared: bool,
    },
    /// q or k: `heads` blocks of rows that rotary embedding turns. Some files interleave the rows of a block.
    Rotary {
        /// Blocks.
        heads: usize,
    },
}

/// A matrix that a model needs.
#[derive(Debug, Clone, Copy)]
pub struct MatrixSpec<'a> {
    /// Name in the checkpoint.
    pub name: &'a str,
    /// `(out_features, in_features)`.
    pub shape: (usize, usize),
    /// What it is for.
    pub role: Role,
    /// What each row is multiplied with before it is packed.
    pub row_scale: Option<&'a [f32]>,
}

/// A small tensor that a model needs.
#[derive(Debug, Clone, Copy)]
pub struct VectorSpec<'a> {
    /// Name in the checkpoint.
    pub name: &'a str,
    /// Sizes, the outermost first.
    pub shape: &'a [usize],
    /// What it is for.
    pub role: Role,
}

impl VectorSpec<'_> {
    /// Values in it.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where weights come from.
pub trait Weights {
    /// The matrix, packed for the kernels. Missing or of another shape: [`crate::Error::Model`].
    fn matrix(&self, spec: &MatrixSpec<'_>) -> Result<Matrix>;
    /// The values. Missing or of another length: [`crate::Error::Model`].
    fn vector(&self, spec: &VectorSpec<'_>) -> Result<Vec<f32>>;
}
