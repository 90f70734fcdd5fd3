//! What a caller can rely on, one thing at a time.
use std::sync::atomic::Ordering;

use super::{
    super::EngineOptions,
    fake::{FakeModel, HIDDEN, letter},
    harness::{CONTEXT, Harness, alone, generate, greedy, plain, prompt, request},
};
use crate::{
    Error,
    batch::{PAGE_TOKENS, TokenId},
    schedule::{FinishReason, GenerateOptions, Request, Task},
};

fn one_at_a_time() -> EngineOptions {
    EngineOptions { max_sequences: 1, ..EngineOptions::default() }
}

#[test]
fn the_next_turn_of_a_chat_computes_only_what_is_new() {
    let model = FakeModel::new(64, CONTEXT);
    let rows = model.rows.clone();
    let mut harness = Harness::with_model(Box::new(model), EngineOptions::default());
    let first = generate(&prompt(1, 21), GenerateOptions { logprobs: Some(0), ..plain(30) });
    let id = harness.submit(first.clone());
    harness.run();
    let answer: Vec<TokenId> = harness.outcomes[&id].choices[&0].tokens.iter().map(|token| token.id).collect();
    // The last token of the answer was never given to the model.
    let known = (21 + 30 - 1) / PAGE_TOKENS * PAGE_TOKENS;
    let before = rows.load(Ordering::Relaxed);
    let second = greedy(&[first.tokens, answer, vec![5, 6]].concat(), 1);
    let id = harness.submit(second.clone());
    harness.run();
    assert_eq!(harness.outcomes[&id].usage.unwrap().cached_tokens, known);
    assert_eq!(rows.load(Ordering::Relaxed) - before, second.tokens.len() - known);
    assert_eq!(harness.outcomes[&id].choices, alone(&second).choices);
}

#[test]
fn a_prompt_known_whole_still_computes_its_last_token() {
    let mut harness = Harness::new(64, EngineOptions::default());
    let same = greedy(&prompt(2, 2 * PAGE_TOKENS as u32), 3);
    let ids = [harness.submit(same.clone()), 0];
    harness.run();
    let again = harness.submit(same);
    harness.run();
    assert_eq!(harness.outcomes[&again].usage.unwrap().cached_tokens, PAGE_TOKENS);
    assert_eq!(harness.outcomes[&again].choices, harness.outcomes[&ids[0]].choices);
}

#[test]
fn choices_share_the_prompt_and_differ() {
    for prefix_cache in [true, false] {
        let model = FakeModel::new(64, CONTEXT);
        let rows = model.rows.clone();
        let mut harness =
            Harness::with_model(Box::new(model), EngineOptions { prefix_cache, ..EngineOptions::default() });
        let id = harness.submit(generate(&prompt(3, 36), GenerateOptions { choices: 4, ..plain(8) }));
        harness.run();
        let outcome = &harness.outcomes[&id];
        // The prompt once, its last four tokens for each of the others, then seven tokens for each.
        assert_eq!(rows.load(Ordering::Relaxed), 36 + 3 * 4 + 4 * 7);
        let texts: std::collections::HashSet<&str> =
            outcome.choices.values().map(|choice| choice.text.as_str()).collect();
        assert_eq!(texts.len(), 4, "{texts:?}");
        assert_eq!(outcome.usage.unwrap().completion_tokens, 32);
        assert_eq!(outcome.usage.unwrap().cached_tokens, 0);
    }
}

#[test]
fn clients_take_turns() {
    let mut harness = Harness::new(64, one_at_a_time());
    let from = |client: &str, seed| Request { client: client.into(), ..greedy(&prompt(seed, 5), 4) };
    let many: Vec<_> = (0..5).map(|seed| harness.submit(from("busy", seed))).collect();
    let few: Vec<_> = (5..7).map(|seed| harness.submit(from("quiet", seed))).collect();
    let mut order = Vec::new();
    while harness.engine.has_work() {
        harness.step();
        let ended = harness.outcomes.iter().filter(|(id, outcome)| outcome.ended() && !order.contains(*id));
        order.extend(ended.map(|(&id, _)| id).collect::<Vec<_>>());
    }
    assert_eq!(order, [many[0], few[0], many[1], few[1], many[2], many[3], many[4]]);
}

#[test]
fn a_short_prompt_does_not_wait_for_a_long_one() {
    let mut harness = Harness::new(64, EngineOptions { prefill_chunk: 8, ..EngineOptions::default() });
    let long = harness.submit(greedy(&prompt(1, 90), 1));
    let short = harness.submit(greedy(&prompt(2, 4), 1));
    harness.step();
    assert!(harness.outcomes[&short].ended() && !harness.outcomes[&long].ended());
}

#[test]
fn cancelling_frees_at_once() {
    let mut harness = Harness::new(64, EngineOptions::default());
    let id = harness.submit(generate(&prompt(1, 40), GenerateOptions { choices: 3, ..plain(50) }));
    (0..4).for_each(|_| harness.step());
    assert!(harness.engine.stats().pages_used > 0);
    harness.cancel(id);
    let stats = harness.engine.stats();
    assert_eq!((stats.pages_used, stats.running, stats.waiting, stats.cancelled), (0, 0, 0, 1));
    let outcome = &harness.outcomes[&id];
    assert!(outcome.choices.values().all(|choice| choice.reason == Some(FinishReason::Cancelled)));
    assert_eq!((outcome.choices.len(), outcome.usage.is_some()), (3, true));
    assert!(!harness.engine.has_work());
}

