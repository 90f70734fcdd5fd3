//! AVX2: Haswell, Zen and later. Bytes are multiplied to 16-bit sums of pairs.
#![allow(clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]
// SAFETY of every block in this file: the value `Avx2` is only made by `detect`; no memory is touched.
use std::arch::x86_64::*;

use super::x86_256::{Dot, Halves};

/// Proof that the CPU has AVX2, FMA and F16C.
pub type Avx2 = Halves<Pairs>;

/// Sums of pairs, then of fours.
#[derive(Debug, Clone, Copy)]
pub struct Pairs;

impl Avx2 {
    /// The proof, if this CPU qualifies.
    pub fn detect() -> Option<Self> {
        Self::qualify(true)
    }
}

impl Dot for Pairs {
    #[inline(always)]
    unsafe fn dot(acc: __m256i, codes: __m256i, a: __m256i, wide: bool) -> __m256i {
        unsafe { if wide { dot_wide(acc, codes, a) } else { dot_narrow(acc, codes, a) } }
    }
}

/// Codes up to 127: the 16-bit pair sums cannot overflow.
#[inline(always)]
unsafe fn dot_narrow(acc: __m256i, codes: __m256i, a: __m256i) -> __m256i {
    unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, a), _mm256_set1_epi16(1))) }
}

/// 255 * 127 * 2 overflows a 16-bit pair sum, so even and odd columns are multiplied apart.
#[inline(always)]
unsafe fn dot_wide(acc: __m256i, codes: __m256i, a: __m256i) -> __m256i {
    unsafe {
        let even = _mm256_madd_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(255)), sign_even(a));
        let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(codes), _mm256_srai_epi16::<8>(a));
        _mm256_add_epi32(acc, _mm256_add_epi32(even, odd))
    }
}

/// The low byte of each 16-bit lane, sign extended.
#[inline(always)]
unsafe fn sign_even(a: __m256i) -> __m256i {
    unsafe { _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(a)) }
}
