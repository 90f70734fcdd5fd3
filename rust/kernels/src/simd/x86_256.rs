//! What the 256-bit sets share: AVX2 with FMA and F16C, two halves to sixteen lanes. Knows not how bytes are multiplied.
#![allow(clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]
// SAFETY of every block in this file: a value of `Halves` is only made where the CPU was found to qualify, and each load and
// store touches exactly the bytes that the trait's contract names, without alignment.
use std::{arch::x86_64::*, marker::PhantomData};

use super::Simd;

/// Proof that the CPU has AVX2, FMA, F16C and what `D` needs.
#[derive(Debug, Clone, Copy)]
pub struct Halves<D>(PhantomData<D>);

/// How eight rows of four codes meet four activations: where the sets differ.
///
/// # Safety
/// As [`Simd`].
pub trait Dot: Copy + Send + Sync + 'static {
    /// As [`Simd::Products`], for eight rows.
    type Products: Copy;
    /// As [`Simd::BYTES_ARE_SIGNED`].
    const BYTES_ARE_SIGNED: bool;

    /// As [`Simd::no_products`].
    unsafe fn no_products() -> Self::Products;
    /// As [`Simd::dot`]; `activations` repeats its four bytes.
    unsafe fn dot(sum: Self::Products, codes: __m256i, activations: __m256i, bits: u32) -> Self::Products;
    /// As [`Simd::add_products`].
    unsafe fn add_products(acc: __m256i, sum: Self::Products, by: i32, bits: u32) -> __m256i;
}

impl<D> Halves<D> {
    /// The proof, if this CPU has what all sets need and the caller says that it has the rest.
    pub(super) fn qualify(has_the_rest: bool) -> Option<Self> {
        let has =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        (has && has_the_rest).then_some(Self(PhantomData))
    }
}

/// Applies a 256-bit intrinsic to both halves.
macro_rules! both {
    ($f:expr, $a:expr) => {
        unsafe { [$f($a[0]), $f($a[1])] }
    };
    ($f:expr, $a:expr, $b:expr) => {
        unsafe { [$f($a[0], $b[0]), $f($a[1], $b[1])] }
    };
}

#[inline(always)]
unsafe fn four_plus_four(eight: __m256) -> __m128 {
    unsafe { _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight)) }
}

/// Sixteen bytes as two halves of eight `i32`.
#[inline(always)]
unsafe fn widen_i8(bytes: __m128i) -> [__m256i; 2] {
    unsafe { [_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(bytes))] }
}

impl<D: Dot> Simd for Halves<D> {
    type F32 = [__m256; 2];
    type I32 = [__m256i; 2];
    type Codes = [__m256i; 2];
    type Products = [D::Products; 2];