#[test]
fn a_listener_that_goes_away_cancels() {
    let mut harness = Harness::new(64, EngineOptions::default());
    let (sender, receiver) = std::sync::mpsc::channel();
    harness.engine.submit(99, greedy(&prompt(1, 5), 50), sender).unwrap();
    harness.step();
    drop(receiver);
    harness.step();
    assert!(!harness.engine.has_work());
    assert_eq!((harness.engine.stats().pages_used, harness.engine.stats().cancelled), (0, 1));
}

#[test]
fn waiting_too_long_is_an_error_but_not_waiting_is_none() {
    let mut harness = Harness::new(64, one_at_a_time());
    let impatient = |seed| Request { max_queue_seconds: Some(0.0), ..greedy(&prompt(seed, 5), 3) };
    let served = harness.submit(impatient(1));
    let late = harness.submit(impatient(2));
    harness.run();
    assert!(harness.outcomes[&served].error.is_none());
    let error = harness.outcomes[&late].error.as_ref();
    assert!(matches!(error, Some(Error::QueueTimeout { limit, .. }) if *limit == 0.0), "{error:?}");
}

#[test]
fn stop_tokens_count_but_do_not_show() {
    let whole = alone(&greedy(&prompt(4, 9), 6));
    let text: Vec<char> = whole.choices[&0].text.chars().collect();
    let stop_token = (0..26).find(|&token| letter(token) == text[3]).unwrap();
    let place = text.iter().position(|&c| c == text[3]).unwrap();
    let Task::Generate(options) = greedy(&[0], 6).task else { unreachable!() };
    let options = GenerateOptions { stop_tokens: vec![stop_token, stop_token + 26], ..options };
    let stopped = alone(&generate(&prompt(4, 9), options));
    assert_eq!(stopped.choices[&0].text.chars().collect::<Vec<_>>(), text[..place]);
    assert_eq!(stopped.choices[&0].reason, Some(FinishReason::Stop));
    assert_eq!(stopped.usage.unwrap().completion_tokens, place + 1);
}

#[test]
fn scores_and_embeddings_do_not_depend_on_chunks() {
    let tokens = prompt(5, 50);
    for task in [Task::Score { top: 2 }, Task::Embed] {
        let whole = alone(&request(&tokens, task.clone()));
        for prefill_chunk in [1, 7, 16, 33] {
            let mut harness = Harness::new(64, EngineOptions { prefill_chunk, ..EngineOptions::default() });
            let id = harness.submit(request(&tokens, task.clone()));
            harness.run();
            let outcome = &harness.outcomes[&id];
            assert_eq!((&outcome.scores, &outcome.embedding), (&whole.scores, &whole.embedding));
        }
        assert!(whole.embedding.is_none_or(|embedding| embedding.len() == HIDDEN));
        assert!(whole.scores.is_none_or(|scores| {
            scores.len() == 50 && scores[0].logprob.is_none() && scores[1..].iter().all(|s| s.logprob < Some(0.0))
        }));
    }
}

#[test]
fn a_score_agrees_with_the_logprobs_of_generation() {
    let id = |outcome: &super::harness::Outcome| outcome.choices[&0].tokens.clone();
    let generated = id(&alone(&generate(&prompt(6, 20), GenerateOptions { logprobs: Some(3), ..plain(12) })));
    let answer: Vec<TokenId> = generated.iter().map(|token| token.id).collect();
    let scores = alone(&request(&[prompt(6, 20), answer].concat(), Task::Score { top: 3 })).scores.unwrap();
    assert_eq!(scores[20..], generated);
}

#[test]
fn what_can_never_fit_is_refused_at_once() {
    let mut harness = Harness::new(4, EngineOptions::default());
    let mut refusal = |request| harness.engine.submit(1, request, harness.sender.clone()).unwrap_err();
    let error = refusal(greedy(&prompt(1, 50), 15));
    assert!(matches!(error, Error::ContextLength { limit: 64, prompt: 50, needed: 65 }), "{error:?}");
    let error = refusal(greedy(&prompt(1, 5), usize::MAX));
    assert!(matches!(error, Error::ContextLength { .. }), "{error:?}");
    let mut field = |request| match refusal(request) {
        Error::Request { param, .. } => param,
        other => format!("{other:?}"),
    };
    assert_eq!(field(greedy(&[], 1)), "prompt");
    assert_eq!(field(greedy(&[1, 32], 1)), "prompt");
    assert_eq!(field(greedy(&[1], 0)), "max_tokens");
    assert_eq!(field(generate(&[1], GenerateOptions { choices: 0, ..plain(1) })), "n");
    assert_eq!(field(generate(&[1], GenerateOptions { logprobs: Some(21), ..plain(1) })), "top_logprobs");
    assert_eq!(field(generate(&[1], GenerateOptions { stop: vec![String::new()], ..plain(1) })), "stop");
    assert_eq!(field(request(&[1], Task::Score { top: 33 })), "top");
    for bad in [f64::NAN, -1.0] {
        assert_eq!(field(Request { max_queue_seconds: Some(bad), ..greedy(&[1], 1) }), "max_queue_seconds");
    }
}
