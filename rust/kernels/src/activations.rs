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
    /// What values of each half are multiplied by to become codes.
    pub inverse: [f32; 2],
}

impl Scaling {
    /// Below this, inverses could overflow; values are as good as zero.
    const SMALLEST: f32 = f32::MIN_POSITIVE * (127 << MAX_SHIFT) as f32;

    /// Scales that cover the largest magnitude of each half with 127 steps.
    #[inline(always)]
    pub fn covering(largest: [f32; 2]) -> Self {
        let wide = largest[0].max(largest[1]);
        let narrow = largest[0].min(largest[1]);
        // The distance of two positive floats' bits, without the mantissa's, is the whole part of their quotient's logarithm.
        let octaves = (wide.to_bits().wrapping_sub(narrow.to_bits()) >> 23) as i32;
        let steps = octaves.clamp(0, MAX_SHIFT);
        let finer = (1u32 << steps) as f32;
        let inverse = if wide >= Self::SMALLEST { 127.0 / wide } else { 0.0 };
        let (scale, fine) = (wide / 127.0 / finer, inverse * finer);
        match largest[0] >= largest[1] {
            true => Self { scale, shift: [steps, 0], inverse: [inverse, fine] },
            false => Self { scale, shift: [0, steps], inverse: [fine, inverse] },
        }
    }
}

impl RowGroup {
    /// Writes what stands beside the codes, whose sums are given for each half.
    #[inline(always)]
    pub fn describe(&mut self, Scaling { scale, shift, .. }: Scaling, sums: [i32; 2]) {
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
