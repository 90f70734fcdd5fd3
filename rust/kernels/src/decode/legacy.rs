//! Blocks of 32 values with one f16 scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. Layouts as in GGUF's format description.
use half::f16;

use super::{GROUP_VALUES, NativeGroup, half_at, nibbles};

/// d f16 | 16 bytes of nibbles
pub(super) fn q4_0(block: &[u8]) -> NativeGroup {
    plain(nibbles(&block[2..]), half_at(block, 0))
}

/// d f16 | m f16 | 16 bytes of nibbles
pub(super) fn q4_1(block: &[u8]) -> NativeGroup {
    with_addend(nibbles(&block[4..]), half_at(block, 0), half_at(block, 2))
}

/// d f16 | fifth bits u32 | 16 bytes of nibbles
pub(super) fn q5_0(block: &[u8]) -> NativeGroup {
    plain(fifth_bits(nibbles(&block[6..]), &block[2..6]), half_at(block, 0))
}

/// d f16 | m f16 | fifth bits u32 | 16 bytes of nibbles
pub(super) fn q5_1(block: &[u8]) -> NativeGroup {
    with_addend(fifth_bits(nibbles(&block[8..]), &block[4..8]), half_at(block, 0), half_at(block, 2))
}

/// d f16 | 32 signed bytes, here shifted to unsigned
pub(super) fn q8_0(block: &[u8]) -> NativeGroup {
    let mut codes = [0; GROUP_VALUES];
    for (code, &byte) in codes.iter_mut().zip(&block[2..]) {
        *code = byte ^ 0x80;
    }
    plain(codes, half_at(block, 0))
}

pub(super) fn plain(codes: [u8; GROUP_VALUES], d: f16) -> NativeGroup {
    NativeGroup { codes, d, dmin: f16::ZERO, scale: [1; 2], min: [0; 2] }
}

fn with_addend(codes: [u8; GROUP_VALUES], d: f16, addend: f16) -> NativeGroup {
    NativeGroup { codes, d, dmin: addend, scale: [1; 2], min: [-1; 2] }
}

fn fifth_bits(mut codes: [u8; GROUP_VALUES], bits: &[u8]) -> [u8; GROUP_VALUES] {
    for (index, code) in codes.iter_mut().enumerate() {
        *code |= (bits[index / 8] >> (index % 8) & 1) << 4;
    }
    codes
}
