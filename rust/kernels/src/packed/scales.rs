//! Scales and minima of a group for 16 rows, and the headers above them. Knows nothing of codes.
#![allow(clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]
// SAFETY of every block in this file: the caller vouches for the instruction set and for the bytes that the constants count.
use half::f16;

use super::Group;
use crate::simd::Simd;

/// Scales of a group as numbers: `value = d * (code - offset) + m`, for the first and the second 16 columns; `m` counts only
/// where [`Scales::MINS`].
pub struct Values<S: Simd> {
    pub d: [S::F32; 2],
    pub m: [S::F32; 2],
}

/// A span's header in registers.
#[derive(Clone, Copy)]
pub struct Header<S: Simd> {
    d: S::F32,
    dmin: S::F32,
}

/// How the scales of a group lie.
pub trait Scales: 'static {
    /// Groups under one header.
    const SPAN: usize;
    /// Bytes of a header.
    const HEADER_BYTES: usize;
    /// Bytes of a group's scales.
    const BYTES: usize;
    /// The two halves of a group have different scales.
    const HALVES: bool = false;
    /// There is a minimum, and codes are unsigned.
    const MINS: bool = false;

    /// # Safety
    /// As [`Simd`], over [`Scales::HEADER_BYTES`] bytes.
    unsafe fn header<S: Simd>(from: *const u8) -> Header<S>;
    /// # Safety
    /// As [`Simd`], over [`Scales::BYTES`] bytes.
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S>;

    /// Writes the header of a span from its first groups.
    fn pack_header(rows: &[Group; 16], out: &mut [u8]);
    /// Writes the scales of a group.
    fn pack(rows: &[Group; 16], out: &mut [u8]);
}

#[inline(always)]
unsafe fn no_header<S: Simd>() -> Header<S> {
    let zero = unsafe { S::splat(0.0) };
    Header { d: zero, dmin: zero }
}

#[inline(always)]
unsafe fn half_header<S: Simd>(d: *const u8, dmin: *const u8) -> Header<S> {
    unsafe { Header { d: S::load_f16(d.cast()), dmin: S::load_f16(dmin.cast()) } }
}

#[inline(always)]
unsafe fn negated<S: Simd>(a: S::F32, b: S::F32) -> S::F32 {
    unsafe { S::sub(S::splat(0.0), S::mul(a, b)) }
}

#[inline(always)]
unsafe fn same<S: Simd>(d: S::F32, m: S::F32) -> Values<S> {
    Values { d: [d; 2], m: [m; 2] }
}

fn put_f16(out: &mut [u8], values: impl Iterator<Item = f32>) {
    for (bytes, value) in out.chunks_exact_mut(2).zip(values) {
        bytes.copy_from_slice(&f16::from_f32(value).to_le_bytes());
    }
}

/// Scales fit 8 bits by construction, signed or unsigned.
fn put_bytes(out: &mut [u8], values: impl Iterator<Item = i32>) {
    out.iter_mut().zip(values).for_each(|(byte, value)| *byte = value as u8);
}

/// One f16 scale.
pub struct PerGroup;
impl Scales for PerGroup {
    const SPAN: usize = usize::MAX;
    const HEADER_BYTES: usize = 0;
    const BYTES: usize = 32;

    #[inline(always)]
    unsafe fn header<S: Simd>(_: *const u8) -> Header<S> {
        unsafe { no_header() }
    }
    #[inline(always)]
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
        unsafe { same(S::load_f16(from.cast()), header.dmin) }
    }
    fn pack_header(_: &[Group; 16], _: &mut [u8]) {}
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        put_f16(out, rows.iter().map(|row| row.d));
    }
}

/// An f16 scale and an f16 addend (whose `min` is -1).
pub struct PerGroupMin;
impl Scales for PerGroupMin {
    const SPAN: usize = usize::MAX;
    const HEADER_BYTES: usize = 0;
    const BYTES: usize = 64;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn header<S: Simd>(_: *const u8) -> Header<S> {
        unsafe { no_header() }
    }
    #[inline(always)]
    unsafe fn values<S: Simd>(_: Header<S>, from: *const u8) -> Values<S> {
        unsafe { same(S::load_f16(from.cast()), S::load_f16(from.add(32).cast())) }
    }
    fn pack_header(_: &[Group; 16], _: &mut [u8]) {}
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        let (d, m) = out.split_at_mut(32);
        put_f16(d, rows.iter().map(|row| row.d));
        put_f16(m, rows.iter().map(|row| row.dmin));
    }
}

/// An f16 scale and scale of minima per 256 columns over 8-bit scales and minima.
pub struct SuperMin;
impl Scales for SuperMin {
    const SPAN: usize = 8;
    const HEADER_BYTES: usize = 64;
    const BYTES: usize = 32;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn header<S: Simd>(from: *const u8) -> Header<S> {
        unsafe { half_header(from, from.add(32)) }
    }
    #[inline(always)]
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
        unsafe { scale_and_min(header, from) }
    }
    fn pack_header(rows: &[Group; 16], out: &mut [u8]) {
        let (d, dmin) = out.split_at_mut(32);
        put_f16(d, rows.iter().map(|row| row.d));
        put_f16(dmin, rows.iter().map(|row| row.dmin));
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        pack_scale_and_min(rows, out);
    }
}

