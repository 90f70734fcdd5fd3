//! Few rows: packed weights are unpacked in registers, once for up to eight rows. Memory bandwidth is the limit.
use super::{Rows, Sink, add_group};
use crate::{
    activations::PANEL,
    packed::{Codes, Packed, Walk},
    simd::{LANES, Simd},
};

/// The most rows that share one pass over the weights.
pub const MAX_ROWS: usize = 8;

/// The body once for each row below `$n`, written out: a loop of this size the compiler keeps, and the sums go through memory.
macro_rules! for_each_row {
    ($r:ident in $n:ident => $body:block) => {
        for_each_row!($r, $n, $body, 0, 1, 2, 3, 4, 5, 6, 7)
    };
    ($r:ident, $n:ident, $body:block, $($i:literal),*) => {
        $({
            let $r = $i;
            if $r < $n $body
        })*
    };
}

/// One tile times `count` rows from `first` on, which begins a panel; `count <= R`, and all panels of `R` rows must exist.
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
            for_each_row!(r in R => {
                let x = &rows.group(first + r, group)[r % PANEL];
                let codes = x.codes.as_ptr();
                let int = [dots::<S, P>(&chunks[..4], codes), dots::<S, P>(&chunks[4..], codes.add(LANES))];
                acc[r] = add_group::<S, P>(acc[r], int, &weights, x);
            });
        }
        // Indexed by constants only, the sums stay in registers until here.
        let mut sums = [[0.0; LANES]; R];
        for_each_row!(r in R => { S::store(acc[r], sums[r].as_mut_ptr()) });
        for (r, sums) in sums.iter().enumerate().take(count) {
            sink.write::<S>(first + r, S::load(sums.as_ptr()));
        }
    }
}

/// The integer sum of one half of a group.
#[inline(always)]
unsafe fn dots<S: Simd, P: Packed>(chunks: &[S::Codes], codes: *const i8) -> S::I32 {
    // SAFETY: no memory is touched.
    let mut int = unsafe { S::splat_i32(0) };
    for (c, &chunk) in chunks.iter().enumerate() {
        // SAFETY: as the caller of `tile` vouches: four codes for each chunk.
        int = unsafe { S::dot(int, chunk, codes.add(4 * c), P::Codes::WIDE) };
    }
    int
}
