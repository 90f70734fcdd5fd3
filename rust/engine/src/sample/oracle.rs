//! Tests of the whole sampler against one that sorts everything and works in 64 bits.
use proptest::prelude::*;

use super::{Sampler, SamplingOptions, Scratch};
use crate::batch::TokenId;

/// The distribution by the definitions; `None` where a cut falls so near a token that rounding may decide.
fn naive(logits: &[f32], options: &SamplingOptions) -> Option<Vec<(TokenId, f64)>> {
    let peak = logits.iter().copied().fold(f32::MIN, f32::max);
    let weight = |&x: &f32| (f64::from(x - peak) / f64::from(options.temperature)).exp();
    let mut kept: Vec<(TokenId, f64)> = (0..).zip(logits.iter().map(weight)).collect();
    kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if options.top_k > 0 {
        kept.truncate(options.top_k);
    }
    normalize(&mut kept);
    take_share(&mut kept, options.top_p)?;
    normalize(&mut kept);
    let least = kept[0].1 * f64::from(options.min_p);
    if kept.iter().any(|(_, p)| options.min_p > 0.0 && (p / least - 1.0).abs() < 1e-4) {
        return None;
    }
    kept.retain(|(_, p)| *p >= least);
    normalize(&mut kept);
    if options.typical_p < 1.0 {
        let entropy: f64 = kept.iter().map(|(_, p)| -p * p.ln()).sum();
        let distance = |p: f64| (-p.ln() - entropy).abs();
        let mut by_distance: Vec<f64> = kept.iter().map(|(_, p)| distance(*p)).collect();
        by_distance.sort_by(f64::total_cmp);
        let near = |pair: &[f64]| pair[1] - pair[0] < 1e-4 && pair[1] - pair[0] > 1e-9;
        if by_distance.windows(2).any(near) {
            return None;
        }
        kept.sort_by(|a, b| ((distance(a.1) * 1e6).round()).total_cmp(&(distance(b.1) * 1e6).round()));
        take_share(&mut kept, options.typical_p)?;
        normalize(&mut kept);
    }
    Some(kept)
}

fn normalize(kept: &mut [(TokenId, f64)]) {
    let total: f64 = kept.iter().map(|(_, p)| p).sum();
    kept.iter_mut().for_each(|(_, p)| *p /= total);
}

fn take_share(kept: &mut Vec<(TokenId, f64)>, share: f32) -> Option<()> {
    if share >= 1.0 {
        return Some(());
    }
    let mut reached = 0.0;
    for place in 0..kept.len() {
        reached += kept[place].1;
        if (reached - f64::from(share)).abs() < 1e-4 {
            return None;
        }
        if reached >= f64::from(share) {
            kept.truncate(place + 1);
            break;
        }
    }
    Some(())
}

fn options() -> impl Strategy<Value = SamplingOptions> {
    let share = || prop_oneof![Just(1.0f32), 0.01f32..1.0];
    (0.1f32..2.0, prop_oneof![Just(0), 1usize..300], share(), prop_oneof![Just(0.0f32), 0.001f32..0.9], share())
        .prop_map(|(temperature, top_k, top_p, min_p, typical_p)| SamplingOptions {
            temperature,
            top_k,
            top_p,
            min_p,
            typical_p,
            ..SamplingOptions::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 20_000, ..ProptestConfig::with_cases(1_000) })]
    #[test]
    fn the_same_tokens_stay_with_the_same_weights(
        logits in prop::collection::vec((-4000i32..4000).prop_map(|x| x as f32 / 500.0), 1..700),
        options in options(),
    ) {
        let Some(mut right) = naive(&logits, &options) else { return Err(TestCaseError::reject("at a cut")) };
        let mut scratch = Scratch::default();
        let token = Sampler::new(options, 1, 0, &[]).sample(&logits, &mut scratch).unwrap();
        prop_assert!(right.iter().any(|(id, _)| *id == token));
        let mut kept: Vec<_> = scratch.filters.candidates.iter().map(|c| (c.id, f64::from(c.weight))).collect();
        normalize(&mut kept);
        kept.sort_by_key(|(id, _)| *id);
        right.sort_by_key(|(id, _)| *id);
        prop_assert_eq!(kept.iter().map(|(id, _)| *id).collect::<Vec<_>>(), right.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        for ((id, ours), (_, wanted)) in kept.iter().zip(&right) {
            prop_assert!((ours - wanted).abs() < 1e-5, "token {}: {} instead of {}", id, ours, wanted);
        }
    }
}

