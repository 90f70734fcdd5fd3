//! AVX-512 with VNNI: Ice Lake, Zen 4 and later.
#![allow(clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]
// SAFETY of every block in this file: the value `Avx512Vnni` is only made by `detect`, and each load and store touches
// exactly the bytes that the trait's contract names, without alignment.
use std::arch::{asm, x86_64::*};

use super::Simd;

/// Proof that the CPU has AVX-512 F, BW, VL, DQ, VBMI-free byte shuffles and VNNI.
#[derive(Debug, Clone, Copy)]
pub struct Avx512Vnni(());

impl Avx512Vnni {
    /// The proof, if this CPU qualifies.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

impl Simd for Avx512Vnni {
    type F32 = __m512;
    type I32 = __m512i;
    type Codes = __m512i;
    type Products = __m512i;

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())))) }
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn store(value: __m512, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    unsafe fn first(count: usize, a: __m512, other: __m512) -> __m512 {
        let mask = if count >= 16 { !0 } else { (1u16 << count) - 1 };
        unsafe { _mm512_mask_mov_ps(other, mask, a) }
    }
    #[inline(always)]
    unsafe fn sum(a: __m512) -> f32 {
        unsafe {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn largest(a: __m512) -> f32 {
        unsafe { _mm512_reduce_max_ps(a) }
    }
    #[inline(always)]
    unsafe fn largest_of_two(a: __m512, b: __m512) -> [f32; 2] {
        unsafe {
            let max = |v| _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            let (a, b) = (max(a), max(b));
            let both = _mm256_max_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b));
            let both = _mm256_max_ps(both, _mm256_permute_ps::<0b01_00_11_10>(both));
            let both = _mm256_max_ps(both, _mm256_permute_ps::<0b10_11_00_01>(both));
            [_mm256_cvtss_f32(both), _mm_cvtss_f32(_mm256_extractf128_ps::<1>(both))]
        }
    }
    #[inline(always)]
    unsafe fn round(a: __m512) -> __m512i {
        unsafe { _mm512_cvt_roundps_epi32::<NEAREST>(a) }
    }
    #[inline(always)]
    unsafe fn exp2_int(n: __m512i) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(n, _mm512_set1_epi32(127)))) }
    }

    #[inline(always)]
    unsafe fn splat_i32(value: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(value) }
    }
    #[inline(always)]
    unsafe fn to_f32(a: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(a) }
    }
    #[inline(always)]
    unsafe fn store_i8(value: __m512i, to: *mut i8) -> i32 {
        unsafe {
            let bytes = _mm512_cvtepi32_epi8(value);
            _mm_storeu_si128(to.cast(), bytes);
            // Sums of bytes come without signs: 128 more each.
            let sums = _mm_sad_epu8(_mm_xor_si128(bytes, _mm_set1_epi8(i8::MIN)), _mm_setzero_si128());
            _mm_cvtsi128_si32(sums) + _mm_extract_epi32::<2>(sums) - 16 * 128
        }
    }
    #[inline(always)]
    unsafe fn sum_i32(a: __m512i) -> i32 {
        unsafe { _mm512_reduce_add_epi32(a) }
    }
    #[inline(always)]
    unsafe fn add_i32(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn shift_left(a: __m512i, by: __m512i) -> __m512i {
        unsafe { shift_left(a, by) }
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store_codes(codes: __m512i, to: *mut u8) {
        unsafe { _mm512_storeu_si512(to.cast(), codes) }
    }
    #[inline(always)]
    unsafe fn bits<const SHIFT: u32, const MASK: u8>(codes: __m512i) -> __m512i {
        unsafe { _mm512_and_si512(_mm512_srli_epi16::<SHIFT>(codes), _mm512_set1_epi8(MASK as i8)) }
    }
    #[inline(always)]
    unsafe fn bits_up<const SHIFT: u32>(codes: __m512i) -> __m512i {
        unsafe { _mm512_slli_epi16::<SHIFT>(codes) }
    }
    #[inline(always)]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn select<const VALUE: u8>(from: *const u8) -> __m512i {
        unsafe { _mm512_maskz_set1_epi8(from.cast::<u64>().read_unaligned(), VALUE as i8) }
    }
    #[inline(always)]
    unsafe fn lookup(table: &[u8; 16], codes: __m512i) -> __m512i {
        unsafe { _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())), codes) }
    }
    #[inline(always)]
    unsafe fn no_products() -> __m512i {
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, codes: __m512i, activations: *const i8, _: u32) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(activations.cast::<i32>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn add_products(acc: __m512i, sum: __m512i, by: i32, _: u32) -> __m512i {
        unsafe { Self::add_i32(acc, shift_left(sum, _mm512_set1_epi32(by))) }
    }
}

/// LLVM would see that all counts are equal and shift by a scalar, which keeps a port from multiplying.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn shift_left(a: __m512i, by: __m512i) -> __m512i {
    let shifted;
    unsafe {
        asm!("vpsllvd {}, {}, {}", out(zmm_reg) shifted, in(zmm_reg) a, in(zmm_reg) by,
            options(pure, nomem, nostack, preserves_flags));
    }
    shifted
}
