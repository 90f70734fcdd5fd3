//! Log-probabilities as reported to the caller: the model's own, before penalties, temperature and filters.
use super::{sampler::finite_peak, softmax};
use crate::{Result, batch::TokenId};

/// What the model thought at one position.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// Natural log of the chosen token's probability.
    pub chosen: f32,
    /// The likeliest tokens, likeliest first.
    pub top: Vec<(TokenId, f32)>,
}

/// Looks up `token` and the `top` likeliest.
///
/// # Errors
/// [`crate::Error::Internal`] if a logit is not finite or `token` has none.
pub fn logprobs(logits: &[f32], token: TokenId, top: usize) -> Result<Logprobs> {
    let normalizer = softmax::log_sum_exp(logits, finite_peak(logits)?);
    let log_softmax = |logit: f32| (f64::from(logit) - normalizer) as f32;
    let chosen = logits.get(token as usize).copied().ok_or_else(|| {
        crate::Error::Internal(format!("token {token} has no logit: the vocabulary has {} tokens", logits.len()))
    })?;
    let mut found = Vec::new();
    softmax::largest(logits, top, &mut found);
    let top = found.into_iter().map(|(id, logit)| (id, log_softmax(logit))).collect();
    Ok(Logprobs { chosen: log_softmax(chosen), top })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logprobs_are_those_of_a_known_distribution() {
        let logits = [0.5f32.ln(), 0.25f32.ln(), 0.125f32.ln(), 0.125f32.ln()].map(|x| x + 3.0);
        let report = logprobs(&logits, 2, 3).unwrap();
        assert!((report.chosen - 0.125f32.ln()).abs() < 1e-6);
        let ids: Vec<TokenId> = report.top.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [0, 1, 2]);
        assert!((report.top[0].1 - 0.5f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_row_without_the_token_or_with_nan_is_an_error() {
        assert!(logprobs(&[0.0, 1.0], 2, 1).is_err());
        assert!(logprobs(&[0.0, f32::NAN], 0, 1).is_err());
    }
}
