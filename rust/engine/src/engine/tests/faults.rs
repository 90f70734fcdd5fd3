//! One request's trouble is nobody else's.
use super::{
    super::EngineOptions,
    fake::{ERROR, NAN, PANIC, TEXT_PANIC},
    harness::{Harness, alone, generate, greedy, plain, prompt},
};
use crate::{
    Error,
    schedule::{GenerateOptions, Request, RequestId},
};

/// Runs `bad` among others that come before, with and after it.
fn only_it_fails(bad: Request) {
    let mut harness = Harness::new(64, EngineOptions { prefill_chunk: 64, ..EngineOptions::default() });
    let good = |seed| greedy(&prompt(seed, 10 + seed), 12);
    let mut others: Vec<(RequestId, Request)> = vec![(harness.submit(good(1)), good(1))];
    (0..3).for_each(|_| harness.step());
    others.push((harness.submit(good(2)), good(2)));
    let culprit = harness.submit(bad);
    others.push((harness.submit(good(3)), good(3)));
    harness.run();
    assert!(matches!(harness.outcomes[&culprit].error, Some(Error::Internal(_))), "{:?}", harness.outcomes[&culprit]);
    for (id, request) in others {
        assert_eq!(harness.outcomes[&id].choices, alone(&request).choices);
    }
    let stats = harness.engine.stats();
    assert_eq!((stats.failed, stats.completed, stats.pages_used), (1, 3, 0));
}

#[test]
fn a_panic_in_the_model() {
    only_it_fails(greedy(&[1, PANIC, 2], 3));
}

#[test]
fn an_error_of_the_model() {
    only_it_fails(greedy(&[1, ERROR, 2], 3));
}

#[test]
fn logits_that_are_not_finite() {
    only_it_fails(generate(&[1, 2, NAN], GenerateOptions { choices: 2, ..plain(4) }));
}

#[test]
fn a_panic_while_making_text() {
    only_it_fails(generate(&[1, 2, 3], GenerateOptions { stop: vec![TEXT_PANIC.into()], ..plain(4) }));
}

#[test]
fn several_culprits_are_all_found() {
    let mut harness = Harness::new(64, EngineOptions::default());
    let bad = [harness.submit(greedy(&[PANIC], 2)), harness.submit(greedy(&[4, ERROR], 2))];
    let good = harness.submit(greedy(&prompt(1, 30), 9));
    harness.run();
    assert!(bad.iter().all(|id| harness.outcomes[id].error.is_some()));
    assert_eq!(harness.outcomes[&good].choices, alone(&greedy(&prompt(1, 30), 9)).choices);
}

#[test]
fn a_panic_in_a_sink_ends_its_request() {
    let mut harness = Harness::new(64, EngineOptions::default());
    harness.engine.submit(50, greedy(&prompt(1, 4), 9), |_, _| panic!("a sink that panics")).unwrap();
    let good = harness.submit(greedy(&prompt(2, 4), 9));
    harness.run();
    assert_eq!(harness.outcomes[&good].choices, alone(&greedy(&prompt(2, 4), 9)).choices);
    assert_eq!(harness.engine.stats().cancelled, 1);
}
