//! Codes of a group: 16 rows by 32 columns of 2 to 8 bits, as planes of whole vectors. Knows nothing of scales.
#![allow(clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]
// SAFETY of every block in this file: the caller vouches for the instruction set and for `BYTES` readable bytes.
use super::Group;
use crate::{decode::IQ4_VALUES, simd::Simd};

/// Eight chunks: all codes of a group, a byte each.
pub type Chunks<S> = [<S as Simd>::Codes; 8];

/// How the codes of a group lie.
pub trait Codes: 'static {
    /// Bits of a code when it meets the activations.
    const BITS: u32;
    /// Bytes of a group's codes.
    const BYTES: usize;

    /// # Safety
    /// As [`Simd`], over [`Codes::BYTES`] bytes.
    unsafe fn chunks<S: Simd>(from: *const u8) -> Chunks<S>;

    /// Writes the codes of 16 rows; `out` is zeroed and [`Codes::BYTES`] long.
    fn pack(rows: &[Group; 16], out: &mut [u8]);
}

/// Calls `put(chunk, byte in chunk, code)` for every code.
fn each(rows: &[Group; 16], mut put: impl FnMut(usize, usize, u8)) {
    for (row, group) in rows.iter().enumerate() {
        for (column, &code) in group.codes.iter().enumerate() {
            put(column / 4, row * 4 + column % 4, code);
        }
    }
}

fn pack_nibbles(rows: &[Group; 16], out: &mut [u8]) {
    each(rows, |chunk, at, code| out[chunk / 2 * 64 + at] |= (code & 15) << (4 * (chunk % 2)));
}

/// Bit `bit` of every code: a 64-bit mask per chunk.
fn pack_mask(rows: &[Group; 16], bit: u32, out: &mut [u8]) {
    each(rows, |chunk, at, code| out[chunk * 8 + at / 8] |= (code >> bit & 1) << (at % 8));
}

/// Bits `bit` and `bit + 1` of every code: four chunks to a vector.
fn pack_pairs(rows: &[Group; 16], bit: u32, out: &mut [u8]) {
    each(rows, |chunk, at, code| out[chunk / 4 * 64 + at] |= (code >> bit & 3) << (2 * (chunk % 4)));
}

#[inline(always)]
unsafe fn nibbles<S: Simd>(from: *const u8) -> Chunks<S> {
    unsafe {
        let v = [S::codes(from), S::codes(from.add(64)), S::codes(from.add(128)), S::codes(from.add(192))];
        [
            S::bits::<0, 15>(v[0]),
            S::bits::<4, 15>(v[0]),
            S::bits::<0, 15>(v[1]),
            S::bits::<4, 15>(v[1]),
            S::bits::<0, 15>(v[2]),
            S::bits::<4, 15>(v[2]),
            S::bits::<0, 15>(v[3]),
            S::bits::<4, 15>(v[3]),
        ]
    }
}

#[inline(always)]
unsafe fn pairs<S: Simd>(from: *const u8) -> Chunks<S> {
    unsafe {
        let v = [S::codes(from), S::codes(from.add(64))];
        [
            S::bits::<0, 3>(v[0]),
            S::bits::<2, 3>(v[0]),
            S::bits::<4, 3>(v[0]),
            S::bits::<6, 3>(v[0]),
            S::bits::<0, 3>(v[1]),
            S::bits::<2, 3>(v[1]),
            S::bits::<4, 3>(v[1]),
            S::bits::<6, 3>(v[1]),
        ]
    }
}

/// 8 bits.
pub struct Byte;
impl Codes for Byte {
    const BITS: u32 = 8;
    const BYTES: usize = 512;

    #[inline(always)]
    unsafe fn chunks<S: Simd>(from: *const u8) -> Chunks<S> {
        let mut chunks = [unsafe { S::codes(from) }; 8];
        for (i, chunk) in chunks.iter_mut().enumerate().skip(1) {
            *chunk = unsafe { S::codes(from.add(64 * i)) };
        }
        chunks
    }

    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        each(rows, |chunk, at, code| out[chunk * 64 + at] = code);
    }
}

