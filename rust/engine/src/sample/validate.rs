//! Which sampling options make sense. Knows no request around them.
use std::ops::RangeInclusive;

use super::SamplingOptions;
use crate::{Error, Result};

impl SamplingOptions {
    /// Checks every field against its documented range.
    ///
    /// # Errors
    /// [`Error::Request`] names the first field at fault; values that are not finite are at fault everywhere.
    pub fn validate(&self, vocab_size: usize) -> Result<()> {
        within("temperature", self.temperature, 0.0..=2.0)?;
        check("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0 and at most 1")?;
        check("min_p", self.min_p, (0.0..1.0).contains(&self.min_p), "from 0 and below 1")?;
        check("typical_p", self.typical_p, self.typical_p > 0.0 && self.typical_p <= 1.0, "above 0 and at most 1")?;
        // With less or more a logit may be finite no longer.
        within("repetition_penalty", self.repetition_penalty, 0.01..=100.0)?;
        within("presence_penalty", self.presence_penalty, -2.0..=2.0)?;
        within("frequency_penalty", self.frequency_penalty, -2.0..=2.0)?;
        for &(token, bias) in &self.logit_bias {
            if token as usize >= vocab_size {
                let reason = format!("expected tokens below {vocab_size} (the vocabulary), found {token}");
                return Err(Error::Request { param: "logit_bias".into(), reason });
            }
            within("logit_bias", bias, -100.0..=100.0)?;
        }
        Ok(())
    }
}

fn within(param: &str, value: f32, range: RangeInclusive<f32>) -> Result<()> {
    check(param, value, range.contains(&value), &format!("from {} to {}", range.start(), range.end()))
}

fn check(param: &str, value: f32, right: bool, wanted: &str) -> Result<()> {
    if right {
        return Ok(());
    }
    Err(Error::Request { param: param.into(), reason: format!("expected a number {wanted}, found {value}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut SamplingOptions)) -> String {
        let mut options = SamplingOptions::default();
        change(&mut options);
        match options.validate(10) {
            Err(Error::Request { param, .. }) => param,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn each_field_is_refused_by_name() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -3.0, 1e9] {
            assert_eq!(refused(|o| o.temperature = bad), "temperature");
            assert_eq!(refused(|o| o.top_p = bad), "top_p");
            assert_eq!(refused(|o| o.min_p = bad), "min_p");
            assert_eq!(refused(|o| o.typical_p = bad), "typical_p");
            assert_eq!(refused(|o| o.presence_penalty = bad), "presence_penalty");
            assert_eq!(refused(|o| o.frequency_penalty = bad), "frequency_penalty");
            assert_eq!(refused(|o| o.logit_bias = vec![(1, 50.0 * bad)]), "logit_bias");
        }
        for bad in [f32::NAN, f32::INFINITY, 0.0, -1.0, 1e-30, 1e30] {
            assert_eq!(refused(|o| o.repetition_penalty = bad), "repetition_penalty");
        }
        assert_eq!(refused(|o| o.logit_bias = vec![(10, 0.0)]), "logit_bias");
        assert_eq!(refused(|o| o.top_p = 0.0), "top_p");
    }

    #[test]
    fn the_ends_of_the_ranges_are_right() {
        let low = SamplingOptions {
            temperature: 0.0,
            top_p: f32::MIN_POSITIVE,
            typical_p: f32::MIN_POSITIVE,
            repetition_penalty: 0.01,
            presence_penalty: -2.0,
            frequency_penalty: -2.0,
            logit_bias: vec![(0, -100.0), (9, 100.0)],
            ..SamplingOptions::default()
        };
        assert!(low.validate(10).is_ok());
        let high = SamplingOptions {
            temperature: 2.0,
            repetition_penalty: 100.0,
            presence_penalty: 2.0,
            frequency_penalty: 2.0,
            ..low
        };
        assert!(high.validate(10).is_ok());
    }
}
