//! Whatever runs beside it, whatever is evicted, preempted or cancelled: a request comes to what it comes to alone.
use proptest::prelude::*;

use super::{
    super::{EngineOptions, Models},
    fake::{FakeModel, VOCAB},
    harness::{CONTEXT, Harness, Outcome, alone_on, generate, prompt, request},
};
use crate::{
    sample::SamplingOptions,
    schedule::{FinishReason, GenerateOptions, Request, RequestId, Task},
    speculate::{DraftModel, Speculation},
};

fn model(pages: usize, echo: Option<usize>) -> Box<FakeModel> {
    Box::new(FakeModel::new(pages, CONTEXT).echoing(echo))
}

/// A request, the step before which it comes and the step before which it is cancelled.
#[derive(Debug, Clone)]
struct Arrival {
    request: Request,
    at: usize,
    cancelled_at: Option<usize>,
}

fn generate_options() -> impl Strategy<Value = GenerateOptions> {
    let stop = prop_oneof![2 => Just(vec![]), 1 => Just(vec!["ab".to_owned(), "q".to_owned()])];
    let stop_tokens = prop_oneof![2 => Just(vec![]), 1 => Just(vec![3])];
    let temperature = prop_oneof![Just(0.0f32), Just(1.0), Just(0.5)];
    let penalty = prop_oneof![Just(1.0f32), Just(1.3)];
    (1usize..40, 1usize..4, stop, stop_tokens, prop::option::of(0usize..3), (temperature, penalty), any::<u64>())
        .prop_map(|(max_new_tokens, choices, stop, stop_tokens, logprobs, (temperature, repetition_penalty), seed)| {
            let sampling =
                SamplingOptions { temperature, repetition_penalty, seed: Some(seed), ..SamplingOptions::default() };
            GenerateOptions { max_new_tokens, choices, stop, stop_tokens, logprobs, sampling }
        })
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let task = prop_oneof![
        6 => generate_options().prop_map(Task::Generate),
        1 => Just(Task::Embed),
        1 => (0usize..3).prop_map(|top| Task::Score { top }),
    ];
    // Few beginnings, so that prefixes meet.
    (
        task,
        0..3u32,
        1..40u32,
        prop::collection::vec(0..26u32, 0..16),
        0..3,
        0..60usize,
        prop::option::weighted(0.2, 0..90usize),
    )
        .prop_map(|(task, seed, length, tail, client, at, cancelled_at)| {
            let tokens = [prompt(seed, length), tail].concat();
            let request = Request { client: format!("client {client}"), ..request(&tokens, task) };
            Arrival { request, at, cancelled_at }
        })
}

fn engine_options() -> impl Strategy<Value = EngineOptions> {
    let speculation = prop_oneof![3 => Just(Speculation::Ngram), 1 => Just(Speculation::Off)];
    (1usize..7, 1usize..48, any::<bool>(), speculation).prop_map(
        |(max_sequences, prefill_chunk, prefix_cache, speculation)| EngineOptions {
            max_sequences,
            prefill_chunk,
            prefix_cache,
            speculation,
            ..EngineOptions::default()
        },
    )
}

fn drive(harness: &mut Harness, arrivals: &[Arrival], options: EngineOptions) -> Vec<RequestId> {
    let mut order: Vec<usize> = (0..arrivals.len()).collect();
    order.sort_by_key(|&index| arrivals[index].at);
    let mut ids = vec![0; arrivals.len()];
    let (mut rows, mut drafted) = (0.0, 0);
    for step in 0..100 {
        for &index in order.iter().filter(|&&index| arrivals[index].at == step) {
            ids[index] = harness.submit(arrivals[index].request.clone());
        }
        for (arrival, id) in arrivals.iter().zip(&ids) {
            if arrival.cancelled_at == Some(step) && *id > 0 {
                harness.cancel(*id);
            }
        }
        harness.step();
        let stats = harness.engine.stats();
        assert!(stats.running <= options.max_sequences);
        let step_rows = stats.batch_rows.sum() - rows - (stats.drafted_tokens - drafted) as f64;
        assert!(step_rows <= (options.max_sequences + options.prefill_chunk) as f64, "{step_rows} rows");
        (rows, drafted) = (stats.batch_rows.sum(), stats.drafted_tokens);
    }
    harness.run();
    ids
}

