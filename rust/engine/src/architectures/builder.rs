//! Brings weights from their source onto a backend, as the blocks that models are made of.
use super::{MatrixSpec, ModelConfig, Role, VectorSpec, Weights};
use crate::{
    Result,
    backends::{Backend, Linear, Norm},
};

/// What a model's constructor works with; a model file adds its own layers to it.
pub struct Builder<'a, B> {
    /// Where the weights go.
    pub backend: B,
    /// The model's shape.
    pub config: &'a ModelConfig,
    weights: &'a dyn Weights,
}

impl<'a, B: Backend> Builder<'a, B> {
    /// Starts with an empty backend.
    pub fn new(backend: B, weights: &'a dyn Weights, config: &'a ModelConfig) -> Self {
        Self { backend, config, weights }
    }

    /// `NAME.weight`, and `NAME.bias` if there is to be one.
    pub fn linear(&mut self, name: &str, shape: (usize, usize), role: Role, bias: bool) -> Result<Linear<B>> {
        let matrix = self.weights.matrix(&MatrixSpec { name: &format!("{name}.weight"), shape, role })?;
        let bias = match bias {
            true => Some(self.vector(&format!("{name}.bias"), shape.0, role)?),
            false => None,
        };
        Ok(Linear { weight: self.backend.weight(matrix)?, bias })
    }

    /// `NAME.weight`, over the residual stream.
    pub fn norm(&mut self, name: &str) -> Result<Norm<B>> {
        let weight = self.vector(&format!("{name}.weight"), self.config.hidden_size, Role::Plain)?;
        Ok(Norm { weight, eps: self.config.norm_eps })
    }

    fn vector(&mut self, name: &str, len: usize, role: Role) -> Result<B::Vector> {
        let values = self.weights.vector(&VectorSpec { name, len, role })?;
        self.backend.vector(values)
    }
}
