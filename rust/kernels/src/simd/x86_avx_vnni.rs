//! AVX-VNNI: Alder Lake, Zen 5 and later, desktop processors without AVX-512 among them.
#![allow(clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]
// SAFETY of every block in this file: the value `AvxVnni` is only made by `detect`; no memory is touched.
use std::arch::x86_64::*;

use super::x86_256::{Dot, Halves};

/// Proof that the CPU has AVX2, FMA, F16C and AVX-VNNI.
pub type AvxVnni = Halves<Fours>;

/// Sums of fours in one instruction.
#[derive(Debug, Clone, Copy)]
pub struct Fours;

impl AvxVnni {
    /// The proof, if this CPU qualifies.
    pub fn detect() -> Option<Self> {
        Self::qualify(is_x86_feature_detected!("avxvnni"))
    }
}

impl Dot for Fours {
    type Products = __m256i;
    const BYTES_ARE_SIGNED: bool = false;

    #[inline(always)]
    unsafe fn no_products() -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m256i, codes: __m256i, a: __m256i, _: u32) -> __m256i {
        unsafe { _mm256_dpbusd_avx_epi32(sum, codes, a) }
    }
    #[inline(always)]
    unsafe fn add_products(acc: __m256i, sum: __m256i, by: i32, _: u32) -> __m256i {
        unsafe { _mm256_add_epi32(acc, _mm256_sllv_epi32(sum, _mm256_set1_epi32(by))) }
    }
}
