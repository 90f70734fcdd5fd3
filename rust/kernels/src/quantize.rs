//! f32 weights to our own 8, 6 and 4 bit formats. Knows no layout.
use half::f16;

use crate::{
    decode::GROUP_VALUES,
    packed::{ByRow, Group},
};

type Weights = [f32; GROUP_VALUES];

/// Candidates around the plain scale, as factors.
const FACTORS: [f32; 13] = [1.0, 0.7, 0.75, 0.8, 0.84, 0.88, 0.91, 0.94, 0.97, 1.03, 1.06, 1.1, 1.15];

/// Signed 8 bits: `code = round(w / d) + 128`, `d = max|w| / 127` in f16.
pub fn q8(weights: &Weights) -> Group {
    let d = round_f16(largest(weights) / 127.0);
    symmetric(weights, d, 127, 128)
}

/// Signed 6 bits: the scale with the least squared error among a few.
pub fn q6(weights: &Weights) -> Group {
    let plain = largest(weights) / 31.0;
    let candidates = FACTORS.map(|factor| symmetric(weights, round_f16(plain * factor), 31, 32));
    best(candidates, |group| squared_error(weights, |i| group.d * (f32::from(group.codes[i]) - 32.0)))
}

/// A row of 4-bit groups: scale and minimum of each group fitted, then rounded to 8 bits under the row's own scales.
pub fn q4_row(weights: &[f32]) -> Vec<Group> {
    let fits: Vec<Fit> = groups(weights).map(|group| Fit::best(&group)).collect();
    let largest = |of: fn(&Fit) -> f32| fits.iter().map(of).fold(0.0, f32::max);
    let unit = |largest: f32| round_f16(largest / 255.0 / ByRow::UNIT) * ByRow::UNIT;
    let (d, dmin) = (unit(largest(|fit| fit.scale)), unit(largest(|fit| fit.minus_min)));
    groups(weights).zip(&fits).map(|(group, fit)| fit.rounded(&group, d, dmin)).collect()
}

/// The groups of a row, the last padded with zeros.
pub fn groups(weights: &[f32]) -> impl Iterator<Item = Weights> {
    weights.chunks(GROUP_VALUES).map(|chunk| {
        let mut group = [0.0; GROUP_VALUES];
        group[..chunk.len()].copy_from_slice(chunk);
        group
    })
}

fn round_f16(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

fn largest(weights: &Weights) -> f32 {
    weights.iter().fold(0.0f32, |m, w| m.max(w.abs()))
}

fn symmetric(weights: &Weights, d: f32, limit: i32, offset: i32) -> Group {
    let inverse = if d > 0.0 { 1.0 / d } else { 0.0 };
    let code = |w: f32| ((w * inverse).round_ties_even() as i32).clamp(-limit, limit) + offset;
    Group { codes: weights.map(|w| code(w) as u8), d, dmin: 0.0, scale: [1; 2], min: [0; 2] }
}

fn squared_error(weights: &Weights, value: impl Fn(usize) -> f32) -> f32 {
    weights.iter().enumerate().map(|(i, w)| (w - value(i)).powi(2)).sum()
}

fn best<T: Copy, const N: usize>(candidates: [T; N], error: impl Fn(&T) -> f32) -> T {
    let mut best = (candidates[0], error(&candidates[0]));
    for candidate in &candidates[1..] {
        let e = error(candidate);
        if e < best.1 {
            best = (*candidate, e);
        }
    }
    best.0
}

/// `value = scale * code - minus_min`, codes of 4 bits.
#[derive(Clone, Copy)]
struct Fit {
    scale: f32,
    minus_min: f32,
}

impl Fit {
    fn best(weights: &Weights) -> Fit {
        let low = weights.iter().fold(0.0f32, |m, &w| m.min(w));
        let high = weights.iter().fold(0.0f32, |m, &w| m.max(w));
        let plain = Fit { scale: (high - low) / 15.0, minus_min: -low };
        let candidates = FACTORS.map(|factor| Fit { scale: plain.scale * factor, ..plain }.refined(weights));
        let refined = best(candidates, |fit| fit.error(weights));
        best([plain, refined], |fit| fit.error(weights))
    }

    fn codes(&self, weights: &Weights) -> [u8; GROUP_VALUES] {
        let inverse = if self.scale > 0.0 { 1.0 / self.scale } else { 0.0 };
        weights.map(|w| ((w + self.minus_min) * inverse).round_ties_even().clamp(0.0, 15.0) as u8)
    }

    fn error(&self, weights: &Weights) -> f32 {
        let codes = self.codes(weights);
        squared_error(weights, |i| self.scale * f32::from(codes[i]) - self.minus_min)
    }

    /// The least-squares line through (code, weight), twice, codes chosen anew each time.
    fn refined(self, weights: &Weights) -> Fit {
        let mut fit = self;
        for _ in 0..2 {
            fit = fit.line(weights).unwrap_or(fit);
        }
        fit
    }

    fn line(&self, weights: &Weights) -> Option<Fit> {
        let codes = self.codes(weights);
        let n = GROUP_VALUES as f32;
        let (mut c, mut w, mut cc, mut cw) = (0.0, 0.0, 0.0, 0.0);
        for (&code, &weight) in codes.iter().zip(weights) {
            let code = f32::from(code);
            (c, w, cc, cw) = (c + code, w + weight, cc + code * code, cw + code * weight);
        }
        let determinant = n * cc - c * c;
        if determinant <= 0.0 {
            return None;
        }
        let scale = (n * cw - c * w) / determinant;
        let minus_min = -(w - scale * c) / n;
        if minus_min >= 0.0 && scale > 0.0 {
            return Some(Fit { scale, minus_min });
        }
        // A minimum above zero cannot be stored: the best line through the origin.
        (cc > 0.0 && cw > 0.0).then(|| Fit { scale: cw / cc, minus_min: 0.0 })
    }

    /// The nearest that two 8-bit numbers under the row's scales can say, codes chosen to suit.
    fn rounded(&self, weights: &Weights, d: f32, dmin: f32) -> Group {
        let eight_bits = |value: f32, unit: f32| if unit > 0.0 { (value / unit).round().min(255.0) } else { 0.0 };
        let (scale, min) = (eight_bits(self.scale, d), eight_bits(self.minus_min, dmin));
        let codes = Fit { scale: d * scale, minus_min: dmin * min }.codes(weights);
        Group { codes, d, dmin, scale: [scale as i32; 2], min: [min as i32; 2] }
    }
}
