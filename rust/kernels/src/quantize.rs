//! f32 weights to our own 8, 6 and 4 bit formats. Knows no layout.
//!
//! Loops run over 32 floats, codes among them, and use only what every processor does on whole vectors.
use half::f16;

use crate::{
    decode::GROUP_VALUES,
    packed::{Group, RowScale},
};

type Weights = [f32; GROUP_VALUES];
/// Whole numbers.
type Codes = [f32; GROUP_VALUES];

/// Signed 8 bits: `code = round(w / d) + 128`, `d = max|w| / 127` in f16.
pub fn q8(weights: &Weights) -> Group {
    let d = round_f16(largest(weights) / 127.0);
    let codes = nearest(weights, 0.0, inverse(d), [-127.0, 127.0]);
    Group { codes: codes.map(|code| (code + 128.0) as u8), d, ..Group::ZERO }
}

/// A row of groups of signed 6 bits: the scale of each fitted, then rounded to 8 bits under the row's own.
pub fn q6_row(weights: &[f32]) -> Vec<Group> {
    row::<Symmetric>(weights)
}

/// A row of groups of 4 bits: scale and minimum of each fitted, then rounded to 8 bits under the row's own scale.
pub fn q4_row(weights: &[f32]) -> Vec<Group> {
    row::<Affine>(weights)
}

/// The groups of a row, the last padded with zeros.
pub fn groups(weights: &[f32]) -> impl Iterator<Item = Weights> {
    weights.chunks(GROUP_VALUES).map(|chunk| {
        let mut group = [0.0; GROUP_VALUES];
        group[..chunk.len()].copy_from_slice(chunk);
        group
    })
}

/// A way to say `w` as `scale * code + constant`.
trait Fit: Copy {
    /// Covers all weights.
    fn plain(weights: &Weights) -> Self;
    /// Where the search begins.
    fn starts(weights: &Weights) -> impl Iterator<Item = Self>;
    /// The fit of least squares for the codes that this one chooses.
    fn refined(self, weights: &Weights) -> Self;
    fn error(&self, weights: &Weights) -> f32;
    fn scale(&self) -> f32;
    /// The nearest that can be stored under the row's scale, with codes to suit.
    fn rounded(&self, weights: &Weights, d: f32) -> Group;
}

fn row<F: Fit>(weights: &[f32]) -> Vec<Group> {
    let fits: Vec<F> = groups(weights).map(|group| best(&group)).collect();
    let largest = fits.iter().map(Fit::scale).fold(0.0f32, f32::max);
    let d = row_unit(largest);
    groups(weights).zip(&fits).map(|(group, fit)| fit.rounded(&group, d)).collect()
}

/// Never worse than the plain fit. Each start is refined once, the best of them twice more.
fn best<F: Fit>(weights: &Weights) -> F {
    let plain = F::plain(weights);
    let mut best = (plain, plain.error(weights));
    let keep_better = |best: &mut (F, f32), fit: F| {
        let error = fit.error(weights);
        if error < best.1 {
            *best = (fit, error);
        }
    };
    for start in F::starts(weights) {
        keep_better(&mut best, start.refined(weights));
    }
    for _ in 0..2 {
        let again = best.0.refined(weights);
        keep_better(&mut best, again);
    }
    best.0
}

/// `value = scale * code`, codes from -31 to 31, stored 32 higher.
#[derive(Clone, Copy)]
struct Symmetric {
    scale: f32,
}

impl Symmetric {
    fn codes(&self, weights: &Weights) -> Codes {
        nearest(weights, 0.0, inverse(self.scale), [-31.0, 31.0])
    }
}

impl Fit for Symmetric {
    fn plain(weights: &Weights) -> Self {
        Self { scale: largest(weights) / 31.0 }
    }

    fn starts(weights: &Weights) -> impl Iterator<Item = Self> {
        let plain = Self::plain(weights).scale;
        [0.82, 0.87, 0.91, 0.95, 1.0, 1.03].into_iter().map(move |factor| Self { scale: plain * factor })
    }

