//! Few rows: packed weights are unpacked in registers, once for up to eight rows. Memory bandwidth is the limit.
use super::{Rows, Sink, accumulate, start};
use crate::{
    packed::{Codes, Packed, Scales, Walk},
    simd::Simd,
};

/// The most rows that share one pass over the weights.
pub const MAX_ROWS: usize = 8;

/// One tile times `count` rows from `first` on, `count <= R`; the surplus repeats the last row and is dropped.
///
/// # Safety
/// As [`Simd`]; the tile must hold `rows.groups` groups, the rows must exist, `sink` must be writable for them.
#[inline(always)]
pub unsafe fn tile<S: Simd, P: Packed, const R: usize>(
    tile: *const u8,
    rows: Rows,
    first: usize,
    count: usize,
    sink: Sink,
) {
    // SAFETY: as the caller vouches.
    unsafe {
        let mut acc = [S::splat(0.0); R];
        let mut walk = Walk::<S, P>::new(tile);
        for group in 0..rows.groups {
            let (weights, codes) = walk.next(group);
            let chunks = P::Codes::chunks::<S>(codes);
            for r in 0..R {
                let row = first + r.min(count - 1);
                let (codes, sums) = (rows.codes(row, group), rows.sums(row, group));
                if P::Scales::HALVES {
                    for which in 1..3 {
                        let mut int = start::<S, P>(sums.negated[which]);
                        for c in 4 * (which - 1)..4 * which {
                            int = S::dot(int, chunks[c], codes.add(4 * c), P::Codes::WIDE);
                        }
                        acc[r] = accumulate::<S, P>(acc[r], int, &weights, sums, which);
                    }
                } else {
                    let mut int = start::<S, P>(sums.negated[0]);
                    for (c, &chunk) in chunks.iter().enumerate() {
                        int = S::dot(int, chunk, codes.add(4 * c), P::Codes::WIDE);
                    }
                    acc[r] = accumulate::<S, P>(acc[r], int, &weights, sums, 0);
                }
            }
        }
        for (r, &value) in acc.iter().enumerate().take(count) {
            sink.write::<S>(first + r, value);
        }
    }
}
