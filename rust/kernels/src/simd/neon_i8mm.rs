//! NEON with products of unsigned and signed bytes: Neoverse V1 and N2, Cortex-A510 and A710 and later, Apple M2.
#![allow(clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]
// SAFETY of every block in this file: the value `NeonI8mm` is only made by `detect`; no memory is touched.
use std::{
    arch::{aarch64::*, asm, is_aarch64_feature_detected},
    array::from_fn,
};

use super::neon_base::{Dot, Quarters};

/// Proof that the CPU has `usdot`.
pub type NeonI8mm = Quarters<Mixed>;

/// Sums of four products of unsigned with signed bytes.
#[derive(Debug, Clone, Copy)]
pub struct Mixed;

impl NeonI8mm {
    /// The proof, if this CPU qualifies.
    pub fn detect() -> Option<Self> {
        Self::qualify(is_aarch64_feature_detected!("i8mm"))
    }
}

impl Dot for Mixed {
    const BYTES_ARE_SIGNED: bool = false;

    #[inline(always)]
    unsafe fn dot(sum: [int32x4_t; 4], codes: [uint8x16_t; 4], a: int8x16_t, _: u32) -> [int32x4_t; 4] {
        from_fn(|i| unsafe { usdot(sum[i], codes[i], a) })
    }
}

/// In assembly because the intrinsic is not stable.
#[inline(always)]
unsafe fn usdot(mut acc: int32x4_t, codes: uint8x16_t, activations: int8x16_t) -> int32x4_t {
    unsafe {
        asm!(".arch_extension i8mm", "usdot {acc:v}.4s, {codes:v}.16b, {activations:v}.16b",
            acc = inout(vreg) acc, codes = in(vreg) codes, activations = in(vreg) activations,
            options(pure, nomem, nostack, preserves_flags));
    }
    acc
}
