//! Sixteen lanes: the one vector vocabulary that every kernel is written in. Knows no format and no layout.
//!
//! A kernel is a function generic over [`Simd`], always inlined into an entry point compiled for the instruction set
//! (`kernel_set!`), so every set computes the same numbers from the same source.
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_base;
#[cfg(target_arch = "aarch64")]
mod neon_dotprod;
#[cfg(target_arch = "aarch64")]
mod neon_i8mm;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_256;
#[cfg(target_arch = "x86_64")]
mod x86_avx2;
#[cfg(target_arch = "x86_64")]
mod x86_avx512;
#[cfg(target_arch = "x86_64")]
mod x86_avx_vnni;

#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
#[cfg(target_arch = "aarch64")]
pub use neon_dotprod::NeonDotprod;
#[cfg(target_arch = "aarch64")]
pub use neon_i8mm::NeonI8mm;
pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use x86_avx_vnni::AvxVnni;
#[cfg(target_arch = "x86_64")]
pub use x86_avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use x86_avx512::Avx512Vnni;

/// Lanes of a vector; rows of a weight tile; tokens of a KV page.
pub const LANES: usize = 16;
/// Sums of products are shifted by this much at most: those of 16 columns of 8-bit numbers keep within 31 bits.
pub const MAX_SHIFT: i32 = 8;

/// Vector operations over sixteen lanes.
///
/// # Safety
/// Every method requires a CPU that has the instruction set and, where it takes a pointer, that the bytes it names can be
/// read or written. Multiply-adds are fused, so that all sets round alike.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen `f32`.
    type F32: Copy;
    /// Sixteen `i32`.
    type I32: Copy;
    /// Sixty-four unsigned bytes: sixteen weight rows by four consecutive columns.
    type Codes: Copy;
    /// What is kept of up to four dot operations: products of sixteen columns, not yet summed to an `i32` for each row.
    type Products: Copy;

    /// [`Simd::dot`] takes 8-bit codes for 128 less than they are: here, signed bytes are easier to multiply.
    const BYTES_ARE_SIGNED: bool = false;

    /// Asks for the cache line at `at`, which need not be readable.
    #[inline(always)]
    unsafe fn prefetch(_at: *const u8) {}
    unsafe fn splat(value: f32) -> Self::F32;
    unsafe fn load(from: *const f32) -> Self::F32;
    unsafe fn load_f16(from: *const u16) -> Self::F32;
    unsafe fn load_bf16(from: *const u16) -> Self::F32;
    unsafe fn load_i8(from: *const i8) -> Self::F32;
    unsafe fn load_u8(from: *const u8) -> Self::F32;
    unsafe fn store(value: Self::F32, to: *mut f32);
    unsafe fn add(a: Self::F32, b: Self::F32) -> Self::F32;
    unsafe fn sub(a: Self::F32, b: Self::F32) -> Self::F32;
    unsafe fn mul(a: Self::F32, b: Self::F32) -> Self::F32;
    unsafe fn div(a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`, rounded once.
    unsafe fn fma(a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    unsafe fn max(a: Self::F32, b: Self::F32) -> Self::F32;
    unsafe fn min(a: Self::F32, b: Self::F32) -> Self::F32;
    unsafe fn abs(a: Self::F32) -> Self::F32;
    /// Lanes `0..count` of `a`, the others `other`.
    unsafe fn first(count: usize, a: Self::F32, other: Self::F32) -> Self::F32;
    /// Adds lane `i` to lane `i + 8`, then `+ 4`, `+ 2`, `+ 1`: the same tree for every set.
    unsafe fn sum(a: Self::F32) -> f32;
    unsafe fn largest(a: Self::F32) -> f32;
    /// Of each.
    #[inline(always)]
    unsafe fn largest_of_two(a: Self::F32, b: Self::F32) -> [f32; 2] {
        // SAFETY: as the caller vouches.
        unsafe { [Self::largest(a), Self::largest(b)] }
    }
    /// Nearest integer, ties to even.
    unsafe fn round(a: Self::F32) -> Self::I32;
    /// `2^n` for `n` in `-126..=127`.
    unsafe fn exp2_int(n: Self::I32) -> Self::F32;

    unsafe fn splat_i32(value: i32) -> Self::I32;
    unsafe fn to_f32(a: Self::I32) -> Self::F32;
    /// Truncating to `i8` each; the values must fit. Returns their sum.
    unsafe fn store_i8(value: Self::I32, to: *mut i8) -> i32;
    unsafe fn sum_i32(a: Self::I32) -> i32;
    unsafe fn add_i32(a: Self::I32, b: Self::I32) -> Self::I32;
    /// Each lane `<< by`, which is below 32.
    unsafe fn shift_left(a: Self::I32, by: Self::I32) -> Self::I32;

    unsafe fn codes(from: *const u8) -> Self::Codes;
    unsafe fn store_codes(codes: Self::Codes, to: *mut u8);
    /// Each byte `>> SHIFT`, then `& MASK`.
    unsafe fn bits<const SHIFT: u32, const MASK: u8>(codes: Self::Codes) -> Self::Codes;
    /// Each byte `<< SHIFT` (bits must not leave the byte).
    unsafe fn bits_up<const SHIFT: u32>(codes: Self::Codes) -> Self::Codes;
    unsafe fn or(a: Self::Codes, b: Self::Codes) -> Self::Codes;
    /// `VALUE` in each byte whose bit in the 64 bits at `from` is set, else 0.
    unsafe fn select<const VALUE: u8>(from: *const u8) -> Self::Codes;
    /// Each byte (below 16) replaced by that entry of the table.
    unsafe fn lookup(table: &[u8; 16], codes: Self::Codes) -> Self::Codes;
    unsafe fn no_products() -> Self::Products;
    /// Per row: `sum` and the products of 4 columns, code * activation; the four signed bytes at `activations`, none of them
    /// -128, serve all rows. Codes have `bits` bits, the same all along.
    unsafe fn dot(sum: Self::Products, codes: Self::Codes, activations: *const i8, bits: u32) -> Self::Products;
    /// Per row: `acc + (all products of sum << by)`; `by` is at most [`MAX_SHIFT`].
    unsafe fn add_products(acc: Self::I32, sum: Self::Products, by: i32, bits: u32) -> Self::I32;
}

/// `e^x` with `x` clamped to `-87..=87`, relative error below 3e-7.
///
/// Cody-Waite reduction and a degree-6 polynomial (Taylor coefficients suffice on +-0.35).
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn exp<S: Simd>(x: S::F32) -> S::F32 {
    // SAFETY: no memory is touched; the caller vouches for the instruction set.
    unsafe {
        let x = S::min(S::max(x, S::splat(-87.0)), S::splat(87.0));
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let nf = S::to_f32(n);
        let r = S::fma(nf, S::splat(-0.693_359_4), x);
        let r = S::fma(nf, S::splat(2.121_944_4e-4), r);
        let mut p = S::splat(1.0 / 720.0);
        for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = S::fma(p, r, S::splat(c));
        }
        S::mul(p, S::exp2_int(n))
    }
}
