//! Rows of activations, as f32 and as 8-bit groups. Knows nothing of weights.
use crate::simd::MAX_SHIFT;

/// Columns that meet one group of weights.
pub const GROUP: usize = 32;

/// Rows whose groups lie together, so that kernels step over them with one pointer.
pub const PANEL: usize = 4;

/// One group of the rows of a panel; rows that do not exist hold anything.
pub type PanelGroup = [RowGroup; PANEL];

/// One group of one row, a cache line.
///
/// `value = scale * 2^shift * code`: each half of 16 has its own scale, so that an outlier spoils fewer neighbours, and the
/// two differ by a power of two, so that their integer sums can be added.
#[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct RowGroup {
    pub codes: [i8; GROUP],
    pub scale: f32,
    /// Of each half.
    pub shift: [i32; 2],
    /// Minus the sum of each half: `-(sum of its codes) * 2^shift`.
    pub minus_half: [i32; 2],
    /// Of both halves.
    pub minus_whole: i32,
    /// Sum of all 32 values.
    pub sum: f32,
    padding: [u8; 4],
}

/// The scales of a group.
#[derive(Debug, Clone, Copy)]
pub struct Scaling {
    scale: f32,
    shift: [i32; 2],
}

impl Scaling {
    /// Scales that cover the largest magnitude of each half with 127 steps.
    #[inline(always)]
    pub fn covering(largest: [f32; 2]) -> Self {
        let wide = largest[0].max(largest[1]);
        let narrow = largest[0].min(largest[1]);
        if narrow <= 0.0 {
            return Self { scale: wide / 127.0, shift: [0; 2] };
        }
        // The exponent of a quotient >= 1 is the logarithm's whole part.
        let exponent = ((wide / narrow).to_bits() >> 23) as i32 - 127;
        let steps = exponent.min(MAX_SHIFT);
        let fine = wide / (127u32 << steps) as f32;
        let shift = if largest[0] >= largest[1] { [steps, 0] } else { [0, steps] };
        Self { scale: fine, shift }
    }

    /// What values of a half are multiplied by to become codes.
    #[inline(always)]
    pub fn inverse(&self, half: usize) -> f32 {
        let step = self.scale * (1u32 << self.shift[half]) as f32;
        // Where the quotient would overflow, values are as good as zero.
        if step >= f32::MIN_POSITIVE { 1.0 / step } else { 0.0 }
    }
}

impl RowGroup {
    /// Writes what stands beside the codes, whose sums are given for each half.
    #[inline(always)]
    pub fn describe(&mut self, Scaling { scale, shift }: Scaling, sums: [i32; 2]) {
        (self.scale, self.shift) = (scale, shift);
        for half in 0..2 {
            self.minus_half[half] = (sums[half] << shift[half]).wrapping_neg();
        }
        self.minus_whole = self.minus_half[0].wrapping_add(self.minus_half[1]);
        self.sum = -scale * self.minus_whole as f32;
    }
}

/// Input rows of a matrix product. Buffers grow and are reused.
#[derive(Debug, Default)]
pub struct Activations {
    rows: usize,
    cols: usize,
    /// `(rows, cols)`, if float weights asked for them.
    pub(crate) values: Vec<f32>,
    /// `(panels, groups)`, if quantized weights asked for them.
    pub(crate) panels: Vec<PanelGroup>,
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
        let panels = if quantized { rows.div_ceil(PANEL) } else { 0 };
        self.panels.resize(panels * groups, Default::default());
    }
}
