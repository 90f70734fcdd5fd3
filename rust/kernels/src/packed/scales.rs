//! Scales and minima of a group for 16 rows, and the headers above them. Knows nothing of codes.
#![allow(clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]
// SAFETY of every block in this file: the caller vouches for the instruction set and for the bytes that the constants count.
use std::marker::PhantomData;

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

/// How the scales of a format lie.
pub trait Scales: 'static {
    /// Groups under one header.
    const SPAN: usize;
    /// Bytes of a header.
    const HEADER_BYTES: usize;
    /// Bytes of a group's scales.
    const BYTES: usize;
    /// The two halves of a group have different scales.
    const HALVES: bool;
    /// There is a minimum, and codes are unsigned.
    const MINS: bool;

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

/// One f16 scale.
pub type PerGroup = Under<Nothing, Half>;
/// An f16 scale and an f16 addend (whose `min` is -1).
pub type PerGroupMin = Under<Nothing, HalfAndAddend>;
/// An f16 scale and scale of minima per 256 columns over 8-bit scales and minima.
pub type SuperMin = Under<ScaleAndMinOf256, ByteAndMin>;
/// An f16 scale per 256 columns over one signed 8-bit scale.
pub type Super = Under<ScaleOf256, SignedByte>;
/// As [`Super`], with a scale for each half of the group.
pub type SuperHalves = Under<ScaleOf256, SignedBytes>;
/// As [`SuperMin`], with 4-bit scales and minima, a pair to a byte, for each half of the group.
pub type SuperHalvesMin = Under<ScaleAndMinOf256, NibblesAndMins>;
/// An f16 scale per row over 8-bit scales.
pub type ByRow = Under<RowScale, Byte>;
/// As [`ByRow`], with 8-bit minima in steps of [`RowScale::MIN_STEPS`].
pub type ByRowMin = Under<RowScale, ByteAndMin>;

/// Scales of a group under a header.
pub struct Under<H, G>(PhantomData<(H, G)>);

impl<H: Head, G: Each> Scales for Under<H, G> {
    const SPAN: usize = H::SPAN;
    const HEADER_BYTES: usize = H::BYTES;
    const BYTES: usize = G::BYTES;
    const HALVES: bool = G::HALVES;
    const MINS: bool = G::MINS;

    #[inline(always)]
    unsafe fn header<S: Simd>(from: *const u8) -> Header<S> {
        unsafe { H::load(from) }
    }
    #[inline(always)]
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
        unsafe { G::values(header, from) }
    }
    fn pack_header(rows: &[Group; 16], out: &mut [u8]) {
        H::pack(rows, out);
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        G::pack(rows, out);
    }
}

/// What several groups share.
pub trait Head: 'static {
    const SPAN: usize;
    const BYTES: usize;
    unsafe fn load<S: Simd>(from: *const u8) -> Header<S>;
    fn pack(rows: &[Group; 16], out: &mut [u8]);
}

/// No header.
pub struct Nothing;
impl Head for Nothing {
    const SPAN: usize = usize::MAX;
    const BYTES: usize = 0;

    #[inline(always)]
    unsafe fn load<S: Simd>(_: *const u8) -> Header<S> {
        let zero = unsafe { S::splat(0.0) };
        Header { d: zero, dmin: zero }
    }
    fn pack(_: &[Group; 16], _: &mut [u8]) {}
}

/// An f16 per 256 columns.
pub struct ScaleOf256;
impl Head for ScaleOf256 {
    const SPAN: usize = 8;
    const BYTES: usize = 32;

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> Header<S> {
        let d = unsafe { S::load_f16(from.cast()) };
        Header { d, dmin: d }
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        put_f16(out, rows.iter().map(|row| row.d));
    }
}

/// Two f16 per 256 columns.
pub struct ScaleAndMinOf256;
impl Head for ScaleAndMinOf256 {
    const SPAN: usize = 8;
    const BYTES: usize = 64;

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> Header<S> {
        unsafe { Header { d: S::load_f16(from.cast()), dmin: S::load_f16(from.add(32).cast()) } }
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        let (d, dmin) = out.split_at_mut(32);
        put_f16(d, rows.iter().map(|row| row.d));
        put_f16(dmin, rows.iter().map(|row| row.dmin));
    }
}