    fn refined(self, weights: &Weights) -> Self {
        Self { scale: through_origin(&self.codes(weights), weights, 0.0).unwrap_or(self.scale) }
    }

    fn error(&self, weights: &Weights) -> f32 {
        squared_error(weights, &self.codes(weights), self.scale, 0.0)
    }

    fn scale(&self) -> f32 {
        self.scale
    }

    fn rounded(&self, weights: &Weights, d: f32) -> Group {
        let scale = eight_bits(self.scale, d);
        let codes = Self { scale: d * scale }.codes(weights);
        Group { codes: codes.map(|code| (code + 32.0) as u8), d, scale: [scale as i32; 2], ..Group::ZERO }
    }
}

/// `value = scale * code - minus_min`, codes from 0 to 15. A minimum above zero cannot be stored.
#[derive(Clone, Copy)]
struct Affine {
    scale: f32,
    minus_min: f32,
}

impl Affine {
    fn codes(&self, weights: &Weights) -> Codes {
        nearest(weights, self.minus_min, inverse(self.scale), [0.0, 15.0])
    }
}

impl Fit for Affine {
    fn plain(weights: &Weights) -> Self {
        let Ends { low, high } = Ends::of(weights);
        Self { scale: (high - low) / 15.0, minus_min: -low }
    }

    /// Narrower by several factors, at one end or at the other.
    fn starts(weights: &Weights) -> impl Iterator<Item = Self> {
        let Ends { low, high } = Ends::of(weights);
        [0.75, 0.825, 0.9, 0.975, 1.05].into_iter().flat_map(move |factor| {
            let range = (high - low) * factor;
            [-low, (range - high).max(0.0)].map(|minus_min| Self { scale: range / 15.0, minus_min })
        })
    }

    /// The line through (code, weight).
    fn refined(self, weights: &Weights) -> Self {
        let codes = self.codes(weights);
        let n = GROUP_VALUES as f32;
        let (c, w) = (sum(&codes, |_, code| code), sum(weights, |_, weight| weight));
        let (cc, cw) = (sum(&codes, |_, code| code * code), sum(&codes, |i, code| code * weights[i]));
        let determinant = n * cc - c * c;
        let scale = (n * cw - c * w) / determinant;
        let minus_min = (scale * c - w) / n;
        if determinant > 0.0 && scale > 0.0 && minus_min >= 0.0 {
            return Self { scale, minus_min };
        }
        through_origin(&codes, weights, 0.0).map_or(self, |scale| Self { scale, minus_min: 0.0 })
    }

    fn error(&self, weights: &Weights) -> f32 {
        squared_error(weights, &self.codes(weights), self.scale, self.minus_min)
    }

    fn scale(&self) -> f32 {
        self.scale
    }

    fn rounded(&self, weights: &Weights, d: f32) -> Group {
        let dmin = d * RowScale::MIN_STEPS;
        let min = eight_bits(self.minus_min, dmin);
        let minus_min = dmin * min;
        // The scale that suits the minimum as it is stored.
        let codes = Self { minus_min, ..*self }.codes(weights);
        let scale = eight_bits(through_origin(&codes, weights, minus_min).unwrap_or(self.scale), d);
        let codes = Self { scale: d * scale, minus_min }.codes(weights);
        Group { codes: codes.map(|code| code as u8), d, dmin, scale: [scale as i32; 2], min: [min as i32; 2] }
    }
}

/// The smallest and the largest weight, zero counted among them.
struct Ends {
    low: f32,
    high: f32,
}

impl Ends {
    fn of(weights: &Weights) -> Self {
        let low = fold(weights, |w| if w < 0.0 { w } else { 0.0 }, |a, b| if a < b { a } else { b });
        let high = fold(weights, |w| if w > 0.0 { w } else { 0.0 }, |a, b| if a > b { a } else { b });
        Self { low, high }
    }
}

