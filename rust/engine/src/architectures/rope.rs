//! Rotary frequencies and their tables, computed in f32 in the order that `transformers` uses. Knows no model.
use std::f32::consts::PI;

use rayon::prelude::*;

use super::{ModelConfig, RopeScaling};

/// Cosines and sines, `(positions, head_dim / 2)` each (Su et al. 2021).
pub fn tables(config: &ModelConfig, positions: usize) -> (Vec<f32>, Vec<f32>) {
    let frequencies = frequencies(config);
    let table = |f: fn(f32) -> f32| {
        let mut values = vec![0.0; positions * frequencies.len()];
        values.par_chunks_mut(frequencies.len()).enumerate().for_each(|(position, row)| {
            for (value, frequency) in row.iter_mut().zip(&frequencies) {
                *value = f(position as f32 * frequency);
            }
        });
        values
    };
    (table(f32::cos), table(f32::sin))
}

/// Radians per position of each of the `head_dim / 2` pairs.
fn frequencies(config: &ModelConfig) -> Vec<f32> {
    let half = config.head_dim / 2;
    (0..half)
        .map(|pair| {
            let exponent = (2 * pair) as f32 / config.head_dim as f32;
            scale(&config.rope_scaling, pair, 1.0 / config.rope_theta.powf(exponent))
        })
        .collect()
}

fn scale(scaling: &RopeScaling, pair: usize, frequency: f32) -> f32 {
    match *scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Factors(ref factors) => frequency / factors[pair],
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let context = original_context as f32;
            let wavelength = 2.0 * PI / frequency;
            if wavelength > context / low_freq_factor {
                frequency / factor
            } else if wavelength < context / high_freq_factor {
                frequency
            } else {
                let smooth = (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architectures::testing;

    #[test]
    fn plain_frequencies_fall_geometrically_from_one() {
        let mut config = testing::config();
        (config.head_dim, config.rope_theta) = (8, 10_000.0);
        let found = frequencies(&config);
        for (found, expected) in found.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((found / expected - 1.0f32).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn linear_and_factors_divide() {
        let scaled = |scaling: RopeScaling| scale(&scaling, 1, 0.5);
        assert_eq!(scaled(RopeScaling::Linear { factor: 4.0 }), 0.125);
        assert_eq!(scaled(RopeScaling::Factors(vec![1.0, 2.0])), 0.25);
    }

    /// Llama 3.1's own numbers: short waves stay, long waves stretch by the factor, between them it is continuous.
    #[test]
    fn llama3_leaves_short_waves_and_stretches_long_ones() {
        let scaling =
            RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 8192 };
        let wave = |wavelength: f32| {
            let frequency = 2.0 * PI / wavelength;
            scale(&scaling, 0, frequency) / frequency
        };
        assert_eq!(wave(100.0), 1.0);
        assert_eq!(wave(20_000.0), 0.125);
        assert!((wave(2048.1) - 1.0).abs() < 1e-3);
        assert!((wave(8191.9) - 0.125).abs() < 1e-3);
        // context / wavelength = 2: smooth = 1/3, so 1/8 * 2/3 + 1/3.
        assert!((wave(4096.0) - 0.416_666_67).abs() < 1e-5);
    }

    #[test]
    fn tables_turn_by_position_times_frequency() {
        let mut config = testing::config();
        (config.head_dim, config.rope_theta) = (4, 100.0);
        let (cos, sin) = tables(&config, 3);
        assert_eq!(cos.len(), 6);
        assert_eq!((cos[0], sin[1]), (1.0, 0.0));
        assert!((cos[4] - 2.0f32.cos()).abs() < 1e-6 && (sin[5] - 0.2f32.sin()).abs() < 1e-6);
    }
}
