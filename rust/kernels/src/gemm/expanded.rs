//! Many rows: a stretch of two tiles is unpacked once into a buffer that stays in the nearest cache, then meets all rows;
//! then the next stretch. Sums wait in a second buffer meanwhile. Arithmetic is the limit.
use super::{Ahead, Rows, Sink, add_group};
use crate::{
    activations::{PANEL, PanelGroup, RowGroup},
    packed::{Codes, Packed, Scales, Values, Walk},
    rows::{quantize_group, silu},
    simd::{LANES, Simd},
};

/// Tiles unpacked at a time.
pub const TILES: usize = 2;
/// Groups unpacked at a time: with the rows of a panel they fit 48 KiB.
const STRETCH: usize = 16;
/// Chunks in half a group.
const HALF: usize = 4;

/// A group of a tile, a byte to each code.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Expanded {
    codes: [[u8; 64]; 2 * HALF],
    d: [[f32; LANES]; 2],
    m: [[f32; LANES]; 2],
}

/// The sums of a panel of rows for both tiles.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Sums([[[f32; LANES]; PANEL]; TILES]);

impl Sums {
    #[inline(always)]
    unsafe fn load<S: Simd>(&self, tile: usize, row: usize) -> S::F32 {
        // SAFETY: a whole vector is read; the caller vouches for the instruction set.
        unsafe { S::load(self.0[tile][row].as_ptr()) }
    }
}

/// Buffers of a thread, reused.
pub struct Scratch {
    groups: Box<[[Expanded; TILES]; STRETCH]>,
    /// One for each panel.
    sums: Vec<Sums>,
    /// Those of another pair of tiles.
    held: Vec<Sums>,
}

impl Default for Scratch {
    fn default() -> Self {
        let zero = Expanded { codes: [[0; 64]; 2 * HALF], d: [[0.0; LANES]; 2], m: [[0.0; LANES]; 2] };
        Self { groups: Box::new([[zero; TILES]; STRETCH]), sums: Vec::new(), held: Vec::new() }
    }
}

impl Scratch {
    /// Keeps the sums while others are added up.
    pub fn hold(&mut self) {
        std::mem::swap(&mut self.sums, &mut self.held);
    }
}

/// Sets the sums in `scratch` to two tiles (the second may repeat the first) times `count` rows from row 0 on, while asking for
/// the tiles `next`. `T` tiles by `R` rows are computed at a time: as many as the registers hold.
///
/// # Safety
/// As [`Simd`]; the tiles must hold `rows.groups` groups, the rows must exist.
#[inline(always)]
pub unsafe fn add_up<S: Simd, P: Packed, const T: usize, const R: usize>(
    scratch: &mut Scratch,
    tiles: [*const u8; TILES],
    next: [*const u8; TILES],
    rows: Rows,
    count: usize,
) {
    const { assert!(TILES.is_multiple_of(T) && PANEL.is_multiple_of(R)) };
    let Scratch { groups, sums, .. } = scratch;
    sums.clear();
    sums.resize(count.div_ceil(PANEL), Sums([[[0.0; LANES]; PANEL]; TILES]));
    // SAFETY: as the caller vouches.
    unsafe {
        let mut walks = [Walk::<S, P>::new(tiles[0]), Walk::<S, P>::new(tiles[1])];
        for from in (0..rows.groups).step_by(STRETCH) {
            let length = STRETCH.min(rows.groups - from);
            for (index, groups) in groups[..length].iter_mut().enumerate() {
                for (walk, to) in walks.iter_mut().zip(groups) {
                    expand::<S, P>(walk, from + index, to);
                }
            }
            let stretch_after = |tile: usize| {
                let at = if from + length == rows.groups { next[tile] } else { walks[tile].at() };
                Ahead::new(at, STRETCH * P::GROUP_BYTES, sums.len())
            };
            let mut ahead: [_; TILES] = std::array::from_fn(stretch_after);
            for (panel, sums) in sums.iter_mut().enumerate() {
                ahead.iter_mut().for_each(|tile| tile.fetch::<S>());
                let x = std::slice::from_raw_parts(rows.group(panel * PANEL, from), length);
                for tile in (0..TILES).step_by(T) {
                    for row in (0..PANEL).step_by(R) {
                        block::<S, P, T, R>(&groups[..length], tile, x, row, sums);
                    }
                }
            }
        }
    }
}

/// Writes the sums of both tiles, but not of one whose sink has no lanes.
///
/// # Safety
/// As [`Simd`]; the sums must be those of `count` rows, the sinks must be writable for them.
#[inline(always)]
pub unsafe fn write<S: Simd>(scratch: &Scratch, count: usize, sinks: [Sink; TILES]) {
    for (slot, sink) in sinks.iter().enumerate().filter(|(_, sink)| sink.lanes > 0) {
        for row in 0..count {
            // SAFETY: as the caller vouches.
            unsafe { sink.write::<S>(row, scratch.sums[row / PANEL].load::<S>(slot, row % PANEL)) };
        }
    }
}

