//! Unquantized weights: tiles of 16 rows, column after column, times f32 activations.
use super::{LINE, Sink};
use crate::simd::{LANES, Simd};

/// How a float weight lies in memory.
pub trait Float: 'static {
    /// Bytes of a weight.
    const BYTES: usize;
    /// Sixteen weights.
    ///
    /// # Safety
    /// As [`Simd`].
    unsafe fn load<S: Simd>(from: *const u8) -> S::F32;
}

/// f32.
pub struct F32;
/// IEEE half.
pub struct F16;
/// bfloat16.
pub struct BF16;

impl Float for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F32 {
        // SAFETY: as the caller vouches; loads need no alignment.
        unsafe { S::load(from.cast()) }
    }
}

impl Float for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F32 {
        // SAFETY: as the caller vouches; loads need no alignment.
        unsafe { S::load_f16(from.cast()) }
    }
}

impl Float for BF16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F32 {
        // SAFETY: as the caller vouches; loads need no alignment.
        unsafe { S::load_bf16(from.cast()) }
    }
}

/// How far ahead of one row's pass memory is asked for.
const AHEAD_BYTES: usize = 4 << 10;

/// Rows that share one pass over a tile.
pub const ROWS: usize = 4;
/// Independent sums per output, over the columns of equal remainder: hides the latency of the multiply-add.
const CHAINS: usize = 4;

/// Consecutive tiles of 16 weight rows.
#[derive(Clone, Copy)]
pub struct Tiles {
    /// Where the first begins.
    pub at: *const u8,
    /// How many.
    pub count: usize,
}

/// Tiles times `count <= ROWS` rows of `x` (row-major, `cols` wide).
///
/// # Safety
/// As [`Simd`]; each tile must hold `cols` columns, `x` `count` rows, and `sink` must be writable for all tiles and for rows
/// from `first` on.
#[inline(always)]
pub unsafe fn tiles<S: Simd, W: Float>(
    tiles: Tiles,
    x: *const f32,
    cols: usize,
    first: usize,
    count: usize,
    sink: Sink,
) {
    for index in 0..tiles.count {
        let (tile, sink) = (tiles.at.wrapping_add(index * cols * LANES * W::BYTES), sink.tile(index));
        // SAFETY: as the caller vouches.
        unsafe {
            // Decoding has one row per adapter: three more would take four times as long.
            match count {
                1 => tile_rows::<S, W, 1>(tile, x, cols, first, count, sink),
                _ => tile_rows::<S, W, ROWS>(tile, x, cols, first, count, sink),
            }
        }
    }
}

/// One tile, for `count <= N`; what is computed beyond `count` is dropped.
#[inline(always)]
unsafe fn tile_rows<S: Simd, W: Float, const N: usize>(
    tile: *const u8,
    x: *const f32,
    cols: usize,
    first: usize,
    count: usize,
    sink: Sink,
) {
    // SAFETY: as the caller vouches.
    unsafe {
        let mut acc = [[S::splat(0.0); CHAINS]; N];
        let row: [*const f32; N] = std::array::from_fn(|r| x.add((first + r.min(count - 1)) * cols));
        let whole = cols - cols % CHAINS;
        for k in (0..whole).step_by(CHAINS) {
            if N == 1 {
                // Reading is all the work, and processors that fetch ahead by themselves stop at the end of each 4 KiB.
                for line in (0..CHAINS * LANES * W::BYTES).step_by(LINE) {
                    S::prefetch(tile.wrapping_add(k * LANES * W::BYTES + AHEAD_BYTES + line));
                }
            }
            for chain in 0..CHAINS {
                let weights = W::load::<S>(tile.add((k + chain) * LANES * W::BYTES));
                for r in 0..N {
                    acc[r][chain] = S::fma(weights, S::splat(*row[r].add(k + chain)), acc[r][chain]);
                }
            }
        }
        for k in whole..cols {
            let weights = W::load::<S>(tile.add(k * LANES * W::BYTES));
            for r in 0..N {
                acc[r][0] = S::fma(weights, S::splat(*row[r].add(k)), acc[r][0]);
            }
        }
        for (r, chains) in acc.iter().enumerate().take(count) {
            let sum = S::add(S::add(chains[0], chains[1]), S::add(chains[2], chains[3]));
            sink.write::<S>(first + r, sum);
        }
    }
}
