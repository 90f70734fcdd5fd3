//! Random numbers by place instead of by turn: there is no state, so what a choice draws cannot depend on what runs
//! beside it.
use std::hash::{BuildHasher, Hasher, RandomState};

/// 2^64 divided by the golden ratio; splitmix64's step.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A number in `[0, 1)` for one token of one choice: entry `position` of the splitmix64 stream of (seed, choice).
pub fn uniform(seed: u64, choice: u64, position: u64) -> f64 {
    let stream = mix(mix(seed.wrapping_add(STEP)) ^ choice.wrapping_add(1).wrapping_mul(STEP));
    let bits = mix(stream.wrapping_add(position.wrapping_add(1).wrapping_mul(STEP)));
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A seed that nobody can foretell, for requests that bring none.
pub fn fresh_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The output function of splitmix64 (Steele, Lea and Flood 2014; Stafford's variant 13).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mix_is_splitmix64() {
        // First outputs of the published generator for seed 1234567.
        let outputs: Vec<u64> =
            (1..=3).map(|turn: u64| mix(1_234_567u64.wrapping_add(turn.wrapping_mul(STEP)))).collect();
        assert_eq!(outputs, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn neighbours_are_uniform_and_uncorrelated() {
        for axis in 0..3 {
            let draw = |i: u64| uniform([i, 7, 7][axis], [7, i, 7][axis], [7, 7, i][axis]);
            let draws: Vec<f64> = (0..20_000).map(draw).collect();
            assert!(draws.iter().all(|u| (0.0..1.0).contains(u)));
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let products: f64 = draws.windows(2).map(|pair| (pair[0] - 0.5) * (pair[1] - 0.5)).sum();
            // Standard deviations: 0.289 / sqrt(20000) = 0.002 and 1/12 / sqrt(20000) = 0.0006.
            assert!((mean - 0.5).abs() < 0.01, "axis {axis}: mean {mean}");
            assert!((products / draws.len() as f64).abs() < 0.003, "axis {axis}: correlation");
        }
    }
}
