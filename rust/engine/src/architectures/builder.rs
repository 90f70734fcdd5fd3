//! Brings weights from their source onto a backend, as the blocks that models are made of.
use super::{MatrixSpec, ModelConfig, Role, VectorSpec, Weights};
use crate::{
    Result,
    adapter::Site,
    backends::{Backend, Linear, Norm},
};

/// What a model's constructor works with; a model file adds its own layers to it.
pub struct Builder<'a, B> {
    /// Where the weights go.
    pub backend: B,
    /// The model's shape.
    pub config: &'a ModelConfig,
    /// Linear maps that adapters can add to.
    pub sites: Vec<Site>,
    weights: &'a dyn Weights,
}

impl<'a, B: Backend> Builder<'a, B> {
    /// Starts with an empty backend.
    pub fn new(backend: B, weights: &'a dyn Weights, config: &'a ModelConfig) -> Self {
        Self { backend, config, sites: Vec::new(), weights }
    }

    /// `NAME.weight`, and `NAME.bias` if there is to be one.
    pub fn linear(&mut self, name: &str, shape: (usize, usize), role: Role, bias: bool) -> Result<Linear<B>> {
        let spec = MatrixSpec { name: &format!("{name}.weight"), shape, role, row_scale: None };
        let matrix = self.weights.matrix(&spec)?;
        let bias = match bias {
            true => {
                let values = self.values(&format!("{name}.bias"), &[shape.0], role)?;
                Some(self.backend.vector(values)?)
            }
            false => None,
        };
        Ok(Linear { weight: self.backend.weight(matrix)?, bias, site: None })
    }

    /// [`Builder::linear`], where adapters can add to it.
    pub fn adaptable(&mut self, name: &str, shape: (usize, usize), role: Role, bias: bool) -> Result<Linear<B>> {
        let linear = self.linear(name, shape, role, bias)?;
        self.sites.push(Site { name: name.to_owned(), shape });
        Ok(Linear { site: Some(self.sites.len() - 1), ..linear })
    }

    /// `NAME.weight` without a bias, row by row multiplied with `scale`.
    pub fn scaled_linear(&mut self, name: &str, shape: (usize, usize), scale: &[f32]) -> Result<Linear<B>> {
        let name = &format!("{name}.weight");
        let matrix = self.weights.matrix(&MatrixSpec { name, shape, role: Role::Plain, row_scale: Some(scale) })?;
        Ok(Linear { weight: self.backend.weight(matrix)?, bias: None, site: None })
    }

    /// `NAME.weight`, over the residual stream.
    pub fn norm(&mut self, name: &str) -> Result<Norm<B>> {
        let weight = self.values(&format!("{name}.weight"), &[self.config.hidden_size], Role::Plain)?;
        Ok(Norm { weight: self.backend.vector(weight)?, eps: self.config.norm_eps })
    }

    /// The values of a small tensor.
    pub fn values(&self, name: &str, shape: &[usize], role: Role) -> Result<Vec<f32>> {
        self.weights.vector(&VectorSpec { name, shape, role })
    }
}
