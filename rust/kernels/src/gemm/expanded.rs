//! Many rows: two tiles are unpacked once into a buffer that stays in the cache, then meet the rows six at a time, which
//! fills the registers. Arithmetic is the limit.
use super::{Rows, Sink, accumulate, add_minimum};
use crate::{
    packed::{Codes, Packed, Values, Walk},
    simd::{LANES, Simd},
};

/// Rows that share one pass over the buffer.
pub const ROWS: usize = 6;
/// Tiles that share one pass over the activations.
pub const TILES: usize = 2;

const CODE_BYTES: usize = 512;
/// d and m of both halves.
const SCALE_VALUES: usize = 4 * LANES;

/// Unpacked tiles; one per thread, reused.
#[derive(Default)]
pub struct Scratch {
    codes: Vec<u8>,
    scales: Vec<f32>,
}

impl Scratch {
    fn reserve(&mut self, groups: usize) {
        self.codes.resize((TILES * groups * CODE_BYTES).max(self.codes.len()), 0);
        self.scales.resize((TILES * groups * SCALE_VALUES).max(self.scales.len()), 0.0);
    }

    #[inline(always)]
    unsafe fn expand<S: Simd, P: Packed>(&mut self, slot: usize, tile: *const u8, groups: usize) {
        // SAFETY: `reserve` made room for `TILES * groups` groups; the caller vouches for the tile.
        unsafe {
            let mut walk = Walk::<S, P>::new(tile);
            for group in 0..groups {
                let (values, codes) = walk.next(group);
                let to = self.codes.as_mut_ptr().add((group * TILES + slot) * CODE_BYTES);
                for (c, &chunk) in P::Codes::chunks::<S>(codes).iter().enumerate() {
                    S::store_codes(chunk, to.add(64 * c));
                }
                let to = self.scales.as_mut_ptr().add((group * TILES + slot) * SCALE_VALUES);
                for (i, value) in [values.d[0], values.d[1], values.m[0], values.m[1]].into_iter().enumerate() {
                    S::store(value, to.add(LANES * i));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn scales<S: Simd>(at: *const f32) -> Values<S> {
    // SAFETY: `expand` wrote SCALE_VALUES values there.
    unsafe {
        Values { d: [S::load(at), S::load(at.add(LANES))], m: [S::load(at.add(2 * LANES)), S::load(at.add(3 * LANES))] }
    }
}

/// Two tiles (the second may repeat the first, then `sinks[1].lanes` is 0) times `count` rows.
///
/// # Safety
/// As [`Simd`]; the tiles must hold `rows.groups` groups, the rows must exist, the sinks must be writable for them.
#[inline(always)]
pub unsafe fn tiles<S: Simd, P: Packed>(
    scratch: &mut Scratch,
    tiles: [*const u8; TILES],
    rows: Rows,
    count: usize,
    sinks: [Sink; TILES],
) {
    // SAFETY: as the caller vouches.
    unsafe {
        scratch.reserve(rows.groups);
        for (slot, tile) in tiles.into_iter().enumerate() {
            scratch.expand::<S, P>(slot, tile, rows.groups);
        }
        let mut first = 0;
        while first < count {
            let row_count = ROWS.min(count - first);
            let acc = block::<S, P>(scratch, rows, first, row_count);
            for (slot, sink) in sinks.iter().enumerate().filter(|(_, sink)| sink.lanes > 0) {
                for (r, &value) in acc[slot].iter().enumerate().take(row_count) {
                    sink.write::<S>(first + r, value);
                }
            }
            first += ROWS;
        }
    }
}

/// The sums of two tiles by six rows; the surplus repeats the last row.
#[inline(always)]
unsafe fn block<S: Simd, P: Packed>(
    scratch: &Scratch,
    rows: Rows,
    first: usize,
    count: usize,
) -> [[S::F32; ROWS]; TILES] {
    // SAFETY: `expand` filled the buffers for these groups; the rows exist.
    unsafe {
        let mut acc = [[S::splat(0.0); ROWS]; TILES];
        let row: [usize; ROWS] = std::array::from_fn(|r| first + r.min(count - 1));
        for group in 0..rows.groups {
            let codes = scratch.codes.as_ptr().add(group * TILES * CODE_BYTES);
            let scale = scratch.scales.as_ptr().add(group * TILES * SCALE_VALUES);
            let weights = [scales::<S>(scale), scales::<S>(scale.add(SCALE_VALUES))];
            for which in 0..2 {
                let int = half::<S, P>(codes, rows, &row, group, which);
                for slot in 0..TILES {
                    for r in 0..ROWS {
                        let sums = rows.sums(row[r], group);
                        acc[slot][r] = accumulate::<S>(acc[slot][r], int[slot][r], &weights[slot], sums, which);
                    }
                }
            }
            for slot in 0..TILES {
                for r in 0..ROWS {
                    acc[slot][r] = add_minimum::<S, P>(acc[slot][r], &weights[slot], rows.sums(row[r], group));
                }
            }
        }
        acc
    }
}

/// The integer sums of one half of a group.
#[inline(always)]
unsafe fn half<S: Simd, P: Packed>(
    codes: *const u8,
    rows: Rows,
    row: &[usize; ROWS],
    group: usize,
    which: usize,
) -> [[S::I32; ROWS]; TILES] {
    // SAFETY: as the caller vouches for `block`.
    unsafe {
        let mut int = [[S::splat_i32(0); ROWS]; TILES];
        for c in 4 * which..4 * which + 4 {
            let weights = [S::codes(codes.add(64 * c)), S::codes(codes.add(CODE_BYTES + 64 * c))];
            for r in 0..ROWS {
                let activations = rows.codes(row[r], group).add(4 * c);
                int[0][r] = S::dot(int[0][r], weights[0], activations, P::Codes::WIDE);
                int[1][r] = S::dot(int[1][r], weights[1], activations, P::Codes::WIDE);
            }
        }
        int
    }
}