/// An f16 per row.
pub struct RowScale;
impl RowScale {
    /// What the f16 counts: small weights stay normal numbers.
    pub const UNIT: f32 = 1.0 / 256.0;
    /// Minima count so many scales: 15 steps of the largest 8-bit scale fit 8 bits.
    pub const MIN_STEPS: f32 = 16.0;
}
impl Head for RowScale {
    const SPAN: usize = usize::MAX;
    const BYTES: usize = 32;

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> Header<S> {
        unsafe {
            let d = S::mul(S::load_f16(from.cast()), S::splat(Self::UNIT));
            Header { d, dmin: S::mul(d, S::splat(Self::MIN_STEPS)) }
        }
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        put_f16(out, rows.iter().map(|row| row.d / Self::UNIT));
    }
}

/// What each group has.
pub trait Each: 'static {
    const BYTES: usize;
    const HALVES: bool = false;
    const MINS: bool = false;
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S>;
    fn pack(rows: &[Group; 16], out: &mut [u8]);
}

/// An f16.
pub struct Half;
impl Each for Half {
    const BYTES: usize = 32;

    #[inline(always)]
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
        unsafe { same(S::load_f16(from.cast()), header.dmin) }
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        put_f16(out, rows.iter().map(|row| row.d));
    }
}

/// Two f16.
pub struct HalfAndAddend;
impl Each for HalfAndAddend {
    const BYTES: usize = 64;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn values<S: Simd>(_: Header<S>, from: *const u8) -> Values<S> {
        unsafe { same(S::load_f16(from.cast()), S::load_f16(from.add(32).cast())) }
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        ScaleAndMinOf256::pack(rows, out);
    }
}

/// 8 bits.
pub struct Byte;
impl Each for Byte {
    const BYTES: usize = 16;

    #[inline(always)]
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
        unsafe { same(S::mul(header.d, S::load_u8(from)), header.dmin) }
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        put_bytes(out, rows.iter().map(|row| row.scale[0]));
    }
}

/// Twice 8 bits: scale, then minimum.
pub struct ByteAndMin;
impl Each for ByteAndMin {
    const BYTES: usize = 32;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
        unsafe { same(S::mul(header.d, S::load_u8(from)), negated::<S>(header.dmin, S::load_u8(from.add(16)))) }
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        let (scale, min) = out.split_at_mut(16);
        put_bytes(scale, rows.iter().map(|row| row.scale[0]));
        put_bytes(min, rows.iter().map(|row| row.min[0]));
    }
}

/// Signed 8 bits.
pub struct SignedByte;
impl Each for SignedByte {
    const BYTES: usize = 16;

    #[inline(always)]
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
        unsafe { same(S::mul(header.d, S::load_i8(from.cast())), header.dmin) }
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        Byte::pack(rows, out);
    }
}

/// Signed 8 bits for each half.
pub struct SignedBytes;
impl Each for SignedBytes {
    const BYTES: usize = 32;
    const HALVES: bool = true;

    #[inline(always)]
    unsafe fn values<S: Simd>(header: Header<S>, from: *const u8) -> Values<S> {
        unsafe {
            let d = [S::mul(header.d, S::load_i8(from.cast())), S::mul(header.d, S::load_i8(from.add(16).cast()))];
            Values { d, m: [header.dmin; 2] }
        }
    }
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        for (half, bytes) in out.chunks_exact_mut(16).enumerate() {
            put_bytes(bytes, rows.iter().map(|row| row.scale[half]));
        }
    }
}

/// A byte for each half: the scale below, the minimum above.
pub struct NibblesAndMins;
impl Each for NibblesAndMins {
    const BYTES: usize = 32;
    const HALVES: bool = true;
    const MINS: bool = true;

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
    fn pack(rows: &[Group; 16], out: &mut [u8]) {
        for (half, bytes) in out.chunks_exact_mut(16).enumerate() {
            put_bytes(bytes, rows.iter().map(|row| row.scale[half] | row.min[half] << 4));
        }
    }
}

#[inline(always)]
unsafe fn negated<S: Simd>(a: S::F32, b: S::F32) -> S::F32 {
    unsafe { S::sub(S::splat(0.0), S::mul(a, b)) }
}

#[inline(always)]
fn same<S: Simd>(d: S::F32, m: S::F32) -> Values<S> {
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
