//! Rows of activations, as f32 and as 8-bit groups. Knows nothing of weights.

/// Columns that meet one group of weights.
pub const GROUP: usize = 32;

/// Scales and sums of one group of one row. Each half of 16 has its own scale: an outlier spoils fewer neighbours.
#[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct GroupSums {
    /// Of each half: `value = scale * code`.
    pub scale: [f32; 2],
    /// Sum of the values of each half.
    pub halves: [f32; 2],
    /// Sum of all 32 values.
    pub whole: f32,
}

impl GroupSums {
    /// From the scales and the sums of the codes of both halves.
    pub fn new(scale: [f32; 2], sums: [i32; 2]) -> Self {
        let halves = [scale[0] * sums[0] as f32, scale[1] * sums[1] as f32];
        Self { scale, halves, whole: halves[0] + halves[1] }
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
