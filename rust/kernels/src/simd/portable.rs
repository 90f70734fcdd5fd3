//! The definition of right: plain Rust, one lane at a time. Other sets are checked against it.
#![allow(clippy::missing_safety_doc)]
use half::{bf16, f16};

use super::{LANES, Simd};

/// Runs anywhere.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

impl Portable {
    /// Every CPU qualifies.
    pub fn detect() -> Option<Self> {
        Some(Self)
    }
}

type F = [f32; LANES];

#[inline(always)]
fn map(f: impl Fn(usize) -> f32) -> F {
    std::array::from_fn(f)
}

#[inline(always)]
unsafe fn read<T: Copy, const N: usize>(from: *const T) -> [T; N] {
    // SAFETY: the caller vouches for N readable values; no alignment is assumed.
    unsafe { from.cast::<[T; N]>().read_unaligned() }
}

#[inline(always)]
unsafe fn write<T, const N: usize>(values: [T; N], to: *mut T) {
    // SAFETY: the caller vouches for N writable values; no alignment is assumed.
    unsafe { to.cast::<[T; N]>().write_unaligned(values) }
}

// SAFETY of the blocks below: each reads or writes exactly the values that the trait's contract names.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Portable {
    type F32 = F;
    type I32 = [i32; LANES];
    type Codes = [u8; 64];
    type Products = [i32; LANES];

    #[inline(always)]
    unsafe fn splat(value: f32) -> F {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> F {
        unsafe { read(from) }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> F {
        let bits: [u16; LANES] = unsafe { read(from) };
        map(|i| f16::from_bits(bits[i]).to_f32())
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> F {
        let bits: [u16; LANES] = unsafe { read(from) };
        map(|i| bf16::from_bits(bits[i]).to_f32())
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> F {
        let values: [i8; LANES] = unsafe { read(from) };
        map(|i| f32::from(values[i]))
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> F {
        let values: [u8; LANES] = unsafe { read(from) };
        map(|i| f32::from(values[i]))
    }
    #[inline(always)]
    unsafe fn store(value: F, to: *mut f32) {
        unsafe { write(value, to) }
    }
    #[inline(always)]
    unsafe fn add(a: F, b: F) -> F {
        map(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: F, b: F) -> F {
        map(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: F, b: F) -> F {
        map(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn div(a: F, b: F) -> F {
        map(|i| a[i] / b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: F, b: F, c: F) -> F {
        map(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    unsafe fn max(a: F, b: F) -> F {
        map(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: F, b: F) -> F {
        map(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn abs(a: F) -> F {
        a.map(f32::abs)
    }
    #[inline(always)]
    unsafe fn first(count: usize, a: F, other: F) -> F {
        map(|i| if i < count { a[i] } else { other[i] })
    }
    #[inline(always)]
    unsafe fn sum(a: F) -> f32 {
        let eight: [f32; 8] = std::array::from_fn(|i| a[i] + a[i + 8]);
        let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    }
    #[inline(always)]
    unsafe fn largest(a: F) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, |m, v| if v > m { v } else { m })
    }
    #[inline(always)]
    unsafe fn round(a: F) -> [i32; LANES] {
        a.map(|v| v.round_ties_even() as i32)
    }
    #[inline(always)]
    unsafe fn exp2_int(n: [i32; LANES]) -> F {
        n.map(|n| f32::from_bits(((n + 127) << 23) as u32))
    }

    #[inline(always)]
    unsafe fn splat_i32(value: i32) -> [i32; LANES] {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn to_f32(a: [i32; LANES]) -> F {
        a.map(|v| v as f32)
    }
    #[inline(always)]
    unsafe fn store_i8(value: [i32; LANES], to: *mut i8) -> i32 {
        unsafe { write(value.map(|v| v as i8), to) };
        value.into_iter().sum()
    }
    #[inline(always)]
    unsafe fn sum_i32(a: [i32; LANES]) -> i32 {
        a.into_iter().sum()
    }
    #[inline(always)]
    unsafe fn add_i32(a: [i32; LANES], b: [i32; LANES]) -> [i32; LANES] {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn shift_left(a: [i32; LANES], by: [i32; LANES]) -> [i32; LANES] {
        std::array::from_fn(|i| a[i] << by[i])
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8) -> [u8; 64] {
        unsafe { read(from) }
    }
    #[inline(always)]
    unsafe fn store_codes(codes: [u8; 64], to: *mut u8) {
        unsafe { write(codes, to) }
    }
    #[inline(always)]
    unsafe fn bits<const SHIFT: u32, const MASK: u8>(codes: [u8; 64]) -> [u8; 64] {
        codes.map(|c| (c >> SHIFT) & MASK)
    }
    #[inline(always)]
    unsafe fn bits_up<const SHIFT: u32>(codes: [u8; 64]) -> [u8; 64] {
        codes.map(|c| c << SHIFT)
    }
    #[inline(always)]
    unsafe fn or(a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        std::array::from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    unsafe fn select<const VALUE: u8>(from: *const u8) -> [u8; 64] {
        let mask: [u8; 8] = unsafe { read(from) };
        std::array::from_fn(|i| if mask[i / 8] >> (i % 8) & 1 == 1 { VALUE } else { 0 })
    }
    #[inline(always)]
    unsafe fn lookup(table: &[u8; 16], codes: [u8; 64]) -> [u8; 64] {
        codes.map(|c| table[usize::from(c & 15)])
    }
    #[inline(always)]
    unsafe fn no_products() -> [i32; LANES] {
        [0; LANES]
    }
    #[inline(always)]
    unsafe fn dot(acc: [i32; LANES], codes: [u8; 64], activations: *const i8, _: u32) -> [i32; LANES] {
        let a: [i8; 4] = unsafe { read(activations) };
        std::array::from_fn(|row| {
            acc[row] + (0..4).map(|k| i32::from(codes[row * 4 + k]) * i32::from(a[k])).sum::<i32>()
        })
    }
    #[inline(always)]
    unsafe fn add_products(acc: [i32; LANES], sum: [i32; LANES], by: i32, _: u32) -> [i32; LANES] {
        std::array::from_fn(|i| acc[i] + (sum[i] << by))
    }
}