fn check_same(arrival: &Arrival, together: &Outcome, echo: Option<usize>) -> Result<(), TestCaseError> {
    let alone = alone_on(model(64, echo), &arrival.request);
    prop_assert!(together.error.is_none() && alone.error.is_none(), "{:?} {:?}", together.error, alone.error);
    let cancelled = together.choices.values().any(|choice| choice.reason == Some(FinishReason::Cancelled));
    if cancelled {
        prop_assert!(arrival.cancelled_at.is_some());
        for (index, choice) in &together.choices {
            let full = alone.choices.get(index).map_or("", |choice| &choice.text);
            prop_assert!(full.starts_with(&choice.text), "{} is no beginning of {}", choice.text, full);
        }
        return Ok(());
    }
    prop_assert_eq!(&together.choices, &alone.choices);
    prop_assert_eq!(&together.embedding, &alone.embedding);
    prop_assert_eq!(&together.scores, &alone.scores);
    let tokens = |outcome: &Outcome| outcome.usage.map(|usage| (usage.prompt_tokens, usage.completion_tokens));
    prop_assert_eq!(tokens(together), tokens(&alone));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]
    #[test]
    fn together_is_as_alone_and_nothing_is_left_behind(
        arrivals in prop::collection::vec(arrival(), 1..14),
        options in engine_options(),
        pages in 6usize..24,
        echo in prop::option::of(1usize..12),
        draft in prop::option::of((1usize..24, prop::option::of(1usize..12))),
    ) {
        let draft = draft.map(|(pages, echo)| DraftModel::new(model(pages, echo), VOCAB, 0.1));
        let mut harness = Harness::with_models(Models { model: model(pages, echo), draft }, options);
        let ids = drive(&mut harness, &arrivals, options);
        for (arrival, id) in arrivals.iter().zip(ids) {
            check_same(arrival, &harness.outcomes[&id], echo)?;
        }
        let stats = harness.engine.stats();
        prop_assert_eq!((stats.waiting, stats.running, stats.pages_used), (0, 0, 0));
        prop_assert_eq!(stats.completed + stats.cancelled, arrivals.len() as u64, "failed: {}", stats.failed);
        prop_assert!(options.prefix_cache || stats.pages_cached == 0, "private prefixes outlive their request");
    }
}

/// The property above is worth little if nothing is ever evicted, preempted or drafted in it.
#[test]
fn few_pages_force_preemption_and_answers_stay_the_same() {
    let options = EngineOptions { max_sequences: 6, prefill_chunk: 16, ..EngineOptions::default() };
    let arrivals: Vec<Arrival> = (0..8)
        .map(|seed| {
            let sampling = SamplingOptions { seed: Some(1), ..SamplingOptions::default() };
            let options = GenerateOptions { sampling, ..super::harness::plain(60) };
            Arrival { request: generate(&prompt(seed, 12), options), at: 0, cancelled_at: None }
        })
        .collect();
    for echo in [None, Some(5)] {
        let mut harness = Harness::with_model(model(9, echo), options);
        let ids = drive(&mut harness, &arrivals, options);
        let stats = harness.engine.stats();
        assert!(stats.preemptions > 0);
        assert!(echo.is_none() || stats.accepted_tokens > 0 && stats.accepted_tokens < stats.drafted_tokens);
        for (arrival, id) in arrivals.iter().zip(ids) {
            check_same(arrival, &harness.outcomes[&id], echo).unwrap();
        }
    }
}
