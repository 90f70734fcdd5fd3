//! Tensors of a coordinator's file, by name and shape.
use crate::{Error, Result, files::TensorSource};

/// All values of a tensor that must be there in this shape.
pub fn values(tensors: &dyn TensorSource, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let fault = |found: String| Error::Model(format!("tensor `{name}`: expected {shape:?}, found {found}"));
    let tensor = tensors.tensor(name).ok_or_else(|| fault("none".into()))?;
    match tensor.shape == shape {
        true => Ok(tensor.to_f32()),
        false => Err(fault(format!("{:?}", tensor.shape))),
    }
}
