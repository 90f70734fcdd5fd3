//! 4-bit indices into a fixed table of 16 values: IQ4_NL (blocks of 32) and IQ4_XS (super-blocks of 256).
use super::{GROUP_VALUES, NativeGroup, half_at, k_quants::scaled, legacy::plain, nibbles};

/// What an index of IQ4_NL and IQ4_XS stands for; a code is this value + 128.
pub const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// d f16 | 16 bytes of nibbles
pub(super) fn nl(block: &[u8]) -> NativeGroup {
    plain(look_up(&block[2..]), half_at(block, 0))
}

/// d f16 | upper 2 bits of 8 scales u16 | 4 bytes of their nibbles, biased by 32 | 128 bytes of nibbles
pub(super) fn xs(block: &[u8], group: usize) -> NativeGroup {
    let low = block[4 + group / 2] >> (4 * (group % 2)) & 15;
    let high = block[2 + group / 4] >> (2 * (group % 4)) & 3;
    let scale = i32::from(low | high << 4) - 32;
    scaled(look_up(&block[8 + 16 * group..]), half_at(block, 0), [scale; 2])
}

fn look_up(bytes: &[u8]) -> [u8; GROUP_VALUES] {
    nibbles(bytes).map(|index| IQ4_VALUES[usize::from(index)] as u8 ^ 0x80)
}
