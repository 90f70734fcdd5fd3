//! Tensors of a coordinator's file, by name and shape.
use crate::{
    Error, Result,
    files::{TensorSource, TensorView},
};

/// A tensor that must be there in this shape.
pub fn tensor<'a>(tensors: &'a dyn TensorSource, name: &str, shape: &[usize]) -> Result<TensorView<'a>> {
    let fault = |found: String| Error::Model(format!("tensor `{name}`: expected {shape:?}, found {found}"));
    let tensor = tensors.tensor(name).ok_or_else(|| fault("none".into()))?;
    match tensor.shape == shape {
        true => Ok(tensor),
        false => Err(fault(format!("{:?}", tensor.shape))),
    }
}

/// All its values.
pub fn values(tensors: &dyn TensorSource, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    Ok(tensor(tensors, name, shape)?.to_f32())
}
