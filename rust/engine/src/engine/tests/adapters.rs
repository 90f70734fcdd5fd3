//! Adapters in requests: who shares what, and what a change of an adapter does to those who run.
use std::sync::Arc;

use synapse_kernels::{Format, Matrix};

use super::{
    super::{AdapterLimits, EngineOptions},
    harness::{Harness, Outcome, generate, greedy, plain, prompt, request},
    transformer::{model, noise},
};
use crate::{
    Error,
    adapter::{Adapter, LowRank, Origin, Site},
    batch::{PAGE_TOKENS, TokenId},
    sample::SamplingOptions,
    schedule::{GenerateOptions, Request, Task},
    speculate::Speculation,
};

const RANK: usize = 4;

fn adapter(sites: &[Site], seed: u64, invocation: &[TokenId]) -> Arc<Adapter> {
    let pack = |name: &str, rows: usize, cols: usize| {
        let name = format!("{name} {seed}");
        let value = |row: usize, col: usize| noise(&name, row * cols + col);
        Matrix::pack_f32(Format::F32, rows, cols, |row, out| {
            out.iter_mut().enumerate().for_each(|(col, out)| *out = value(row, col));
        })
    };
    let part = |Site { name, shape: (out, input) }: &Site| {
        let (down, up) = (pack(&format!("{name} down"), RANK, *input), pack(name, *out, RANK));
        Some(LowRank { down, up, scale: 1.0 })
    };
    Arc::new(Adapter::new(sites.iter().map(part).collect(), invocation.into(), Origin::default()))
}

/// An engine with the adapters `one` and `two`, and `late`, which the token 25 invokes.
fn harness(pages: usize, options: EngineOptions) -> Harness {
    let harness = Harness::with_model(model(pages), options);
    for (name, seed, invocation) in [("one", 1, &[][..]), ("two", 2, &[]), ("late", 3, &[25])] {
        put(&harness, name, seed, invocation);
    }
    harness
}

fn put(harness: &Harness, name: &str, seed: u64, invocation: &[TokenId]) {
    let adapters = harness.engine.adapters();
    adapters.insert(name, adapter(adapters.sites(), seed, invocation)).unwrap();
}

fn with(adapters: &[(&str, f32)], request: Request) -> Request {
    Request { adapters: adapters.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect(), ..request }
}

fn run(harness: &mut Harness, request: Request) -> Outcome {
    let id = harness.submit(request);
    harness.run();
    harness.outcomes.remove(&id).unwrap()
}

fn alone(request: &Request) -> Outcome {
    run(&mut harness(64, EngineOptions::default()), request.clone())
}

fn detailed(tokens: &[TokenId], max_new_tokens: usize) -> Request {
    generate(tokens, GenerateOptions { logprobs: Some(2), ..plain(max_new_tokens) })
}

#[test]
fn requests_with_different_adapters_are_as_alone() {
    let options = EngineOptions { max_sequences: 6, prefill_chunk: 24, ..EngineOptions::default() };
    let mut harness = harness(14, options);
    let blends: [&[(&str, f32)]; 6] =
        [&[("one", 1.0)], &[], &[("two", 1.0)], &[("one", 0.5), ("two", 0.25)], &[("late", 1.0)], &[("one", 1.0)]];
    let generated = (0..12).map(|seed| {
        let mut tokens = prompt(seed as u32 % 2, 20 + 9 * (seed as u32 / 6));
        tokens[17] = 25;
        with(blends[seed % 6], detailed(&tokens, 30))
    });
    let scored = [Task::Embed, Task::Score { top: 1 }].map(|task| with(&[("two", 1.0)], request(&prompt(1, 45), task)));
    let requests: Vec<Request> = generated.chain(scored).collect();
    let submitted: Vec<_> = requests.iter().map(|request| (harness.submit(request.clone()), request)).collect();
    harness.run();
    assert!(harness.engine.stats().preemptions > 0);
    for (id, request) in submitted {
        let (together, alone) = (&harness.outcomes[&id], alone(request));
        assert!(together.error.is_none(), "{:?}", together.error);
        assert_eq!(together.choices, alone.choices, "{:?}", request.adapters);
        assert_eq!((&together.embedding, &together.scores), (&alone.embedding, &alone.scores));
    }
}

/// With two tokens to choose from even a model made of noise repeats itself, so that there is something to draft.
#[test]
fn drafts_are_checked_with_the_adapter() {
    let mut harness = harness(64, EngineOptions { max_sequences: 4, ..EngineOptions::default() });
    let requests = (0..6).map(|seed| {
        let logit_bias = vec![(1, 99.0), (2, 99.0)];
        let sampling = SamplingOptions { temperature: 0.0, logit_bias, ..SamplingOptions::default() };
        let options = GenerateOptions { logprobs: Some(2), sampling, ..plain(60) };
        with(&[(["one", "two"][seed as usize % 2], 1.0)], generate(&prompt(seed, 7 * seed + 3), options))
    });
    let submitted: Vec<_> = requests.map(|request| (harness.submit(request.clone()), request)).collect();
    harness.run();
    assert!(harness.engine.stats().accepted_tokens > 60, "{:?}", harness.engine.stats());
    for (id, request) in submitted {
        let mut undrafted =
            self::harness(64, EngineOptions { speculation: Speculation::Off, ..EngineOptions::default() });
        assert_eq!(harness.outcomes[&id].choices, run(&mut undrafted, request).choices);
    }
}

