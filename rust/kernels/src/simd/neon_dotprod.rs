//! NEON with the dot product extension: Cortex-A55 and A76 and later, Raspberry Pi 5, Apple M1.
#![allow(clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]
// SAFETY of every block in this file: the value `NeonDotprod` is only made by `detect`; no memory is touched.
use std::arch::{aarch64::*, asm, is_aarch64_feature_detected};

use super::neon_base::{Quarters, SignedDot};

/// Proof that the CPU has `sdot`.
pub type NeonDotprod = Quarters<Signed>;

/// Sums of four products of signed bytes.
#[derive(Debug, Clone, Copy)]
pub struct Signed;

impl NeonDotprod {
    /// The proof, if this CPU qualifies.
    pub fn detect() -> Option<Self> {
        Self::qualify(is_aarch64_feature_detected!("dotprod"))
    }
}

impl SignedDot for Signed {
    /// In assembly because the intrinsic is not stable.
    #[inline(always)]
    unsafe fn dot(mut acc: int32x4_t, left: int8x16_t, right: int8x16_t) -> int32x4_t {
        unsafe {
            asm!(".arch_extension dotprod", "sdot {acc:v}.4s, {left:v}.16b, {right:v}.16b",
                acc = inout(vreg) acc, left = in(vreg) left, right = in(vreg) right,
                options(pure, nomem, nostack, preserves_flags));
        }
        acc
    }
}
