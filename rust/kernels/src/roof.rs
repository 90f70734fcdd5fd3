//! The loops that show what a machine can do at most. What they compute, nobody needs.
use std::hint::black_box;

use crate::simd::{LANES, Simd};

/// Independent sums in a loop of dot operations. Few leave the processor waiting for its own results, many do not fit into
/// its registers; which is best differs, so all are tried.
pub const CHAINS: [usize; 3] = [FEW, SOME, MANY];
pub const FEW: usize = 4;
pub const SOME: usize = 8;
pub const MANY: usize = 12;
/// Multiply-adds of one dot operation.
pub const DOT: usize = 4 * LANES;
/// Dot operations of a chain in a step, as in half a group.
pub const RUN: usize = 4;
const CODES: [u8; 2] = [7, 6];
/// Of the formats that most weights have.
const CODE_BITS: u32 = 4;
/// Four for every two chains.
const ACTIVATIONS: [i8; 2 * MANY] = {
    let mut values = [0; 2 * MANY];
    let mut at = 0;
    while at < values.len() {
        values[at] = at as i8 - 9;
        at += 1;
    }
    values
};
/// Places that are read in turn: a processor fetches ahead for each, and gets more from memory than for one alone.
pub const STREAMS: usize = 4;
/// Vectors read in one place before the next has its turn.
const READS: usize = 4;
const VECTOR: usize = 64;

/// `steps` times [`RUN`] dot operations in `N` chains that never leave the registers, but for the four activations that two of
/// them share.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn dots<S: Simd, const N: usize>(steps: usize) -> i32 {
    let codes = black_box([[CODES[0]; VECTOR], [CODES[1]; VECTOR]]);
    // SAFETY: 64 bytes are read from each vector of codes, four from each place in `ACTIVATIONS`, which has one for every
    // two chains.
    unsafe {
        let codes = [S::codes(codes[0].as_ptr()), S::codes(codes[1].as_ptr())];
        let mut sums = [S::splat_i32(0); N];
        for _ in 0..steps {
            // Opaque, so that the compiler does not work out the result instead.
            let activations = black_box(ACTIVATIONS.as_ptr());
            let mut products = [S::no_products(); N];
            for _ in 0..RUN {
                for chain in 0..N {
                    let activations = activations.add(4 * (chain / 2));
                    products[chain] = S::dot(products[chain], codes[chain % 2], activations, CODE_BITS);
                }
            }
            for chain in 0..N {
                sums[chain] = S::add_products(sums[chain], products[chain], 0, CODE_BITS);
            }
        }
        sums.into_iter().map(|sum| S::sum_i32(sum)).fold(0, i32::wrapping_add)
    }
}

/// Reads all bytes, in as many streams as divide them into equal parts; what is left after whole kilobytes stays unread.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn read<S: Simd>(bytes: &[u8]) -> u8 {
    let part = bytes.len() / STREAMS / (READS * VECTOR) * (READS * VECTOR);
    // SAFETY: every stream reads whole vectors inside its own part.
    unsafe {
        let mut seen = [S::codes([0; VECTOR].as_ptr()); STREAMS];
        for step in (0..part).step_by(READS * VECTOR) {
            for stream in 0..STREAMS {
                let at = bytes.as_ptr().add(stream * part + step);
                for vector in 0..READS {
                    seen[stream] = S::or(seen[stream], S::codes(at.add(vector * VECTOR)));
                }
            }
        }
        let mut out = [0; VECTOR];
        S::store_codes(seen.into_iter().reduce(|a, b| S::or(a, b)).unwrap_or(seen[0]), out.as_mut_ptr());
        out.into_iter().fold(0, |all, byte| all | byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set;

    #[test]
    fn every_dot_operation_counts() {
        for set in set::available() {
            for chains in CHAINS {
                let step: i32 = (0..chains)
                    .map(|chain| {
                        let four: i32 = ACTIVATIONS[4 * (chain / 2)..][..4].iter().map(|&value| i32::from(value)).sum();
                        (RUN * LANES) as i32 * i32::from(CODES[chain % 2]) * four
                    })
                    .sum();
                for steps in [0, 1, 1000] {
                    let name = set.name();
                    assert_eq!(set.dots(chains, steps), step * steps as i32, "{name}: {chains} chains, {steps} steps");
                }
            }
        }
    }

    #[test]
    fn every_byte_is_read() {
        let mut bytes = vec![0u8; 3 * STREAMS * READS * VECTOR];
        for set in set::available() {
            assert_eq!(set.read(&bytes), 0, "{}", set.name());
            for at in 0..bytes.len() {
                bytes[at] = 1 << (at % 8);
                assert_eq!(set.read(&bytes), bytes[at], "{}: byte {at}", set.name());
                bytes[at] = 0;
            }
        }
    }
}