/// Draws 5,000 tokens at successive positions and compares the counts with the definition's probabilities.
fn chi_square(options: SamplingOptions, seed: u64) {
    let logits: Vec<f32> = (0..200).map(|i| ((i * 37) % 101) as f32 / 12.0).collect();
    let right = naive(&logits, &options).expect("no cut near a token");
    let draws = 5_000;
    let (mut sampler, mut scratch) = (Sampler::new(options, seed, 0, &[]), Scratch::default());
    let mut counts = vec![0u32; logits.len()];
    for _ in 0..draws {
        counts[sampler.sample(&logits, &mut scratch).unwrap() as usize] += 1;
    }
    let (mut statistic, mut cells, mut rest) = (0.0, 0.0, (0.0, 0.0));
    for &(id, p) in &right {
        let (wanted, found) = (p * f64::from(draws), f64::from(std::mem::take(&mut counts[id as usize])));
        if wanted < 5.0 {
            rest = (rest.0 + wanted, rest.1 + found);
            continue;
        }
        statistic += (found - wanted).powi(2) / wanted;
        cells += 1.0;
    }
    if rest.0 > 5.0 {
        statistic += (rest.1 - rest.0).powi(2) / rest.0;
        cells += 1.0;
    }
    assert_eq!(counts.iter().sum::<u32>(), 0, "tokens that the filters drop were drawn");
    let freedom: f64 = cells - 1.0;
    // Four standard deviations of the chi-square distribution.
    assert!(statistic < freedom + 4.0 * (2.0 * freedom).sqrt(), "{statistic} at {freedom} degrees of freedom");
}

#[test]
fn draws_follow_the_distribution() {
    let plain = SamplingOptions::default();
    for seed in 0..2 {
        chi_square(plain.clone(), seed);
        chi_square(SamplingOptions { temperature: 0.7, top_k: 40, ..plain.clone() }, seed);
        chi_square(SamplingOptions { temperature: 1.5, top_p: 0.83, ..plain.clone() }, seed);
        chi_square(SamplingOptions { min_p: 0.11, ..plain.clone() }, seed);
        chi_square(SamplingOptions { top_k: 150, top_p: 0.93, min_p: 0.03, ..plain.clone() }, seed);
    }
}

#[test]
fn a_seed_repeats_and_choices_differ() {
    let logits = vec![0.0; 1000];
    let run = |seed, choice| {
        let (mut sampler, mut scratch) =
            (Sampler::new(SamplingOptions::default(), seed, choice, &[]), Scratch::default());
        (0..8).map(|_| sampler.sample(&logits, &mut scratch).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(5, 0), run(5, 0));
    assert_ne!(run(5, 0), run(5, 1));
    assert_ne!(run(5, 0), run(6, 0));
}

#[test]
fn greedy_takes_the_lowest_of_equals_after_penalties() {
    let options = SamplingOptions { temperature: 0.0, presence_penalty: 1.0, ..SamplingOptions::default() };
    let (mut sampler, mut scratch) = (Sampler::new(options, 0, 0, &[]), Scratch::default());
    let logits = [0.0, 2.0, 2.0, 1.5];
    let tokens: Vec<TokenId> = (0..4).map(|_| sampler.sample(&logits, &mut scratch).unwrap()).collect();
    assert_eq!(tokens, [1, 2, 3, 1]);
}

#[test]
fn the_smallest_temperatures_are_greedy() {
    let logits: Vec<f32> = (0..100).map(|i| ((i * 37) % 101) as f32 / 12.0).collect();
    let wanted = logits.iter().position(|logit| logits.iter().all(|other| other <= logit)).unwrap_or_default();
    let temperature = f32::from_bits(1);
    let plain = SamplingOptions { temperature, ..SamplingOptions::default() };
    for options in [
        plain.clone(),
        SamplingOptions { top_k: 3, ..plain.clone() },
        SamplingOptions { top_p: 0.5, ..plain.clone() },
        SamplingOptions { min_p: 0.5, ..plain.clone() },
        SamplingOptions { typical_p: 0.5, ..plain },
    ] {
        let (mut sampler, mut scratch) = (Sampler::new(options, 7, 0, &[]), Scratch::default());
        assert_eq!(sampler.sample(&logits, &mut scratch).unwrap() as usize, wanted);
    }
}

#[test]
fn logits_that_are_not_finite_are_an_error() {
    let (mut sampler, mut scratch) = (Sampler::new(SamplingOptions::default(), 0, 0, &[]), Scratch::default());
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert!(matches!(sampler.sample(&[0.0, bad], &mut scratch), Err(crate::Error::Internal(_))));
    }
    assert!(sampler.sample(&[], &mut scratch).is_err());
}
