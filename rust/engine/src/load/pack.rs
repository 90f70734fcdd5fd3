//! Packs the weights of a checkpoint for the kernels. Names what is missing or misshapen.
use std::sync::atomic::{AtomicBool, Ordering};

use half::f16;
use synapse_kernels::{Format, Matrix, dequantize};

use super::Quant;
use crate::{
    Error, Result,
    architectures::{MatrixSpec, Role, VectorSpec, Weights},
    files::{Checkpoint, TensorView, gguf::interleaved},
};

/// Weights of a checkpoint, packed when asked for.
pub struct Packer<'a> {
    checkpoint: &'a Checkpoint,
    quant: Quant,
}

impl<'a> Packer<'a> {
    pub fn new(checkpoint: &'a Checkpoint, quant: Quant) -> Self {
        Self { checkpoint, quant }
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<TensorView<'_>> {
        let expected = describe(shape);
        let Some(tensor) = self.checkpoint.tensors.tensor(name) else {
            return Err(Error::Model(format!("tensor `{name}`: expected {expected}, found no such tensor")));
        };
        if tensor.shape != shape {
            let found = describe(tensor.shape);
            return Err(Error::Model(format!("tensor `{name}`: expected {expected}, found {found}")));
        }
        Ok(tensor)
    }

    /// Where row `row` of the model is in the file.
    fn file_row(&self, role: Role, rows: usize, row: usize) -> usize {
        match role {
            Role::Rotary { heads } if self.checkpoint.interleaved_rope => interleaved(row, rows / heads),
            _ => row,
        }
    }
}

fn describe(shape: &[usize]) -> String {
    let sizes: Vec<_> = shape.iter().map(usize::to_string).collect();
    format!("({})", sizes.join(", "))
}

impl Weights for Packer<'_> {
    fn matrix(&self, spec: &MatrixSpec<'_>) -> Result<Matrix> {
        let (rows, cols) = spec.shape;
        let tensor = self.tensor(spec.name, &[rows, cols])?;
        // A row that is scaled has to be packed anew, whatever the file holds.
        let native = self.checkpoint.format == "gguf" && spec.row_scale.is_none();
        let format = self.quant.format(native, tensor.dtype, spec.role);
        if Matrix::packed_bytes(format, rows, cols).is_none() {
            return Err(Error::Model(format!(
                "tensor `{}`: ({rows}, {cols}) is larger than the kernels count",
                spec.name
            )));
        }
        let row_bytes = tensor.data.len() / rows;
        let row = |row| &tensor.data[self.file_row(spec.role, rows, row) * row_bytes..][..row_bytes];
        if let Format::Ggml(dtype) = format {
            return Ok(Matrix::pack_blocks(dtype, rows, cols, row));
        }
        let too_large = AtomicBool::new(false);
        // Scales are f16, too.
        let limit = if matches!(format, Format::F32 | Format::BF16) { f32::MAX } else { f16::MAX.to_f32() };
        let matrix = Matrix::pack_f32(format, rows, cols, |index, out| {
            dequantize(tensor.dtype, row(index), out);
            if let Some(scale) = spec.row_scale {
                out.iter_mut().for_each(|value| *value *= scale[index]);
            }
            if !out.iter().all(|value| value.abs() <= limit) {
                too_large.store(true, Ordering::Relaxed);
            }
        });
        match too_large.into_inner() {
            true => {
                Err(Error::Model(format!("tensor `{}`: a value is not finite, or too large for {format}", spec.name)))
            }
            false => Ok(matrix),
        }
    }

    fn vector(&self, spec: &VectorSpec<'_>) -> Result<Vec<f32>> {
        let tensor = self.tensor(spec.name, spec.shape)?;
        let len = spec.len();
        let mut values = vec![0.0; len];
        dequantize(tensor.dtype, tensor.data, &mut values);
        Ok((0..len).map(|index| values[self.file_row(spec.role, len, index)]).collect())
    }
}
