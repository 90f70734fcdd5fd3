//! Weights times activations. Each output is one sum in a fixed order (groups left to right), whatever the number of rows,
//! tiles or threads, so that results never depend on what else is in the batch.
//!
//! `direct` reads packed weights as they are and serves few rows; `expanded` unpacks a tile once and serves many; both do
//! the same operations in the same order. `float` serves unquantized weights.
pub mod direct;
pub mod expanded;
pub mod float;

use crate::{
    activations::{GROUP, GroupSums},
    packed::{Packed, Scales, Values},
    simd::{LANES, Simd},
};

/// Quantized activations as kernels see them: pointers into [`crate::Activations`].
#[derive(Clone, Copy)]
pub struct Rows {
    pub codes: *const i8,
    pub sums: *const GroupSums,
    pub groups: usize,
}

/// Where the sixteen sums of a tile go, for every row.
#[derive(Clone, Copy)]
pub struct Sink {
    /// Output of row 0 at the tile's first weight row.
    pub out: *mut f32,
    /// From one row to the next.
    pub stride: usize,
    /// Weight rows in this tile, at most 16.
    pub lanes: usize,
    /// At the tile's first weight row, or null.
    pub bias: *const f32,
    /// Add to what is there.
    pub add: bool,
}

impl Sink {
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

/// Adds the integer sums of one half of a group, scaled. Half by half, so that few registers are in use at a time.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn accumulate<S: Simd>(
    acc: S::F32,
    int: S::I32,
    weights: &Values<S>,
    activations: &GroupSums,
    half: usize,
) -> S::F32 {
    // SAFETY: no memory is touched.
    unsafe {
        let scale = S::mul(weights.d[half], S::splat(activations.scale[half]));
        S::fma(S::to_f32(int), scale, acc)
    }
}

/// Adds what the offset or the minimum of a group's codes contributes.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn add_minimum<S: Simd, P: Packed>(acc: S::F32, weights: &Values<S>, activations: &GroupSums) -> S::F32 {
    // SAFETY: no memory is touched.
    unsafe {
        if P::Scales::HALVES {
            let acc = S::fma(weights.m[0], S::splat(activations.halves[0]), acc);
            S::fma(weights.m[1], S::splat(activations.halves[1]), acc)
        } else {
            S::fma(weights.m[0], S::splat(activations.whole), acc)
        }
    }
}

impl Rows {
    /// Codes of group `group` of row `row`.
    ///
    /// # Safety
    /// The row and the group must exist.
    #[inline(always)]
    pub unsafe fn codes(&self, row: usize, group: usize) -> *const i8 {
        // SAFETY: as the caller vouches.
        unsafe { self.codes.add((row * self.groups + group) * GROUP) }
    }

    /// Scale and sums of group `group` of row `row`.
    ///
    /// # Safety
    /// The row and the group must exist.
    #[inline(always)]
    pub unsafe fn sums<'a>(&self, row: usize, group: usize) -> &'a GroupSums {
        // SAFETY: as the caller vouches.
        unsafe { &*self.sums.add(row * self.groups + group) }
    }
}
