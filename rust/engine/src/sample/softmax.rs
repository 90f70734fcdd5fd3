//! Passes over a row of logits: maximum, exponentials, log-softmax, the k largest. Knows no options.
//!
//! Written as loops over lanes, so that the compiler makes vector code of them; the order of additions is fixed.
use std::cmp::Ordering;

use crate::batch::TokenId;

/// Below this an exponential counts for nothing in 32 bits.
pub const FLOOR: f32 = -87.0;

const LANES: usize = 16;
/// Lanes are added up in 64 bits after this many values.
const BLOCK: usize = 1024;

/// The largest logit, or nothing if the row is empty or holds a value that is not finite.
pub fn peak(logits: &[f32]) -> Option<f32> {
    let mut largest = [f32::NEG_INFINITY; LANES];
    // 0 * x is 0 for every finite x and NaN for the others.
    let mut zero = [0.0f32; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            largest[lane] = if chunk[lane] > largest[lane] { chunk[lane] } else { largest[lane] };
            zero[lane] += chunk[lane] * 0.0;
        }
    }
    let peak = largest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    let finite = zero.iter().sum::<f32>() == 0.0 && rest.iter().all(|x| x.is_finite());
    (finite && peak.is_finite()).then_some(peak)
}

/// `weights[i] = exp(max((logits[i] - peak) * scale, FLOOR))`; returns their sum.
pub fn exponentials(logits: &[f32], peak: f32, scale: f32, weights: &mut Vec<f32>) -> f64 {
    weights.clear();
    weights.extend(logits.iter().map(|&logit| exp(scaled(logit, peak, scale))));
    sum(weights.iter().copied())
}

/// A logit under a temperature of `1 / scale`, relative to the largest.
pub fn scaled(logit: f32, peak: f32, scale: f32) -> f32 {
    let value = (logit - peak) * scale;
    if value > FLOOR { value } else { FLOOR }
}

/// `ln(sum(exp(logits)))`.
pub fn log_sum_exp(logits: &[f32], peak: f32) -> f64 {
    let mut total = 0.0f64;
    for block in logits.chunks(BLOCK) {
        let mut lanes = [0.0f32; LANES];
        for chunk in block.chunks(LANES) {
            for (lane, &logit) in lanes.iter_mut().zip(chunk) {
                *lane += exp(scaled(logit, peak, 1.0));
            }
        }
        total += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
    }
    f64::from(peak) + total.ln()
}

/// `e^x` for `x` in `FLOOR..=0` with a relative error under 3e-7.
///
/// Not the C library's: this one becomes vector code, and is the same on every machine.
pub fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_145_75;
    const LN_2_LOW: f32 = 1.428_606_8e-6;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = (x - whole * LN_2_HIGH) - whole * LN_2_LOW;
    let tail = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0)));
    let fraction = 1.0 + r * (1.0 + r * (0.5 + r * tail));
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    fraction * f32::from_bits(exponent << 23)
}

/// Sum in 64 bits.
pub fn sum(values: impl Iterator<Item = f32>) -> f64 {
    values.map(f64::from).sum()
}

/// The `k` largest with their places, largest first; of equals the lowest place first.
pub fn largest(logits: &[f32], k: usize, found: &mut Vec<(TokenId, f32)>) {
    found.clear();
    if k == 0 {
        return;
    }
    let room = k.max(64) * 2;
    let mut threshold = f32::NEG_INFINITY;
    for (id, &logit) in (0..).zip(logits) {
        // Equals that come later have higher places, so they lose against the k found already.
        if logit > threshold || found.len() < k {
            found.push((id, logit));
            if found.len() == room {
                found.select_nth_unstable_by(k - 1, descending);
                found.truncate(k);
                threshold = found[k - 1].1;
            }
        }
    }
    found.sort_unstable_by(descending);
    found.truncate(k);
}

fn descending(a: &(TokenId, f32), b: &(TokenId, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exp_is_as_close_as_promised() {
        for step in 0..=870_000 {
            let x = step as f32 * -1e-4;
            let right = f64::from(x).exp();
            assert!((f64::from(exp(x)) / right - 1.0).abs() < 3e-7, "e^{x}");
        }
    }

    #[test]
    fn peak_sees_what_is_not_finite_wherever_it_stands() {
        for len in [1, 15, 16, 17, 40] {
            for place in 0..len {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut row = vec![1.0; len];
                    row[place] = bad;
                    assert_eq!(peak(&row), None, "{bad} at {place} of {len}");
                }
            }
        }
        assert_eq!(peak(&[]), None);
    }

    proptest! {
        #[test]
        fn passes_agree_with_the_obvious_ones(row in prop::collection::vec(-60.0f32..60.0, 1..3000)) {
            let top = row.iter().copied().fold(f32::MIN, f32::max);
            prop_assert_eq!(peak(&row), Some(top));
            let right = row.iter().map(|&x| f64::from(x - top).exp()).sum::<f64>().ln() + f64::from(top);
            prop_assert!((log_sum_exp(&row, top) - right).abs() < 1e-5);
        }

        #[test]
        fn largest_agrees_with_sorting(row in prop::collection::vec((-40i8..40).prop_map(f32::from), 0..900), k in 0usize..200) {
            let mut right: Vec<(TokenId, f32)> = (0..).zip(row.iter().copied()).collect();
            right.sort_by(descending);
            right.truncate(k);
            let mut found = Vec::new();
            largest(&row, k, &mut found);
            prop_assert_eq!(found, right);
        }
    }
}
