//! Super-blocks of 256 values: an f16 scale over small integer scales, one per 16 or 32 values. Layouts as in GGUF's format description.
use half::f16;

use super::{GROUP_VALUES, NativeGroup, half_at};

/// 16 bytes of (scale, min) nibbles | 64 bytes of 2-bit codes | d f16 | dmin f16
pub(super) fn q2(block: &[u8], group: usize) -> NativeGroup {
    let pair = [block[2 * group], block[2 * group + 1]];
    NativeGroup {
        codes: pairs_of_bits(&block[16..80], group),
        d: half_at(block, 80),
        dmin: half_at(block, 82),
        scale: pair.map(|byte| i32::from(byte & 15)),
        min: pair.map(|byte| i32::from(byte >> 4)),
    }
}

/// 32 bytes of third bits | 64 bytes of 2-bit codes | 12 bytes of 6-bit scales, biased by 32 | d f16
pub(super) fn q3(block: &[u8], group: usize) -> NativeGroup {
    let mut codes = pairs_of_bits(&block[32..96], group);
    or_bits(&mut codes, &block[..32], group, 1, 2);
    let scales = &block[96..108];
    let scale = |index: usize| {
        let low = scales[index % 8] >> (4 * (index / 8)) & 15;
        let high = scales[8 + index % 4] >> (2 * (index / 4)) & 3;
        i32::from(low | high << 4) - 32
    };
    scaled(codes, half_at(block, 108), [scale(2 * group), scale(2 * group + 1)])
}

/// d f16 | dmin f16 | 12 bytes of 6-bit scales and mins | 128 bytes of nibbles
pub(super) fn q4(block: &[u8], group: usize) -> NativeGroup {
    let (scale, min) = six_bit_pair(&block[4..16], group);
    NativeGroup {
        codes: nibble_planes(&block[16..144], group),
        d: half_at(block, 0),
        dmin: half_at(block, 2),
        scale: [scale; 2],
        min: [min; 2],
    }
}

/// d f16 | dmin f16 | 12 bytes of 6-bit scales and mins | 32 bytes of fifth bits | 128 bytes of nibbles
pub(super) fn q5(block: &[u8], group: usize) -> NativeGroup {
    let (scale, min) = six_bit_pair(&block[4..16], group);
    let mut codes = nibble_planes(&block[48..176], group);
    or_bits(&mut codes, &block[16..48], group, 1, 4);
    NativeGroup { codes, d: half_at(block, 0), dmin: half_at(block, 2), scale: [scale; 2], min: [min; 2] }
}

/// 128 bytes of nibbles | 64 bytes of upper 2 bits | 16 signed scales | d f16
pub(super) fn q6(block: &[u8], group: usize) -> NativeGroup {
    let (half, quarter) = (group / 4, group % 4);
    let low = &block[64 * half + 32 * (quarter % 2)..];
    let mut codes = [0; GROUP_VALUES];
    or_bits(&mut codes, low, 4 * (quarter / 2), 15, 0);
    or_bits(&mut codes, &block[128 + 32 * half..], 2 * quarter, 3, 4);
    let scale = |index: usize| i32::from(block[192 + index] as i8);
    scaled(codes, half_at(block, 208), [scale(2 * group), scale(2 * group + 1)])
}

pub(super) fn scaled(codes: [u8; GROUP_VALUES], d: f16, scale: [i32; 2]) -> NativeGroup {
    NativeGroup { codes, d, dmin: f16::ZERO, scale, min: [0; 2] }
}

/// Sets bits `to..` of every code from bits `from..` of the byte at its place.
fn or_bits(codes: &mut [u8; GROUP_VALUES], bytes: &[u8], from: usize, mask: u8, to: usize) {
    for (code, &byte) in codes.iter_mut().zip(bytes) {
        *code |= (byte >> from & mask) << to;
    }
}

/// 2-bit codes: each run of 32 bytes holds four groups, one above the other.
fn pairs_of_bits(bytes: &[u8], group: usize) -> [u8; GROUP_VALUES] {
    let mut codes = [0; GROUP_VALUES];
    or_bits(&mut codes, &bytes[32 * (group / 4)..], 2 * (group % 4), 3, 0);
    codes
}

/// 4-bit codes: each run of 32 bytes holds two groups, one above the other.
fn nibble_planes(bytes: &[u8], group: usize) -> [u8; GROUP_VALUES] {
    let mut codes = [0; GROUP_VALUES];
    or_bits(&mut codes, &bytes[32 * (group / 2)..], 4 * (group % 2), 15, 0);
    codes
}

/// Scale and min of a group of Q4_K or Q5_K: the first four lie whole in 8 bytes, whose upper bits complete the last four.
fn six_bit_pair(bytes: &[u8], group: usize) -> (i32, i32) {
    let (scale, min) = match group {
        0..4 => (bytes[group] & 63, bytes[group + 4] & 63),
        _ => {
            let (low, upper) = (bytes[group + 4], |byte: u8| byte >> 2 & 0x30);
            (low & 15 | upper(bytes[group - 4]), low >> 4 | upper(bytes[group]))
        }
    };
    (i32::from(scale), i32::from(min))
}