#[test]
fn prefixes_are_shared_by_those_who_compute_the_same() {
    let mut harness = harness(64, EngineOptions::default());
    let tokens = prompt(1, 3 * PAGE_TOKENS as u32 + 1);
    let cached = |harness: &mut Harness, adapters: &[(&str, f32)]| {
        run(harness, with(adapters, greedy(&tokens, 1))).usage.unwrap().cached_tokens / PAGE_TOKENS
    };
    assert_eq!(cached(&mut harness, &[]), 0);
    for adapters in [&[("one", 1.0)][..], &[("two", 1.0)], &[("one", 0.5)], &[("one", 1.0), ("two", 1.0)]] {
        assert_eq!(cached(&mut harness, adapters), 0, "{adapters:?}: the first");
        assert_eq!(cached(&mut harness, adapters), 3, "{adapters:?}: the second");
    }
    assert_eq!(cached(&mut harness, &[]), 3);
}

#[test]
fn a_switch_to_an_adapter_that_is_invoked_late_computes_no_prompt_again() {
    let mut harness = harness(64, EngineOptions::default());
    let mut tokens: Vec<TokenId> = prompt(1, 3 * PAGE_TOKENS as u32).into_iter().map(|token| token % 25).collect();
    let cached = |harness: &mut Harness, tokens: &[TokenId], adapters: &[(&str, f32)]| {
        run(harness, with(adapters, greedy(tokens, 1))).usage.unwrap().cached_tokens
    };
    // The base model reads the text once; each adapter then starts at its marker.
    assert_eq!(cached(&mut harness, &[&tokens[..], &[1]].concat(), &[]), 0);
    tokens.push(25);
    assert_eq!(cached(&mut harness, &tokens, &[("late", 1.0)]), 3 * PAGE_TOKENS);
    assert_eq!(cached(&mut harness, &tokens, &[("late", 0.5)]), 3 * PAGE_TOKENS);
    assert_eq!(cached(&mut harness, &tokens, &[("one", 1.0)]), 0);
    // What came after the marker is the adapter's own.
    let longer = [&tokens[..], &prompt(3, 20)].concat();
    assert_eq!(cached(&mut harness, &longer, &[("late", 1.0)]), 3 * PAGE_TOKENS);
    assert_eq!(cached(&mut harness, &longer, &[("late", 1.0)]), 4 * PAGE_TOKENS);
    assert_eq!(cached(&mut harness, &longer, &[]), 3 * PAGE_TOKENS);
}

#[test]
fn an_adapter_that_is_not_invoked_changes_nothing() {
    let tokens: Vec<TokenId> = prompt(1, 20).into_iter().map(|token| token % 25).collect();
    assert_eq!(alone(&with(&[("late", 1.0)], detailed(&tokens, 9))).choices, alone(&detailed(&tokens, 9)).choices);
}

#[test]
fn a_request_ends_with_the_adapter_it_began_with() {
    let request = with(&[("one", 1.0)], detailed(&prompt(1, 20), 30));
    let expected = alone(&request);
    for replace in [true, false] {
        let mut harness = harness(64, EngineOptions::default());
        let id = harness.submit(request.clone());
        (0..5).for_each(|_| harness.step());
        match replace {
            true => put(&harness, "one", 9, &[]),
            false => harness.engine.adapters().remove("one").unwrap(),
        }
        harness.run();
        assert_eq!(harness.outcomes[&id].choices, expected.choices);
        if replace {
            let after = run(&mut harness, request.clone());
            assert_eq!(after.usage.unwrap().cached_tokens, 0, "another adapter's keys");
            assert_ne!(after.choices, expected.choices);
        }
    }
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let mut harness = harness(64, EngineOptions::default());
    let mut refused = |adapters: &[(&str, f32)]| {
        let request = with(adapters, greedy(&[1, 2], 1));
        match harness.engine.submit(99, request, harness.sender.clone()) {
            Err(Error::Request { param, reason }) if param == "adapters" => reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&[("three", 1.0)]), "there is no adapter \"three\"; loaded: late, one, two");
    assert!(refused(&[("one", f32::NAN)]).contains("expected a weight from -100 to 100, found NaN"));
    assert!(refused(&[("one", 101.0)]).contains("found 101"));
    assert!(refused(&[("one", 1.0); 9]).contains("expected at most 8, found 9"));
}

#[test]
fn limits_hold_and_say_which() {
    let limited = |adapters: AdapterLimits| {
        let harness = Harness::with_model(model(8), EngineOptions { adapters, ..EngineOptions::default() });
        let put = |name: &str| {
            let adapters = harness.engine.adapters();
            adapters.insert(name, adapter(adapters.sites(), 1, &[])).map_err(|error| error.to_string())
        };
        ["a", "a", "b"].map(put)
    };
    let default = AdapterLimits::default();
    assert!(limited(default).iter().all(Result::is_ok));
    let [first, again, other] = limited(AdapterLimits { count: 1, ..default });
    assert!(first.is_ok() && again.is_ok() && other.unwrap_err().contains("1 adapters are loaded"));
    assert!(limited(AdapterLimits { rank: 3, ..default })[0].as_ref().unwrap_err().contains("at most 3, found 4"));
    let bytes = adapter(model(8).sites(), 1, &[]).bytes() as u64;
    let [first, again, other] = limited(AdapterLimits { bytes, ..default });
    assert!(first.is_ok() && again.is_ok() && other.unwrap_err().contains(&format!("{bytes} bytes")));
    // One that never fits is told from one that others leave no room for.
    let [alone, ..] = limited(AdapterLimits { bytes: bytes - 1, ..default });
    assert!(alone.unwrap_err().contains(&format!("this one alone has {bytes}")));
}