    const BYTES_ARE_SIGNED: bool = D::BYTES_ARE_SIGNED;

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::F32 {
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::F32 {
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self::F32 {
        unsafe { [_mm256_cvtph_ps(_mm_loadu_si128(from.cast())), _mm256_cvtph_ps(_mm_loadu_si128(from.add(8).cast()))] }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self::F32 {
        unsafe {
            let half = |p: *const u16| _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast())));
            [_mm256_castsi256_ps(half(from)), _mm256_castsi256_ps(half(from.add(8)))]
        }
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self::F32 {
        let wide = unsafe { widen_i8(_mm_loadu_si128(from.cast())) };
        both!(_mm256_cvtepi32_ps, wide)
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self::F32 {
        let wide = unsafe {
            let bytes = _mm_loadu_si128(from.cast());
            [_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(bytes))]
        };
        both!(_mm256_cvtepi32_ps, wide)
    }
    #[inline(always)]
    unsafe fn store(value: Self::F32, to: *mut f32) {
        unsafe {
            _mm256_storeu_ps(to, value[0]);
            _mm256_storeu_ps(to.add(8), value[1]);
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::F32, b: Self::F32) -> Self::F32 {
        both!(_mm256_add_ps, a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::F32, b: Self::F32) -> Self::F32 {
        both!(_mm256_sub_ps, a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F32, b: Self::F32) -> Self::F32 {
        both!(_mm256_mul_ps, a, b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::F32, b: Self::F32) -> Self::F32 {
        both!(_mm256_div_ps, a, b)
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    unsafe fn max(a: Self::F32, b: Self::F32) -> Self::F32 {
        both!(_mm256_max_ps, a, b)
    }
    #[inline(always)]
    unsafe fn min(a: Self::F32, b: Self::F32) -> Self::F32 {
        both!(_mm256_min_ps, a, b)
    }
    #[inline(always)]
    unsafe fn abs(a: Self::F32) -> Self::F32 {
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            [_mm256_andnot_ps(sign, a[0]), _mm256_andnot_ps(sign, a[1])]
        }
    }
    #[inline(always)]
    unsafe fn first(count: usize, a: Self::F32, other: Self::F32) -> Self::F32 {
        unsafe {
            let count = _mm256_set1_epi32(count as i32);
            let low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let high = _mm256_add_epi32(low, _mm256_set1_epi32(8));
            let keep = |lane| _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, lane));
            [_mm256_blendv_ps(other[0], a[0], keep(low)), _mm256_blendv_ps(other[1], a[1], keep(high))]
        }
    }
    #[inline(always)]
    unsafe fn sum(a: Self::F32) -> f32 {
        unsafe {
            let four = four_plus_four(_mm256_add_ps(a[0], a[1]));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn largest(a: Self::F32) -> f32 {
        unsafe {
            let eight = _mm256_max_ps(a[0], a[1]);
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn round(a: Self::F32) -> Self::I32 {
        both!(_mm256_cvtps_epi32, a)
    }
    #[inline(always)]
    unsafe fn exp2_int(n: Self::I32) -> Self::F32 {
        unsafe {
            let bias = _mm256_set1_epi32(127);
            let half = |n| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, bias)));
            [half(n[0]), half(n[1])]
        }
    }

    #[inline(always)]
    unsafe fn splat_i32(value: i32) -> Self::I32 {
        unsafe { [_mm256_set1_epi32(value); 2] }
    }
    #[inline(always)]
    unsafe fn to_f32(a: Self::I32) -> Self::F32 {
        both!(_mm256_cvtepi32_ps, a)
    }
    #[inline(always)]
    unsafe fn store_i8(value: Self::I32, to: *mut i8) -> i32 {
        unsafe {
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(value[0], value[1]));
            let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.cast(), bytes);
            Self::sum_i32(value)
        }
    }
    #[inline(always)]
    unsafe fn sum_i32(a: Self::I32) -> i32 {
        unsafe {
            let eight = _mm256_add_epi32(a[0], a[1]);
            let four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
            let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
            _mm_cvtsi128_si32(two) + _mm_extract_epi32::<1>(two)
        }
    }
    #[inline(always)]
    unsafe fn add_i32(a: Self::I32, b: Self::I32) -> Self::I32 {
        both!(_mm256_add_epi32, a, b)
    }
    #[inline(always)]
    unsafe fn shift_left(a: Self::I32, by: Self::I32) -> Self::I32 {
        both!(_mm256_sllv_epi32, a, by)
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8) -> Self::Codes {
        unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast())] }
    }
    #[inline(always)]
    unsafe fn store_codes(codes: Self::Codes, to: *mut u8) {
        unsafe {
            _mm256_storeu_si256(to.cast(), codes[0]);
            _mm256_storeu_si256(to.add(32).cast(), codes[1]);
        }
    }
    #[inline(always)]
    unsafe fn bits<const SHIFT: u32, const MASK: u8>(codes: Self::Codes) -> Self::Codes {
        unsafe {
            let mask = _mm256_set1_epi8(MASK as i8);
            let shift = _mm_cvtsi32_si128(SHIFT as i32);
            let half = |c| _mm256_and_si256(_mm256_srl_epi16(c, shift), mask);
            [half(codes[0]), half(codes[1])]
        }
    }
    #[inline(always)]
    unsafe fn bits_up<const SHIFT: u32>(codes: Self::Codes) -> Self::Codes {
        unsafe {
            let shift = _mm_cvtsi32_si128(SHIFT as i32);
            [_mm256_sll_epi16(codes[0], shift), _mm256_sll_epi16(codes[1], shift)]
        }
    }
    #[inline(always)]
    unsafe fn or(a: Self::Codes, b: Self::Codes) -> Self::Codes {
        both!(_mm256_or_si256, a, b)
    }
    #[inline(always)]
    unsafe fn select<const VALUE: u8>(from: *const u8) -> Self::Codes {
        unsafe {
            let spread = _mm256_setr_epi8(
                0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3,
            );
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let value = _mm256_set1_epi8(VALUE as i8);
            let half = |p: *const u8| {
                let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(p.cast::<i32>().read_unaligned()), spread);
                _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit), value)
            };
            [half(from), half(from.add(4))]
        }
    }
    #[inline(always)]
    unsafe fn lookup(table: &[u8; 16], codes: Self::Codes) -> Self::Codes {
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            [_mm256_shuffle_epi8(table, codes[0]), _mm256_shuffle_epi8(table, codes[1])]
        }
    }
    #[inline(always)]
    unsafe fn no_products() -> Self::Products {
        unsafe { [D::no_products(); 2] }
    }
    #[inline(always)]
    unsafe fn dot(sum: Self::Products, codes: Self::Codes, activations: *const i8, bits: u32) -> Self::Products {
        unsafe {
            let a = _mm256_set1_epi32(activations.cast::<i32>().read_unaligned());
            [D::dot(sum[0], codes[0], a, bits), D::dot(sum[1], codes[1], a, bits)]
        }
    }
    #[inline(always)]
    unsafe fn add_products(acc: Self::I32, sum: Self::Products, by: i32, bits: u32) -> Self::I32 {
        unsafe { [D::add_products(acc[0], sum[0], by, bits), D::add_products(acc[1], sum[1], by, bits)] }
    }
}
