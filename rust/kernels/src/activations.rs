//! Rows of activations, as f32 and as 8-bit groups of 32. Knows nothing of weights.

/// Columns that share a scale.
pub const GROUP: usize = 32;

/// The sums that weights with an offset or a minimum need, for one group of one row.
#[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct GroupSums {
    /// Scale of the codes: `value = scale * code`.
    pub scale: f32,
    /// Negated sums of the codes: all 32, the first 16, the second 16.
    pub negated: [i32; 3],
    /// `scale` times the sums of the codes, in the same order.
    pub scaled: [f32; 3],
    pad: f32,
}

impl GroupSums {
    /// From the scale and the sums of both halves.
    pub fn new(scale: f32, halves: [i32; 2]) -> Self {
        let sums = [halves[0] + halves[1], halves[0], halves[1]];
        Self { scale, negated: sums.map(|s| -s), scaled: sums.map(|s| scale * s as f32), pad: 0.0 }
    }
}

/// Input rows of a matrix product. Buffers grow and are reused.
#[derive(Debug, Default)]
pub struct Activations {
    rows: usize,
    cols: usize,
    /// `(rows, cols)`, if float weights asked for them.
    pub(crate) values: Vec<f32>,
    /// `(rows, groups * 32)`, zero beyond `cols`, if quantized weights asked for them.
    pub(crate) codes: Vec<i8>,
    /// `(rows, groups)`.
    pub(crate) sums: Vec<GroupSums>,
}

impl Activations {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values per row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Groups per row, the last one padded with zeros.
    pub fn groups(&self) -> usize {
        self.cols.div_ceil(GROUP)
    }

    /// Makes room for `(rows, cols)` in the forms asked for; the contents are stale until written.
    pub(crate) fn reshape(&mut self, rows: usize, cols: usize, float: bool, quantized: bool) {
        (self.rows, self.cols) = (rows, cols);
        let groups = self.groups();
        self.values.resize(if float { rows * cols } else { 0 }, 0.0);
        self.codes.resize(if quantized { rows * groups * GROUP } else { 0 }, 0);
        self.sums.resize(if quantized { rows * groups } else { 0 }, GroupSums::default());
    }
}
