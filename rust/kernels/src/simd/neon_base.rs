//! What the NEON sets share: four 128-bit quarters to sixteen lanes. Knows not how bytes are multiplied.
#![allow(clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]
// SAFETY of every block in this file: NEON belongs to the architecture, a value of `Quarters` is only made where the CPU was
// found to have the rest, and each load and store touches exactly the bytes that the trait's contract names, without alignment.
use std::{
    arch::{aarch64::*, asm},
    array::from_fn,
    marker::PhantomData,
};

use super::Simd;

/// Proof that the CPU has what `D` needs.
#[derive(Debug, Clone, Copy)]
pub struct Quarters<D>(PhantomData<D>);

/// How four rows of four codes meet four activations: where the sets differ.
pub trait Dot: Copy + Send + Sync + 'static {
    /// As [`Simd::BYTES_ARE_SIGNED`].
    const BYTES_ARE_SIGNED: bool;

    /// As [`Simd::dot`]; `activations` repeats its four bytes.
    ///
    /// # Safety
    /// As [`Simd`].
    unsafe fn dot(sum: [int32x4_t; 4], codes: [uint8x16_t; 4], activations: int8x16_t, bits: u32) -> [int32x4_t; 4];
}

impl<D> Quarters<D> {
    /// The proof, if the caller says that the CPU has what `D` needs.
    pub(super) fn qualify(has: bool) -> Option<Self> {
        has.then_some(Self(PhantomData))
    }
}

/// Applies an intrinsic to all quarters.
macro_rules! each {
    ($f:expr, $a:expr) => {
        from_fn(|i| unsafe { $f($a[i]) })
    };
    ($f:expr, $a:expr, $b:expr) => {
        from_fn(|i| unsafe { $f($a[i], $b[i]) })
    };
}

/// Four f16 to f32. In assembly because the intrinsic asks for an extension that only computing in f16 needs.
#[inline(always)]
unsafe fn widen_f16(halves: uint16x4_t) -> float32x4_t {
    let wide: float32x4_t;
    unsafe {
        asm!("fcvtl {wide:v}.4s, {halves:v}.4h", wide = lateout(vreg) wide, halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags));
    }
    wide
}

/// Sixteen signed bytes to `i32`.
#[inline(always)]
unsafe fn widen_i8(bytes: int8x16_t) -> [int32x4_t; 4] {
    unsafe {
        let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
        [vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)]
    }
}

/// Sixteen unsigned bytes to `u32`.
#[inline(always)]
unsafe fn widen_u8(bytes: uint8x16_t) -> [uint32x4_t; 4] {
    unsafe {
        let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
        [vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low), vmovl_u16(vget_low_u16(high)), vmovl_high_u16(high)]
    }
}

impl<D: Dot> Simd for Quarters<D> {
    type F32 = [float32x4_t; 4];
    type I32 = [int32x4_t; 4];
    type Codes = [uint8x16_t; 4];
    type Products = [int32x4_t; 4];

