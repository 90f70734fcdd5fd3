//! Operations on single rows: norms, gates, quantization of activations. Knows no threads.
#![allow(clippy::undocumented_unsafe_blocks)]
// SAFETY of every block in this file: loads and stores stay inside the slices given; the caller vouches for the instruction set.
use crate::{
    activations::{GROUP, PanelGroup, RowGroup, Scaling},
    simd::{LANES, Simd, exp},
};

/// The lanes of `x` from `at` on; those beyond the end are 0.
#[inline(always)]
unsafe fn lanes<S: Simd>(x: &[f32], at: usize) -> S::F32 {
    unsafe {
        if at + LANES <= x.len() {
            return S::load(x.as_ptr().add(at));
        }
        let mut padded = [0.0; LANES];
        padded[..x.len() - at].copy_from_slice(&x[at..]);
        S::load(padded.as_ptr())
    }
}

/// Writes the lanes that fall inside `out`.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn put<S: Simd>(value: S::F32, out: &mut [f32], at: usize) {
    unsafe {
        if at + LANES <= out.len() {
            return S::store(value, out.as_mut_ptr().add(at));
        }
        let mut padded = [0.0; LANES];
        S::store(value, padded.as_mut_ptr());
        let len = out.len() - at;
        out[at..].copy_from_slice(&padded[..len]);
    }
}

/// `out = x / sqrt(mean(x^2) + eps) * weight` (Zhang and Sennrich 2019). All of one length.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn rms_norm<S: Simd>(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    unsafe {
        let mut chains = [S::splat(0.0); 4];
        for (i, at) in (0..x.len()).step_by(LANES).enumerate() {
            let v = lanes::<S>(x, at);
            chains[i % 4] = S::fma(v, v, chains[i % 4]);
        }
        let sum = S::sum(S::add(S::add(chains[0], chains[1]), S::add(chains[2], chains[3])));
        let scale = S::splat(1.0 / (sum / x.len() as f32 + eps).sqrt());
        for at in (0..x.len()).step_by(LANES) {
            put::<S>(S::mul(S::mul(lanes::<S>(x, at), scale), lanes::<S>(weight, at)), out, at);
        }
    }
}

/// `gate / (1 + e^-gate) * up`.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn silu<S: Simd>(gate: S::F32, up: S::F32) -> S::F32 {
    unsafe {
        let denominator = S::add(S::splat(1.0), exp::<S>(S::sub(S::splat(0.0), gate)));
        S::mul(S::div(gate, denominator), up)
    }
}

/// `out = silu(gate) * up`. All of one length.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn silu_mul<S: Simd>(gate: &[f32], up: &[f32], out: &mut [f32]) {
    unsafe {
        for at in (0..gate.len()).step_by(LANES) {
            put::<S>(silu::<S>(lanes::<S>(gate, at), lanes::<S>(up, at)), out, at);
        }
    }
}

/// `x = silu((x - mean) / sqrt(variance + eps) * weight + bias)`. All of one length.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn layer_norm_silu<S: Simd>(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    unsafe {
        let count = x.len() as f32;
        let mut sum = S::splat(0.0);
        for at in (0..x.len()).step_by(LANES) {
            sum = S::add(sum, lanes::<S>(x, at));
        }
        let mean = S::splat(S::sum(sum) / count);
        let mut squares = S::splat(0.0);
        for at in (0..x.len()).step_by(LANES) {
            let inside = LANES.min(x.len() - at);
            let apart = S::first(inside, S::sub(lanes::<S>(x, at), mean), S::splat(0.0));
            squares = S::fma(apart, apart, squares);
        }
        let scale = S::splat(1.0 / (S::sum(squares) / count + eps).sqrt());
        for at in (0..x.len()).step_by(LANES) {
            let normed = S::mul(S::sub(lanes::<S>(x, at), mean), scale);
            let y = S::fma(normed, lanes::<S>(weight, at), lanes::<S>(bias, at));
            put::<S>(silu::<S>(y, S::splat(1.0)), x, at);
        }
    }
}

/// Quantizes row `row` of a panel to 8 bits.
///
/// # Safety
/// As [`Simd`]; `panel` must have a group for every 32 values of `x`, and `row` must be below [`PANEL`].
///
/// [`PANEL`]: crate::activations::PANEL
#[inline(always)]
pub unsafe fn quantize<S: Simd>(x: &[f32], panel: &mut [PanelGroup], row: usize) {
    unsafe {
        for (index, group) in panel.iter_mut().enumerate() {
            let at = index * GROUP;
            let halves = [lanes::<S>(x, at.min(x.len())), lanes::<S>(x, (at + LANES).min(x.len()))];
            quantize_group::<S>(halves, &mut group[row]);
        }
    }
}

/// Quantizes 32 values: `code = round(x / (scale * 2^shift))`.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn quantize_group<S: Simd>(halves: [S::F32; 2], to: &mut RowGroup) {
    unsafe {
        let scaling = Scaling::covering(S::largest_of_two(S::abs(halves[0]), S::abs(halves[1])));
        let mut sums = [0; 2];
        for half in 0..2 {
            let codes = S::round(S::mul(halves[half], S::splat(scaling.inverse[half])));
            sums[half] = S::store_i8(codes, to.codes.as_mut_ptr().add(half * LANES));
        }
        to.describe(scaling, sums);
    }
}

/// Rotary embedding of one head in place, halves paired (Su et al. 2021, the layout of GPT-NeoX).
/// `cos` and `sin` have half the head's length.
#[inline(always)]
pub fn rope(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len());
    for (((a, b), &c), &s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
    }
}
