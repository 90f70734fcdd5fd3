//! Counts weights on their way into a model.
use std::cell::Cell;

use crate::{
    Result,
    architectures::{MatrixSpec, VectorSpec, Weights},
    backends::Matrix,
};

/// Passes everything through and counts it.
pub struct Tally<'a> {
    weights: &'a dyn Weights,
    parameters: Cell<u64>,
    bytes: Cell<u64>,
}

impl<'a> Tally<'a> {
    pub fn new(weights: &'a dyn Weights) -> Self {
        Self { weights, parameters: Cell::new(0), bytes: Cell::new(0) }
    }

    /// Values seen so far.
    pub fn parameters(&self) -> u64 {
        self.parameters.get()
    }

    /// Bytes of them as they are packed.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    fn add(&self, parameters: usize, bytes: usize) {
        self.parameters.set(self.parameters() + parameters as u64);
        self.bytes.set(self.bytes() + bytes as u64);
    }
}

impl Weights for Tally<'_> {
    fn matrix(&self, spec: &MatrixSpec<'_>) -> Result<Matrix> {
        let matrix = self.weights.matrix(spec)?;
        self.add(matrix.rows() * matrix.cols(), matrix.bytes().len());
        Ok(matrix)
    }

    fn vector(&self, spec: &VectorSpec<'_>) -> Result<Vec<f32>> {
        let values = self.weights.vector(spec)?;
        self.add(values.len(), size_of_val(&values[..]));
        Ok(values)
    }
}