/// What the scales of a row are multiples of: 255 of it come nearest to the `largest`. Among the subnormal f16 the nearest may
/// be too small by more than the half step that `eight_bits` makes good; then it is the next.
fn row_unit(largest: f32) -> f32 {
    let nearest = f16::from_f32(largest / 255.0 / RowScale::UNIT);
    let reaches = 255.5 * RowScale::UNIT * nearest.to_f32() >= largest;
    let unit = if reaches { nearest } else { f16::from_bits(nearest.to_bits() + 1) };
    unit.to_f32() * RowScale::UNIT
}

fn round_f16(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

fn inverse(scale: f32) -> f32 {
    if scale > 0.0 { 1.0 / scale } else { 0.0 }
}

fn eight_bits(value: f32, unit: f32) -> f32 {
    (value * inverse(unit)).round().min(255.0)
}

/// `(w + addend) * inverse` in `limits`, to the nearest integer.
#[inline(always)]
fn nearest(weights: &Weights, addend: f32, inverse: f32, [low, high]: [f32; 2]) -> Codes {
    // Added and taken away, 1.5 * 2^23 leaves no room for a fraction. `f32::round_ties_even` is a call on older processors.
    const ROUNDING: f32 = 12_582_912.0;
    weights.map(|w| {
        let code = (w + addend) * inverse;
        let code = if code > low { code } else { low };
        let code = if code < high { code } else { high };
        code + ROUNDING - ROUNDING
    })
}

/// The scale of least squares of a line that passes through zero where the weight is `-addend`, if there is one.
#[inline(always)]
fn through_origin(codes: &Codes, weights: &Weights, addend: f32) -> Option<f32> {
    let cc = sum(codes, |_, code| code * code);
    let cw = sum(codes, |i, code| code * (weights[i] + addend));
    (cc > 0.0 && cw > 0.0).then(|| cw / cc)
}

#[inline(always)]
fn squared_error(weights: &Weights, codes: &Codes, scale: f32, minus_min: f32) -> f32 {
    sum(codes, |i, code| {
        let error = weights[i] + minus_min - scale * code;
        error * error
    })
}

fn largest(weights: &Weights) -> f32 {
    fold(weights, f32::abs, |a, b| if a > b { a } else { b })
}

#[inline(always)]
fn sum(values: &[f32; GROUP_VALUES], of: impl Fn(usize, f32) -> f32) -> f32 {
    let mut indexed = [0.0; GROUP_VALUES];
    for i in 0..GROUP_VALUES {
        indexed[i] = of(i, values[i]);
    }
    fold(&indexed, |value| value, |a, b| a + b)
}

/// All values of a group as one, in eight chains that a vector holds.
#[inline(always)]
fn fold(values: &[f32; GROUP_VALUES], of: impl Fn(f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    const CHAINS: usize = 8;
    let mut chains: [f32; CHAINS] = std::array::from_fn(|i| of(values[i]));
    for chunk in values[CHAINS..].as_chunks::<CHAINS>().0 {
        for (chain, &value) in chains.iter_mut().zip(chunk) {
            *chain = join(*chain, of(value));
        }
    }
    chains.into_iter().reduce(join).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A fit that anyone would begin with: in f32, nothing rounded but the codes.
    fn plain_error(weights: &Weights, low: f32, levels: f32, scale: f32) -> f64 {
        let error = |w: &f32| {
            let code = if scale > 0.0 { ((w - low) / scale).round().clamp(0.0, levels) } else { 0.0 };
            f64::from(w - (low + scale * code)).powi(2)
        };
        weights.iter().map(error).sum::<f64>().sqrt()
    }

    fn stored_error(weights: &Weights, group: &Group, offset: i32) -> f64 {
        let value = |code: u8| {
            group.d * group.scale[0] as f32 * (i32::from(code) - offset) as f32 - group.dmin * group.min[0] as f32
        };
        weights.iter().zip(group.codes).map(|(w, code)| f64::from(w - value(code)).powi(2)).sum::<f64>().sqrt()
    }

    fn row_of_weights() -> impl Strategy<Value = Vec<f32>> {
        let weight = prop_oneof![4 => -1.0f32..1.0, 1 => -30.0f32..30.0, 1 => Just(0.0)];
        (prop::collection::vec(weight, 1..200), prop_oneof![Just(1.0f32), Just(1e-4), Just(2e3)], -1i32..2).prop_map(
            |(weights, size, sign)| {
                weights.iter().map(|w| size * if sign == 0 { *w } else { w.abs() * sign as f32 }).collect()
            },
        )
    }

    /// No group is worse than the plain fit by more than rounding its scale and minimum can cost.
    fn assert_near_the_plain_fit(weights: &[f32]) {
        for (group, stored) in groups(weights).zip(q4_row(weights)) {
            let low = group.iter().fold(0.0f32, |low, w| low.min(*w));
            let high = group.iter().fold(0.0f32, |high, w| high.max(*w));
            let step = 15.0 * stored.d / 2.0 + RowScale::MIN_STEPS * stored.d / 2.0;
            let allowed = plain_error(&group, low, 15.0, (high - low) / 15.0) + f64::from(step) * 32f64.sqrt();
            assert!(stored_error(&group, &stored, 0) <= allowed * 1.001);
        }
        for (group, stored) in groups(weights).zip(q6_row(weights)) {
            let high = largest(&group);
            let allowed =
                plain_error(&group, -high, 62.0, high / 31.0) + f64::from(31.0 * stored.d / 2.0) * 32f64.sqrt();
            assert!(stored_error(&group, &stored, 32) <= allowed * 1.001);
        }
    }

    /// Their row's unit is a subnormal f16, and so coarse that 255 of the nearest stay below the scale.
    #[test]
    fn weights_near_the_smallest_that_can_be_stored() {
        for weight in [3.361_355_3e-5, 6e-8, 1e-30] {
            assert_near_the_plain_fit(&[weight]);
        }
    }

    proptest! {
        #[test]
        fn never_worse_than_the_plain_fit(weights in row_of_weights()) {
            assert_near_the_plain_fit(&weights);
        }

        /// Whatever the bits of the weights: no panic, codes in range, the same groups again.
        #[test]
        fn any_bits_give_codes_in_range(bits in prop::collection::vec(any::<u32>(), 1..100)) {
            let weights: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            for (group, again) in q4_row(&weights).iter().zip(q4_row(&weights)) {
                prop_assert!(group.codes.iter().all(|&code| code < 16));
                prop_assert!((0..256).contains(&group.scale[0]) && (0..256).contains(&group.min[0]));
                prop_assert_eq!((group.codes, group.scale, group.min), (again.codes, again.scale, again.min));
            }
            prop_assert!(q6_row(&weights).iter().all(|group| group.codes.iter().all(|code| (1..64).contains(code))));
            prop_assert!(groups(&weights).all(|group| q8(&group).codes.iter().all(|&code| code > 0)));
        }
    }

    /// Sums of twelve uniform numbers are nearly Gaussian, as trained weights are.
    #[test]
    fn the_search_saves_an_eighth_of_the_squared_error() {
        let mut state = 1u32;
        let mut uniform = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 16_777_216.0
        };
        let weights: Vec<f32> = (0..32 * 256).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect();
        let (mut stored, mut plain) = (0.0, 0.0);
        for (group, found) in groups(&weights).zip(q4_row(&weights)) {
            let Ends { low, high } = Ends::of(&group);
            plain += plain_error(&group, low, 15.0, (high - low) / 15.0).powi(2);
            stored += stored_error(&group, &found, 0).powi(2);
        }
        assert!(stored < 0.875 * plain, "{stored} {plain}");
    }

    #[test]
    fn the_largest_f16_and_nothing_at_all_survive() {
        let most = f16::MAX.to_f32();
        for weights in
            [[most; 32], [-most; 32], [0.0; 32], std::array::from_fn(|i| if i % 2 == 0 { most } else { -most })]
        {
            for (stored, offset) in [(q4_row(&weights), 0), (q6_row(&weights), 32)] {
                let error = stored_error(&weights, &stored[0], offset);
                assert!(error <= 0.005 * f64::from(most) * 32f64.sqrt(), "{error}");
            }
        }
    }
}
