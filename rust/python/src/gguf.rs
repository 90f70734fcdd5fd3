//! Single tensors of GGUF files, for those who want to look inside or compare.
use std::path::Path;

use pyo3::{prelude::*, types::PyBytes};
use synapse_engine::{Error, Result, files::gguf::GgufFile};

use crate::errors;

/// A tensor of a GGUF file by its GGUF name: shape (outermost first) and its values as little-endian float32.
#[pyfunction]
pub fn gguf_tensor<'py>(py: Python<'py>, path: &str, name: &str) -> PyResult<(Vec<usize>, Bound<'py, PyBytes>)> {
    let (shape, values) = errors::run(py, || read(Path::new(path), name))?;
    Ok((shape, PyBytes::new(py, &values)))
}

fn read(path: &Path, name: &str) -> Result<(Vec<usize>, Vec<u8>)> {
    let file = GgufFile::open(path)?;
    let tensor = file.tensor(name).ok_or_else(|| Error::Format {
        path: path.to_owned(),
        reason: format!("expected a tensor `{name}`, found none of this name"),
    })?;
    let mut values = vec![0f32; tensor.shape.iter().product()];
    synapse_kernels::dequantize(tensor.dtype, tensor.data, &mut values);
    Ok((tensor.shape.to_vec(), values.iter().flat_map(|value| value.to_le_bytes()).collect()))
}