/// The sums held are gates, the others what they let through: writes `silu(gate) * up` as a group of activations.
///
/// # Safety
/// As [`Simd`]; both sums must be those of `count` rows, `out` must have a writable group for each.
#[inline(always)]
pub unsafe fn gate<S: Simd>(scratch: &Scratch, count: usize, out: GroupSink) {
    for row in 0..count {
        let (gates, ups) = (&scratch.held[row / PANEL], &scratch.sums[row / PANEL]);
        // SAFETY: as the caller vouches.
        unsafe {
            let half = |slot| silu::<S>(gates.load::<S>(slot, row % PANEL), ups.load::<S>(slot, row % PANEL));
            quantize_group::<S>([half(0), half(1)], out.row(row));
        }
    }
}

/// Where a group of the next product's activations goes, for every row.
#[derive(Clone, Copy)]
pub struct GroupSink {
    /// The group of panel 0.
    pub out: *mut PanelGroup,
    /// From one panel to the next.
    pub stride: usize,
}

impl GroupSink {
    /// # Safety
    /// The row must exist.
    #[inline(always)]
    unsafe fn row<'a>(&self, row: usize) -> &'a mut RowGroup {
        // SAFETY: as the caller vouches.
        unsafe { &mut (*self.out.add(row / PANEL * self.stride))[row % PANEL] }
    }
}

#[inline(always)]
unsafe fn expand<S: Simd, P: Packed>(walk: &mut Walk<S, P>, group: usize, to: &mut Expanded) {
    // SAFETY: the caller vouches for the tile.
    unsafe {
        let (values, codes) = walk.next(group);
        for (&chunk, to) in P::Codes::chunks::<S>(codes).iter().zip(&mut to.codes) {
            S::store_codes(chunk, to.as_mut_ptr());
        }
        for half in 0..if P::Scales::HALVES { 2 } else { 1 } {
            S::store(values.d[half], to.d[half].as_mut_ptr());
            S::store(values.m[half], to.m[half].as_mut_ptr());
        }
    }
}

impl Expanded {
    #[inline(always)]
    unsafe fn values<S: Simd, P: Packed>(&self) -> Values<S> {
        let other = usize::from(P::Scales::HALVES);
        // SAFETY: whole vectors are read.
        unsafe {
            Values {
                d: [S::load(self.d[0].as_ptr()), S::load(self.d[other].as_ptr())],
                m: [S::load(self.m[0].as_ptr()), S::load(self.m[other].as_ptr())],
            }
        }
    }
}

/// Adds a stretch to the sums of `T` tiles by `R` rows.
#[inline(always)]
unsafe fn block<S: Simd, P: Packed, const T: usize, const R: usize>(
    groups: &[[Expanded; TILES]],
    tile: usize,
    x: &[PanelGroup],
    row: usize,
    sums: &mut Sums,
) {
    // SAFETY: whole vectors are read and written.
    unsafe {
        let mut acc = [[S::splat(0.0); R]; T];
        for t in 0..T {
            for r in 0..R {
                acc[t][r] = sums.load::<S>(tile + t, row + r);
            }
        }
        for (group, x) in groups.iter().zip(x) {
            let first = half::<S, P, T, R>(group, tile, x, row, 0);
            let second = half::<S, P, T, R>(group, tile, x, row, 1);
            // Row by row: what is broadcast from a row serves all tiles at once and is done with.
            for r in 0..R {
                for t in 0..T {
                    let weights = group[tile + t].values::<S, P>();
                    acc[t][r] = add_group::<S, P>(acc[t][r], [first[t][r], second[t][r]], &weights, &x[row + r]);
                }
            }
        }
        for t in 0..T {
            for r in 0..R {
                S::store(acc[t][r], sums.0[tile + t][row + r].as_mut_ptr());
            }
        }
    }
}

/// The products of one half of a group.
#[inline(always)]
unsafe fn half<S: Simd, P: Packed, const T: usize, const R: usize>(
    group: &[Expanded; TILES],
    tile: usize,
    x: &PanelGroup,
    row: usize,
    which: usize,
) -> [[S::Products; R]; T] {
    // SAFETY: a half has four chunks, and four codes for each.
    unsafe {
        let mut sums = [[S::no_products(); R]; T];
        for c in HALF * which..HALF * (which + 1) {
            let mut weights = [S::codes(group[tile].codes[c].as_ptr()); T];
            for t in 1..T {
                weights[t] = S::codes(group[tile + t].codes[c].as_ptr());
            }
            for r in 0..R {
                let activations = x[row + r].codes.as_ptr().add(4 * c);
                for t in 0..T {
                    sums[t][r] = S::dot(sums[t][r], weights[t], activations, P::Codes::BITS);
                }
            }
        }
        sums
    }
}
