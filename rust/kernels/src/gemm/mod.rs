//! Weights times activations. Each output is one sum in a fixed order (groups left to right), whatever the number of rows,
//! tiles or threads, so that results never depend on what else is in the batch.
//!
//! `direct` reads packed weights as they are and serves few rows; `expanded` unpacks them once into the cache and serves
//! many; both do the same operations in the same order. `float` serves unquantized weights.
pub mod direct;
pub mod expanded;
pub mod float;

use crate::{
    activations::{PANEL, PanelGroup, RowGroup},
    packed::{Codes, Packed, Scales, Values},
    simd::{LANES, Simd},
};

/// Bytes of a cache line, on most processors.
const LINE: usize = 64;

/// Quantized activations as kernels see them: panels of `groups` groups, one after another.
#[derive(Clone, Copy)]
pub struct Rows {
    pub panels: *const PanelGroup,
    pub groups: usize,
}

impl Rows {
    /// Group `group` of the panel that row `row` is in.
    ///
    /// # Safety
    /// The row and the group must exist.
    #[inline(always)]
    pub unsafe fn group<'a>(&self, row: usize, group: usize) -> &'a PanelGroup {
        // SAFETY: as the caller vouches.
        unsafe { &*self.panels.add(row / PANEL * self.groups + group) }
    }
}

/// Memory that is read next, asked for while this pass computes: otherwise reading and computing would take turns.
#[derive(Clone, Copy)]
pub struct Ahead {
    at: *const u8,
    step: usize,
}

impl Ahead {
    /// `bytes` from `at` on, in `steps` steps.
    pub fn new(at: *const u8, bytes: usize, steps: usize) -> Self {
        Self { at, step: bytes.div_ceil(steps.max(1)) }
    }

    /// Asks for the next step's lines.
    ///
    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    pub unsafe fn fetch<S: Simd>(&mut self) {
        for line in (0..self.step).step_by(LINE) {
            // SAFETY: as the caller vouches; what is asked for need not exist.
            unsafe { S::prefetch(self.at.wrapping_add(line)) };
        }
        self.at = self.at.wrapping_add(self.step);
    }
}

/// Where the sixteen sums of a tile go, for every row.
#[derive(Clone, Copy)]
pub struct Sink {
    /// Output of row 0 at the tile's first weight row.
    pub out: *mut f32,
    /// From one row to the next.
    pub stride: usize,
    /// Weight rows from there on that the sink is for; a kernel that writes one tile takes at most 16.
    pub lanes: usize,
    /// At the tile's first weight row, or null.
    pub bias: *const f32,
    /// Add to what is there.
    pub add: bool,
}

impl Sink {
    /// Of the tile that comes so many after the first.
    #[inline(always)]
    pub fn tile(self, index: usize) -> Sink {
        let skipped = index * LANES;
        let bias = if self.bias.is_null() { self.bias } else { self.bias.wrapping_add(skipped) };
        Sink { out: self.out.wrapping_add(skipped), lanes: LANES.min(self.lanes - skipped), bias, ..self }
    }

    /// Writes the sums of one row.
    ///
    /// # Safety
    /// As [`Simd`]; `lanes` values at `out + row * stride` must be writable, and at `bias` readable unless it is null.
    #[inline(always)]
    pub unsafe fn write<S: Simd>(&self, row: usize, value: S::F32) {
        // SAFETY: as the caller vouches; partial tiles go through buffers of full size.
        unsafe {
            let to = self.out.add(row * self.stride);
            if self.lanes == LANES {
                S::store(self.combine::<S>(value, self.bias, to), to);
                return;
            }
            let (mut bias, mut out) = ([0.0; LANES], [0.0; LANES]);
            if !self.bias.is_null() {
                std::ptr::copy_nonoverlapping(self.bias, bias.as_mut_ptr(), self.lanes);
            }
            std::ptr::copy_nonoverlapping(to, out.as_mut_ptr(), self.lanes);
            let bias_at = if self.bias.is_null() { std::ptr::null() } else { bias.as_ptr() };
            let value = self.combine::<S>(value, bias_at, out.as_ptr());
            S::store(value, out.as_mut_ptr());
            std::ptr::copy_nonoverlapping(out.as_ptr(), to, self.lanes);
        }
    }

    #[inline(always)]
    unsafe fn combine<S: Simd>(&self, value: S::F32, bias: *const f32, out: *const f32) -> S::F32 {
        // SAFETY: sixteen values are readable at both pointers, where they are used.
        unsafe {
            let value = if bias.is_null() { value } else { S::add(value, S::load(bias)) };
            if self.add { S::add(S::load(out), value) } else { value }
        }
    }
}

/// `acc` plus one group of one row: `sums` holds both halves' products of codes and activations.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn add_group<S: Simd, P: Packed>(
    acc: S::F32,
    sums: [S::Products; 2],
    weights: &Values<S>,
    x: &RowGroup,
) -> S::F32 {
    // SAFETY: no memory is touched.
    unsafe {
        if P::Scales::HALVES {
            let acc = add_half::<S, P>(acc, sums[0], weights, x, 0);
            return add_half::<S, P>(acc, sums[1], weights, x, 1);
        }
        let first = S::add_products(minus_offset::<S, P>(x.minus_whole), sums[0], x.shift[0], P::Codes::BITS);
        let int = S::add_products(first, sums[1], x.shift[1], P::Codes::BITS);
        let acc = S::fma(S::to_f32(int), S::mul(weights.d[0], S::splat(x.scale)), acc);
        if P::Scales::MINS { S::fma(weights.m[0], S::splat(x.sum), acc) } else { acc }
    }
}

/// What one half adds where each half has its own weight scale.
#[inline(always)]
unsafe fn add_half<S: Simd, P: Packed>(
    acc: S::F32,
    sum: S::Products,
    weights: &Values<S>,
    x: &RowGroup,
    half: usize,
) -> S::F32 {
    // SAFETY: no memory is touched.
    unsafe {
        let (scale, minus) = (S::splat(x.scale), x.minus_half[half]);
        let int = S::add_products(minus_offset::<S, P>(minus), sum, x.shift[half], P::Codes::BITS);
        let acc = S::fma(S::to_f32(int), S::mul(weights.d[half], scale), acc);
        if !P::Scales::MINS {
            return acc;
        }
        let minus_sum = S::mul(S::to_f32(S::splat_i32(minus)), scale);
        S::fma(S::sub(S::splat(0.0), weights.m[half]), minus_sum, acc)
    }
}

/// What is left to add to sums of products, as if the offset had been subtracted from every code; `minus_sum` is minus the sum
/// of the activations.
#[inline(always)]
unsafe fn minus_offset<S: Simd, P: Packed>(minus_sum: i32) -> S::I32 {
    // SAFETY: no memory is touched.
    unsafe {
        match P::OFFSET_BITS {
            None => S::splat_i32(0),
            Some(_) if P::Codes::BITS == 8 && S::BYTES_ARE_SIGNED => S::splat_i32(0),
            Some(bits) => S::shift_left(S::splat_i32(minus_sum), S::splat_i32(bits as i32)),
        }
    }
}