    const BYTES_ARE_SIGNED: bool = D::BYTES_ARE_SIGNED;

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { asm!("prfm pldl2keep, [{}]", in(reg) at, options(readonly, nostack, preserves_flags)) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::F32 {
        unsafe { [vdupq_n_f32(value); 4] }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F32 {
        from_fn(|i| unsafe { vld1q_f32(from.add(4 * i)) })
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self::F32 {
        from_fn(|i| unsafe { widen_f16(vld1_u16(from.add(4 * i))) })
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self::F32 {
        from_fn(|i| unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.add(4 * i)))) })
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self::F32 {
        let wide = unsafe { widen_i8(vld1q_s8(from)) };
        each!(vcvtq_f32_s32, wide)
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self::F32 {
        let wide = unsafe { widen_u8(vld1q_u8(from)) };
        each!(vcvtq_f32_u32, wide)
    }
    #[inline(always)]
    unsafe fn store(value: Self::F32, to: *mut f32) {
        for i in 0..4 {
            unsafe { vst1q_f32(to.add(4 * i), value[i]) };
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(vaddq_f32, a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(vsubq_f32, a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(vmulq_f32, a, b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(vdivq_f32, a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        from_fn(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
    }
    #[inline(always)]
    unsafe fn max(a: Self::F32, b: Self::F32) -> Self::F32 {
        // A comparison, since NEON's maximum treats NaN and -0 unlike the other sets.
        from_fn(|i| unsafe { vbslq_f32(vcgtq_f32(a[i], b[i]), a[i], b[i]) })
    }
    #[inline(always)]
    unsafe fn min(a: Self::F32, b: Self::F32) -> Self::F32 {
        from_fn(|i| unsafe { vbslq_f32(vcltq_f32(a[i], b[i]), a[i], b[i]) })
    }
    #[inline(always)]
    unsafe fn abs(a: Self::F32) -> Self::F32 {
        each!(vabsq_f32, a)
    }
    #[inline(always)]
    unsafe fn first(count: usize, a: Self::F32, other: Self::F32) -> Self::F32 {
        unsafe {
            let count = vdupq_n_u32(count as u32);
            let lanes = vld1q_u32([0, 1, 2, 3].as_ptr());
            from_fn(|i| {
                let keep = vcltq_u32(vaddq_u32(lanes, vdupq_n_u32(4 * i as u32)), count);
                vbslq_f32(keep, a[i], other[i])
            })
        }
    }
    #[inline(always)]
    unsafe fn sum(a: Self::F32) -> f32 {
        unsafe {
            let four = vaddq_f32(vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3]));
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }
    #[inline(always)]
    unsafe fn largest(a: Self::F32) -> f32 {
        unsafe { vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(a[0], a[1]), vmaxnmq_f32(a[2], a[3]))) }
    }
    #[inline(always)]
    unsafe fn round(a: Self::F32) -> Self::I32 {
        each!(vcvtnq_s32_f32, a)
    }
    #[inline(always)]
    unsafe fn exp2_int(n: Self::I32) -> Self::F32 {
        from_fn(|i| unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(n[i], vdupq_n_s32(127)))) })
    }

    #[inline(always)]
    unsafe fn splat_i32(value: i32) -> Self::I32 {
        unsafe { [vdupq_n_s32(value); 4] }
    }
    #[inline(always)]
    unsafe fn to_f32(a: Self::I32) -> Self::F32 {
        each!(vcvtq_f32_s32, a)
    }
    #[inline(always)]
    unsafe fn store_i8(value: Self::I32, to: *mut i8) -> i32 {
        unsafe {
            let low = vmovn_high_s32(vmovn_s32(value[0]), value[1]);
            let high = vmovn_high_s32(vmovn_s32(value[2]), value[3]);
            vst1q_s8(to, vmovn_high_s16(vmovn_s16(low), high));
            Self::sum_i32(value)
        }
    }
    #[inline(always)]
    unsafe fn sum_i32(a: Self::I32) -> i32 {
        unsafe { vaddvq_s32(vaddq_s32(vaddq_s32(a[0], a[1]), vaddq_s32(a[2], a[3]))) }
    }
    #[inline(always)]
    unsafe fn add_i32(a: Self::I32, b: Self::I32) -> Self::I32 {
        each!(vaddq_s32, a, b)
    }
    #[inline(always)]
    unsafe fn shift_left(a: Self::I32, by: Self::I32) -> Self::I32 {
        each!(vshlq_s32, a, by)
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8) -> Self::Codes {
        from_fn(|i| unsafe { vld1q_u8(from.add(16 * i)) })
    }
    #[inline(always)]
    unsafe fn store_codes(codes: Self::Codes, to: *mut u8) {
        for i in 0..4 {
            unsafe { vst1q_u8(to.add(16 * i), codes[i]) };
        }
    }
    #[inline(always)]
    unsafe fn bits<const SHIFT: u32, const MASK: u8>(codes: Self::Codes) -> Self::Codes {
        from_fn(|i| unsafe { vandq_u8(vshlq_u8(codes[i], vdupq_n_s8(-(SHIFT as i8))), vdupq_n_u8(MASK)) })
    }
    #[inline(always)]
    unsafe fn bits_up<const SHIFT: u32>(codes: Self::Codes) -> Self::Codes {
        from_fn(|i| unsafe { vshlq_u8(codes[i], vdupq_n_s8(SHIFT as i8)) })
    }
    #[inline(always)]
    unsafe fn or(a: Self::Codes, b: Self::Codes) -> Self::Codes {
        each!(vorrq_u8, a, b)
    }
    #[inline(always)]
    unsafe fn select<const VALUE: u8>(from: *const u8) -> Self::Codes {
        unsafe {
            let bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
            from_fn(|i| {
                let bytes = vcombine_u8(vld1_dup_u8(from.add(2 * i)), vld1_dup_u8(from.add(2 * i + 1)));
                vandq_u8(vtstq_u8(bytes, bit), vdupq_n_u8(VALUE))
            })
        }
    }
    #[inline(always)]
    unsafe fn lookup(table: &[u8; 16], codes: Self::Codes) -> Self::Codes {
        let table = unsafe { vld1q_u8(table.as_ptr()) };
        from_fn(|i| unsafe { vqtbl1q_u8(table, codes[i]) })
    }
    #[inline(always)]
    unsafe fn no_products() -> Self::Products {
        unsafe { Self::splat_i32(0) }
    }
    #[inline(always)]
    unsafe fn dot(sum: Self::Products, codes: Self::Codes, activations: *const i8, bits: u32) -> Self::Products {
        unsafe {
            let four = vreinterpretq_s8_s32(vdupq_n_s32(activations.cast::<i32>().read_unaligned()));
            D::dot(sum, codes, four, bits)
        }
    }
    #[inline(always)]
    unsafe fn add_products(acc: Self::I32, sum: Self::Products, by: i32, _: u32) -> Self::I32 {
        unsafe { Self::add_i32(acc, Self::shift_left(sum, Self::splat_i32(by))) }
    }
}

/// How signed bytes are multiplied, for processors that cannot multiply unsigned bytes with signed ones.
pub(super) trait SignedDot: Copy + Send + Sync + 'static {
    /// Each lane plus the products of its four bytes, which may be -128 on the left only.
    ///
    /// # Safety
    /// As [`Simd`].
    unsafe fn dot(acc: int32x4_t, left: int8x16_t, right: int8x16_t) -> int32x4_t;
}

impl<T: SignedDot> Dot for T {
    const BYTES_ARE_SIGNED: bool = true;

    /// Codes below 128 are signed bytes as they are; others become so by subtracting 128.
    #[inline(always)]
    unsafe fn dot(sum: [int32x4_t; 4], codes: [uint8x16_t; 4], a: int8x16_t, bits: u32) -> [int32x4_t; 4] {
        from_fn(|i| unsafe {
            let signed = if bits == 8 { veorq_u8(codes[i], vdupq_n_u8(128)) } else { codes[i] };
            T::dot(sum[i], vreinterpretq_s8_u8(signed), a)
        })
    }
}
