//! Which tokens stay in the draw, and the draw. Knows neither penalties nor history.
//!
//! Order as in Hugging Face `transformers`: temperature, top-k, top-p, min-p, typical; each looks at the probabilities
//! that the ones before it left. The whole vocabulary is never sorted.
use std::cmp::Ordering;

use super::{SamplingOptions, softmax};
use crate::batch::TokenId;

/// A token that is still in the draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub id: TokenId,
    /// Its logit over the temperature, relative to the largest.
    pub scaled: f32,
    /// `exp(scaled)`.
    pub weight: f32,
}

/// Tokens sorted at once when looking for a share of the probability; grows when they do not suffice.
const FIRST_BLOCK: usize = 64;

/// Buffers for choosing a token, reused from token to token.
#[derive(Debug, Default)]
pub struct Filters {
    pub(super) candidates: Vec<Candidate>,
    weights: Vec<f32>,
    found: Vec<(TokenId, f32)>,
}

impl Filters {
    /// Draws a token with `uniform` in `[0, 1)`; `peak` is the largest logit and the temperature is above 0.
    pub fn draw(&mut self, logits: &[f32], peak: f32, options: &SamplingOptions, uniform: f64) -> TokenId {
        let total = self.gather(logits, peak, options);
        if options.top_p < 1.0 {
            keep_mass(&mut self.candidates, f64::from(options.top_p) * total, likelier);
        }
        // The likeliest token weighs 1 and is always kept.
        if options.min_p > 0.0 {
            self.candidates.retain(|candidate| candidate.weight >= options.min_p);
        }
        if options.typical_p < 1.0 {
            keep_typical(&mut self.candidates, options.typical_p);
        }
        pick(&self.candidates, uniform)
    }

    /// Collects what top-k leaves, less what top-p and min-p would drop in any case; returns the weight of all that top-k
    /// leaves.
    fn gather(&mut self, logits: &[f32], peak: f32, options: &SamplingOptions) -> f64 {
        // Of the smallest temperatures the inverse is infinite, and infinity times 0 no number.
        let scale = (1.0 / options.temperature).min(f32::MAX);
        self.candidates.clear();
        if options.top_k > 0 && options.top_k < logits.len() {
            softmax::largest(logits, options.top_k, &mut self.found);
            self.candidates.extend(self.found.iter().map(|&(id, logit)| {
                let scaled = softmax::scaled(logit, peak, scale);
                Candidate { id, scaled, weight: softmax::exp(scaled) }
            }));
            return mass(&self.candidates);
        }
        let total = softmax::exponentials(logits, peak, scale, &mut self.weights);
        let least = least_weight(total, logits.len(), options);
        let kept = (0..).zip(&self.weights).zip(logits).filter(|((_, weight), _)| **weight >= least);
        self.candidates.extend(kept.map(|((id, &weight), &logit)| {
            let scaled = softmax::scaled(logit, peak, scale);
            Candidate { id, scaled, weight }
        }));
        total
    }
}

/// Tokens lighter than this cannot be in the set that top-p keeps: all of them together weigh less than `1 - p`.
fn least_weight(total: f64, tokens: usize, options: &SamplingOptions) -> f32 {
    // A little less, so that rounding never drops one too many.
    let nucleus = 0.99 * (1.0 - f64::from(options.top_p)) * total / tokens as f64;
    (nucleus as f32).max(options.min_p)
}

/// Keeps the shortest beginning, in `order`, that weighs `wanted`.
fn keep_mass(candidates: &mut Vec<Candidate>, wanted: f64, order: impl Fn(&Candidate, &Candidate) -> Ordering) {
    let (mut sorted, mut weight, mut end) = (0, 0.0, FIRST_BLOCK);
    while sorted < candidates.len() {
        end = end.min(candidates.len());
        if end < candidates.len() {
            candidates[sorted..].select_nth_unstable_by(end - sorted, &order);
        }
        candidates[sorted..end].sort_unstable_by(&order);
        for place in sorted..end {
            weight += f64::from(candidates[place].weight);
            if weight >= wanted {
                candidates.truncate(place + 1);
                return;
            }
        }
        (sorted, end) = (end, end * 8);
    }
}

/// Locally typical sampling (Meister et al. 2022): keeps the tokens whose surprise is nearest to the entropy, up to `share`.
fn keep_typical(candidates: &mut Vec<Candidate>, share: f32) {
    let total = mass(candidates);
    let log_total = total.ln() as f32;
    let surprise = |candidate: &Candidate| log_total - candidate.scaled;
    let entropy = softmax::sum(candidates.iter().map(|c| c.weight * surprise(c))) / total;
    let distance = |candidate: &Candidate| (surprise(candidate) - entropy as f32).abs();
    keep_mass(candidates, f64::from(share) * total, |a, b| distance(a).total_cmp(&distance(b)).then(likelier(a, b)));
}

fn pick(candidates: &[Candidate], uniform: f64) -> TokenId {
    let mut left = uniform * mass(candidates);
    for candidate in candidates {
        left -= f64::from(candidate.weight);
        if left < 0.0 {
            return candidate.id;
        }
    }
    // Only rounding leads here.
    candidates.last().map_or(0, |candidate| candidate.id)
}

fn mass(candidates: &[Candidate]) -> f64 {
    softmax::sum(candidates.iter().map(|candidate| candidate.weight))
}

fn likelier(a: &Candidate, b: &Candidate) -> Ordering {
    b.scaled.total_cmp(&a.scaled).then(a.id.cmp(&b.id))
}
