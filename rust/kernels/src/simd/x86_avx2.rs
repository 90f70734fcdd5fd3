//! AVX2: Haswell, Zen and later. Bytes are multiplied to 16-bit sums of pairs.
#![allow(clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]
// SAFETY of every block in this file: the value `Avx2` is only made by `detect`; no memory is touched but a table.
use std::arch::{asm, x86_64::*};

use super::{
    MAX_SHIFT,
    x86_256::{Dot, Halves},
};

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

/// Products of such codes are added as 16-bit sums of pairs, sixteen in one instruction: four times 2 * 31 * 127 is 31496. Those
/// of longer codes are added as 32-bit sums of fours.
const BITS_OF_PAIRS: u32 = 5;

/// `2^shift`, twice in 16 bits: multiplying by it shifts, and adds two and two, in one instruction.
static POWERS: [i32; POWERS_OF_TWO] = {
    let mut powers = [0x0001_0001; POWERS_OF_TWO];
    let mut shift = 1;
    while shift < powers.len() {
        powers[shift] <<= shift;
        shift += 1;
    }
    powers
};
/// More than shifts need, so that four bits are an index.
const POWERS_OF_TWO: usize = 16;
const _: () = assert!(MAX_SHIFT < POWERS_OF_TWO as i32);

impl Dot for Pairs {
    type Products = __m256i;
    const BYTES_ARE_SIGNED: bool = true;

    #[inline(always)]
    unsafe fn no_products() -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn dot(sum: __m256i, codes: __m256i, a: __m256i, bits: u32) -> __m256i {
        unsafe {
            in_order(match bits {
                0..=BITS_OF_PAIRS => _mm256_add_epi16(sum, _mm256_maddubs_epi16(codes, a)),
                8 => _mm256_add_epi32(sum, fours(multiply_bytes(codes, a))),
                _ => _mm256_add_epi32(sum, fours(_mm256_maddubs_epi16(codes, a))),
            })
        }
    }

    #[inline(always)]
    unsafe fn add_products(acc: __m256i, sum: __m256i, by: i32, bits: u32) -> __m256i {
        unsafe {
            if bits <= BITS_OF_PAIRS {
                let power = _mm256_set1_epi32(POWERS[by as usize % POWERS_OF_TWO]);
                return _mm256_add_epi32(acc, _mm256_madd_epi16(sum, power));
            }
            _mm256_add_epi32(acc, _mm256_sllv_epi32(sum, _mm256_set1_epi32(by)))
        }
    }
}

/// Sums of two and two.
#[inline(always)]
unsafe fn fours(pairs: __m256i) -> __m256i {
    unsafe { _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)) }
}

/// Sums of pairs of products with 8-bit codes less 128: the magnitude of one factor times the other, with both signs.
#[inline(always)]
unsafe fn multiply_bytes(codes: __m256i, a: __m256i) -> __m256i {
    unsafe {
        let codes = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
        _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(a, codes))
    }
}

/// Left to itself, LLVM adds up row after row: weights that should meet all rows while in a register go through memory.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn in_order(mut sum: __m256i) -> __m256i {
    unsafe {
        asm!("/* {} */", inout(ymm_reg) sum, options(nomem, nostack, preserves_flags));
    }
    sum
}
