//! Few rows: packed weights are unpacked in registers, once for a panel of rows. Memory bandwidth is the limit.
use super::{Ahead, Rows, Sink, add_group};
use crate::{
    activations::PANEL,
    packed::{Codes, Packed, Walk},
    simd::{LANES, Simd},
};

/// The most rows that share one pass over the weights.
pub const MAX_ROWS: usize = PANEL;

/// The body once for each row below `$n`, written out: a loop of this size the compiler keeps, and the sums go through memory.
macro_rules! for_each_row {
    ($r:ident in $n:ident => $body:block) => {
        for_each_row!($r, $n, $body, 0, 1, 2, 3)
    };
    ($r:ident, $n:ident, $body:block, $($i:literal),*) => {
        $({
            let $r = $i;
            if $r < $n $body
        })*
    };
}

/// One tile times `count` rows from `first` on, which begins a panel; `count <= R`. `ahead` has a step for each group.
///
/// # Safety
/// As [`Simd`]; the tile must hold `rows.groups` groups, the rows must exist, `sink` must be writable for them.
#[inline(always)]
pub unsafe fn tile<S: Simd, P: Packed, const R: usize>(
    tile: *const u8,
    rows: Rows,
    first: usize,
    count: usize,
    mut ahead: Ahead,
    sink: Sink,
) {
    // SAFETY: as the caller vouches.
    unsafe {
        let mut acc = [S::splat(0.0); R];
        let mut walk = Walk::<S, P>::new(tile);
        for group in 0..rows.groups {
            ahead.fetch::<S>();
            let (weights, codes) = walk.next(group);
            let chunks = P::Codes::chunks::<S>(codes);
            let x = rows.group(first, group);
            let mut sums = [[S::no_products(); 2]; R];
            for c in 0..chunks.len() {
                for_each_row!(r in R => {
                    let half = c / (chunks.len() / 2);
                    sums[r][half] = S::dot(sums[r][half], chunks[c], x[r].codes.as_ptr().add(4 * c), P::Codes::BITS);
                });
            }
            for_each_row!(r in R => { acc[r] = add_group::<S, P>(acc[r], sums[r], &weights, &x[r]) });
        }
        // Indexed by constants only, the sums stay in registers until here.
        let mut sums = [[0.0; LANES]; R];
        for_each_row!(r in R => { S::store(acc[r], sums[r].as_mut_ptr()) });
        for (r, sums) in sums.iter().enumerate().take(count) {
            sink.write::<S>(first + r, S::load(sums.as_ptr()));
        }
    }
}
