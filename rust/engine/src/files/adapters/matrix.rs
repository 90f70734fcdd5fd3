//! One matrix of an adapter as it lies in a file, read row by row. Knows no name and no pair.
use synapse_kernels::{DType, dequantize};

use crate::files::{TensorView, gguf::interleaved};

/// A matrix of checked shape whose rows come in Hugging Face's order.
#[derive(Debug, Clone, Copy)]
pub struct AdapterMatrix<'a> {
    view: TensorView<'a>,
    rows: usize,
    columns: usize,
    /// Of heads whose rows the file has interleaved.
    head_dim: Option<usize>,
}

impl<'a> AdapterMatrix<'a> {
    /// Nothing if the tensor has another number of dimensions.
    pub(super) fn new(view: TensorView<'a>, head_dim: Option<usize>) -> Option<AdapterMatrix<'a>> {
        let &[rows, columns] = view.shape else { return None };
        Some(AdapterMatrix { view, rows, columns, head_dim })
    }

    /// `(rows, columns)`.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Number format in the file.
    pub fn dtype(&self) -> DType {
        self.view.dtype
    }

    /// Row `index` as it lies in the file.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_bytes(&self, index: usize) -> &'a [u8] {
        let place = self.head_dim.map_or(index, |head_dim| interleaved(index, head_dim));
        let bytes = self.view.data.len() / self.rows;
        &self.view.data[place * bytes..][..bytes]
    }

    /// Writes row `index` as f32.
    ///
    /// # Panics
    /// If there is no such row, or `out` does not hold one row.
    pub fn row(&self, index: usize, out: &mut [f32]) {
        dequantize(self.view.dtype, self.row_bytes(index), out);
    }

    /// Whether no number is infinite or undefined.
    pub(super) fn is_finite(&self) -> bool {
        let data = self.view.data;
        match self.view.dtype {
            // By the exponent's bits, all ones only in what is not finite: a fraction of the time of converting.
            DType::F32 => none_has_all(data, u32::from_le_bytes, 0x7f80_0000),
            DType::F16 => none_has_all(data, |word| u16::from_le_bytes(word).into(), 0x7c00),
            DType::BF16 => none_has_all(data, |word| u16::from_le_bytes(word).into(), 0x7f80),
            _ => {
                let mut row = vec![0.0; self.columns];
                (0..self.rows).all(|index| {
                    self.row(index, &mut row);
                    row.iter().all(|value| value.is_finite())
                })
            }
        }
    }
}

/// Without an early end, so that many words are looked at at once.
fn none_has_all<const N: usize>(data: &[u8], word: impl Fn([u8; N]) -> u32, bits: u32) -> bool {
    !data.as_chunks().0.iter().fold(false, |any, &bytes| any | (word(bytes) & bits == bits))
}
