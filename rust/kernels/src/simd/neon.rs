//! NEON as every 64-bit ARM processor has it: Cortex-A53 and A72, Raspberry Pi 3 and 4.
#![allow(clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]
// SAFETY of every block in this file: NEON belongs to the architecture; no memory is touched.
use std::arch::aarch64::*;

use super::neon_base::{Quarters, SignedDot};

/// The architecture is the proof.
pub type Neon = Quarters<Pairs>;

/// Sums of pairs, then of fours.
#[derive(Debug, Clone, Copy)]
pub struct Pairs;

impl Neon {
    /// The proof.
    pub fn detect() -> Option<Self> {
        Self::qualify(true)
    }
}

impl SignedDot for Pairs {
    /// Sums of two products are below 2^15: 2 * 128 * 127.
    #[inline(always)]
    unsafe fn dot(acc: int32x4_t, left: int8x16_t, right: int8x16_t) -> int32x4_t {
        unsafe {
            let low = vmull_s8(vget_low_s8(left), vget_low_s8(right));
            vpadalq_s16(acc, vpaddq_s16(low, vmull_high_s8(left, right)))
        }
    }
}