/// As [`SuperMin`], but one header for the whole row, in units of 1/256 so that small weights stay normal numbers in f16.
pub struct ByRow;
impl ByRow {
    /// What a header's f16 counts.
    pub const UNIT: f32 = 1.0 / 256.0;
}
impl Scales for ByRow {
    const SPAN: usize = usize::MAX;
    const HEADER_BYTES: usize = 64;
    const BYTES: usize = 32;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn header<S: Simd>(from: *const u8) -> Header<S> {
        unsafe {
            let Header { d, dmin } = half_header::<S>(from, from.add(32));
            let unit = S::splat(Self::UNIT);
            Header { d: S::mul(d, unit), dmin: S::mul(dmin, unit) }
        }
    }
    #[inline(always)]
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
        unsafe { scale_and_min(header, from) }
    }
    fn pack_header(rows: &[Group; 16], out: &mut [u8]) {
        let (d, dmin) = out.split_at_mut(32);
        put_f16(d, rows.iter().map(|row| row.d / Self::UNIT));
        put_f16(dmin, rows.iter().map(|row| row.dmin / Self::UNIT));
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        pack_scale_and_min(rows, out);
    }
}

#[inline(always)]
unsafe fn scale_and_min<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
    unsafe { same(S::mul(header.d, S::load_u8(from)), negated::<S>(header.dmin, S::load_u8(from.add(16)))) }
}

fn pack_scale_and_min(rows: &[Group; 16], out: &mut [u8]) {
    let (scale, min) = out.split_at_mut(16);
    put_bytes(scale, rows.iter().map(|row| row.scale[0]));
    put_bytes(min, rows.iter().map(|row| row.min[0]));
}

/// An f16 scale per 256 columns over one signed 8-bit scale.
pub struct Super;
impl Scales for Super {
    const SPAN: usize = 8;
    const HEADER_BYTES: usize = 32;
    const BYTES: usize = 16;

    #[inline(always)]
    unsafe fn header<S: Simd>(from: *const u8) -> Header<S> {
        unsafe { half_header(from, from) }
    }
    #[inline(always)]
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
        unsafe { same(S::mul(header.d, S::load_i8(from.cast())), header.dmin) }
    }
    fn pack_header(rows: &[Group; 16], out: &mut [u8]) {
        put_f16(out, rows.iter().map(|row| row.d));
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        put_bytes(out, rows.iter().map(|row| row.scale[0]));
    }
}

/// As [`Super`], with a scale for each half of the group.
pub struct SuperHalves;
impl Scales for SuperHalves {
    const SPAN: usize = 8;
    const HEADER_BYTES: usize = 32;
    const BYTES: usize = 32;
    const HALVES: bool = true;

    #[inline(always)]
    unsafe fn header<S: Simd>(from: *const u8) -> Header<S> {
        unsafe { half_header(from, from) }
    }
    #[inline(always)]
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
        unsafe {
            let d = [S::mul(header.d, S::load_i8(from.cast())), S::mul(header.d, S::load_i8(from.add(16).cast()))];
            Values { d, m: [header.dmin; 2] }
        }
    }
    fn pack_header(rows: &[Group; 16], out: &mut [u8]) {
        put_f16(out, rows.iter().map(|row| row.d));
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        let (first, second) = out.split_at_mut(16);
        put_bytes(first, rows.iter().map(|row| row.scale[0]));
        put_bytes(second, rows.iter().map(|row| row.scale[1]));
    }
}

/// As [`SuperMin`], with 4-bit scales and minima, a pair to a byte, for each half of the group.
pub struct SuperHalvesMin;
impl Scales for SuperHalvesMin {
    const SPAN: usize = 8;
    const HEADER_BYTES: usize = 64;
    const BYTES: usize = 32;
    const HALVES: bool = true;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn header<S: Simd>(from: *const u8) -> Header<S> {
        unsafe { half_header(from, from.add(32)) }
    }
    #[inline(always)]
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
        unsafe {
            let mut nibbles = [0u8; 64];
            for i in 0..32 {
                let pair = from.add(i).read();
                nibbles[i] = pair & 15;
                nibbles[32 + i] = pair >> 4;
            }
            let at = |i: usize| nibbles.as_ptr().add(16 * i);
            Values {
                d: [S::mul(header.d, S::load_u8(at(0))), S::mul(header.d, S::load_u8(at(1)))],
                m: [negated::<S>(header.dmin, S::load_u8(at(2))), negated::<S>(header.dmin, S::load_u8(at(3)))],
            }
        }
    }
    fn pack_header(rows: &[Group; 16], out: &mut [u8]) {
        SuperMin::pack_header(rows, out);
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        for (half, bytes) in out.chunks_exact_mut(16).enumerate() {
            put_bytes(bytes, rows.iter().map(|row| row.scale[half] | row.min[half] << 4));
        }
    }
}