/// 4 bits.
pub struct Nibble;
impl Codes for Nibble {
    const BITS: u32 = 4;
    const BYTES: usize = 256;

    #[inline(always)]
    unsafe fn chunks<S: Simd>(from: *const u8) -> Chunks<S> {
        unsafe { nibbles::<S>(from) }
    }

    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        pack_nibbles(rows, out);
    }
}

/// 4 bits that choose one of sixteen 8-bit values.
pub struct Codebook;
impl Codes for Codebook {
    const BITS: u32 = 8;
    const BYTES: usize = 256;

    #[inline(always)]
    unsafe fn chunks<S: Simd>(from: *const u8) -> Chunks<S> {
        unsafe {
            let mut chunks = nibbles::<S>(from);
            for chunk in &mut chunks {
                *chunk = S::lookup(&CODEBOOK, *chunk);
            }
            chunks
        }
    }

    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        let index = |code| CODEBOOK.iter().position(|&entry| entry == code).unwrap_or_default() as u8;
        pack_nibbles(&rows.map(|group| Group { codes: group.codes.map(index), ..group }), out);
    }
}

/// IQ4's values, shifted to be unsigned.
const CODEBOOK: [u8; 16] = {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        table[i] = (IQ4_VALUES[i] as i32 + 128) as u8;
        i += 1;
    }
    table
};

/// 5 bits: nibbles, then a mask of fifth bits per chunk.
pub struct NibbleAnd1;
impl Codes for NibbleAnd1 {
    const BITS: u32 = 5;
    const BYTES: usize = 256 + 64;

    #[inline(always)]
    unsafe fn chunks<S: Simd>(from: *const u8) -> Chunks<S> {
        unsafe {
            let mut chunks = nibbles::<S>(from);
            for (i, chunk) in chunks.iter_mut().enumerate() {
                *chunk = S::or(*chunk, S::select::<16>(from.add(256 + 8 * i)));
            }
            chunks
        }
    }

    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        let (low, high) = out.split_at_mut(256);
        pack_nibbles(rows, low);
        pack_mask(rows, 4, high);
    }
}

/// 6 bits: nibbles, then pairs of upper bits.
pub struct NibbleAnd2;
impl Codes for NibbleAnd2 {
    const BITS: u32 = 6;
    const BYTES: usize = 256 + 128;

    #[inline(always)]
    unsafe fn chunks<S: Simd>(from: *const u8) -> Chunks<S> {
        unsafe {
            let mut chunks = nibbles::<S>(from);
            for (chunk, upper) in chunks.iter_mut().zip(pairs::<S>(from.add(256))) {
                *chunk = S::or(*chunk, S::bits_up::<4>(upper));
            }
            chunks
        }
    }

    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        let (low, high) = out.split_at_mut(256);
        pack_nibbles(rows, low);
        pack_pairs(rows, 4, high);
    }
}

/// 2 bits.
pub struct Bits2;
impl Codes for Bits2 {
    const BITS: u32 = 2;
    const BYTES: usize = 128;

    #[inline(always)]
    unsafe fn chunks<S: Simd>(from: *const u8) -> Chunks<S> {
        unsafe { pairs::<S>(from) }
    }

    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        pack_pairs(rows, 0, out);
    }
}

/// 3 bits: pairs, then a mask of third bits per chunk.
pub struct Bits3;
impl Codes for Bits3 {
    const BITS: u32 = 3;
    const BYTES: usize = 128 + 64;

    #[inline(always)]
    unsafe fn chunks<S: Simd>(from: *const u8) -> Chunks<S> {
        unsafe {
            let mut chunks = pairs::<S>(from);
            for (i, chunk) in chunks.iter_mut().enumerate() {
                *chunk = S::or(*chunk, S::select::<4>(from.add(128 + 8 * i)));
            }
            chunks
        }
    }

    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        let (low, high) = out.split_at_mut(128);
        pack_pairs(rows, 0, low);
        pack_mask(rows, 2, high);
    }
}
