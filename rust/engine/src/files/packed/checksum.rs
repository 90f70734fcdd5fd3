//! A checksum that runs at memory speed: finds damage, not malice (who can write the packed file can write the model).

const LANES: usize = 8;
/// Odd, so that multiplying is a bijection and one changed word always changes its lane.
const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;

/// Eight independent multiplicative hashes over 64-bit words, folded at the end.
pub fn of(bytes: &[u8]) -> u64 {
    let mut lanes = [0u64; LANES];
    let (stripes, rest) = bytes.as_chunks::<{ LANES * 8 }>();
    for stripe in stripes {
        mix(&mut lanes, stripe);
    }
    let mut last = [0; LANES * 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(&mut lanes, &last);
    lanes.iter().fold(bytes.len() as u64, |sum, lane| (sum.rotate_left(23) ^ lane).wrapping_mul(PRIME))
}

fn mix(lanes: &mut [u64; LANES], stripe: &[u8; LANES * 8]) {
    for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks().0) {
        *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME).rotate_left(29);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_bit_and_any_length_changes_it() {
        let bytes: Vec<u8> = (0..200u8).collect();
        let sum = of(&bytes);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(&changed), sum, "bit {bit}");
        }
        let zeros = [0u8; 130];
        let mut sums: Vec<u64> = (0..zeros.len()).map(|len| of(&zeros[..len])).collect();
        sums.sort_unstable();
        sums.dedup();
        assert_eq!(sums.len(), zeros.len());
    }
}
