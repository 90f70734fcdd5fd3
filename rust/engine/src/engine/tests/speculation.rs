//! Drafts change how soon tokens come, and nothing else.
use proptest::prelude::*;

use super::{
    super::{EngineOptions, Models},
    fake::{FakeModel, VOCAB, letter},
    harness::{CONTEXT, Harness, Outcome, alone_on, generate, greedy, plain, prompt},
};
use crate::{
    Error, Result,
    batch::{Batch, Limits, Model, PAGE_TOKENS, SegmentOutput, TokenId},
    sample::SamplingOptions,
    schedule::{FinishReason, GenerateOptions, Request, RequestId},
    speculate::{DraftModel, Speculation},
};

fn model(echo: usize) -> Box<FakeModel> {
    Box::new(FakeModel::new(64, CONTEXT).echoing(echo))
}

fn drafting(echo: usize) -> Harness {
    Harness::with_model(model(echo), EngineOptions::default())
}

/// A text that says itself again every seven tokens, now and then with a change.
fn repeating(max_new_tokens: usize) -> Request {
    greedy(&prompt(3, 14), max_new_tokens)
}

/// With a draft model that echoes, too, or fails.
fn with_draft(draft: Box<dyn Model>) -> Harness {
    let draft = Some(DraftModel::new(draft, VOCAB, 0.1));
    Harness::with_models(Models { model: model(7), draft }, EngineOptions::default())
}

fn run(harness: &mut Harness, request: &Request) -> RequestId {
    let id = harness.submit(request.clone());
    harness.run();
    id
}

/// The same request with these options changed.
fn with(request: &Request, change: impl Fn(&mut GenerateOptions)) -> Request {
    let mut request = request.clone();
    let crate::schedule::Task::Generate(options) = &mut request.task else { unreachable!() };
    change(options);
    request
}

fn sampling() -> impl Strategy<Value = SamplingOptions> {
    let temperature = prop_oneof![Just(0.0f32), Just(0.7), Just(1.0), Just(1.6)];
    let cut = (0usize..6, prop_oneof![Just(1.0f32), Just(0.8)], prop_oneof![Just(0.0f32), Just(0.1)]);
    let typical = prop_oneof![3 => Just(1.0f32), 1 => Just(0.9)];
    let penalties = (prop_oneof![Just(1.0f32), Just(1.2)], -1.0f32..1.0, prop_oneof![Just(0.0f32), Just(0.5)]);
    let bias = prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec((0..26u32, -5.0f32..5.0), 0..4)];
    (temperature, cut, typical, penalties, bias, any::<u64>()).prop_map(
        |(temperature, (top_k, top_p, min_p), typical_p, penalties, logit_bias, seed)| SamplingOptions {
            temperature,
            top_k,
            top_p,
            min_p,
            typical_p,
            repetition_penalty: penalties.0,
            presence_penalty: penalties.1,
            frequency_penalty: penalties.2,
            logit_bias,
            seed: Some(seed),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_the_options_the_answer_is_that_without_drafts(
        sampling in sampling(),
        (choices, max_new_tokens, logprobs) in (1usize..4, 1usize..60, prop::option::of(0usize..4)),
        stop in prop_oneof![2 => Just(vec![]), 1 => Just(vec!["ca".to_owned(), "hjk".to_owned()])],
        (seed, length, echo) in (0..4u32, 2..30u32, 1usize..9),
        (by_model, draft_echo) in (any::<bool>(), 5usize..8),
    ) {
        let options = GenerateOptions { max_new_tokens, choices, stop, logprobs, sampling, ..plain(1) };
        let request = generate(&prompt(seed, length), options);
        let mut harness = if by_model { with_draft(model(draft_echo)) } else { drafting(echo) };
        let echo = if by_model { 7 } else { echo };
        let id = run(&mut harness, &request);
        let (drafted, plain) = (&harness.outcomes[&id], alone_on(model(echo), &request));
        prop_assert_eq!(&drafted.choices, &plain.choices);
        prop_assert_eq!(drafted.usage.unwrap().completion_tokens, plain.usage.unwrap().completion_tokens);
        prop_assert_eq!(plain.usage.unwrap().drafted_tokens, 0);
        prop_assert_eq!(harness.engine.stats().pages_used, 0);
    }
}

#[test]
fn a_text_that_repeats_itself_takes_fewer_passes_and_the_counts_say_so() {
    let mut harness = drafting(7);
    let id = run(&mut harness, &repeating(80));
    let (stats, usage) = (harness.engine.stats(), harness.outcomes[&id].usage.unwrap());
    assert_eq!((usage.completion_tokens, stats.completion_tokens), (80, 80));
    // One token in eight is another than seven tokens before.
    assert!(stats.steps < 48, "{} passes", stats.steps);
    // The prompt brings the first token; each later pass brings one, and one more for each draft that comes true.
    assert_eq!(stats.steps + stats.accepted_tokens, 80);
    assert_eq!(stats.batch_rows.sum(), (14 + stats.steps - 1 + stats.drafted_tokens) as f64);
    assert_eq!(usage.drafted_tokens as u64, stats.drafted_tokens);
    assert_eq!(usage.accepted_tokens as u64, stats.accepted_tokens);
    assert_eq!(stats.token_seconds.count(), 79);
}

#[test]
fn a_text_that_does_not_repeat_itself_is_left_alone() {
    let (mut tokens, mut drafted) = (0, 0);
    for seed in 0..20 {
        let mut harness = Harness::new(64, EngineOptions::default());
        run(&mut harness, &generate(&prompt(seed, 20), plain(70)));
        tokens += harness.engine.stats().completion_tokens;
        drafted += harness.engine.stats().drafted_tokens;
    }
    // A row more costs a seventh of a pass: this is one pass in a hundred.
    assert!(drafted * 12 < tokens, "{drafted} drafted for {tokens}");
}

#[test]
fn it_can_be_turned_off() {
    let options = EngineOptions { speculation: Speculation::Off, ..EngineOptions::default() };
    let mut harness = Harness::with_model(model(7), options);
    run(&mut harness, &repeating(80));
    assert_eq!((harness.engine.stats().drafted_tokens, harness.engine.stats().steps), (0, 80));
}

#[test]
fn each_token_is_an_event_of_its_own_in_order() {
    let mut harness = drafting(7);
    let id = harness.submit(repeating(60));
    let mut most = 0;
    while harness.engine.has_work() {
        let before = harness.outcomes[&id].pieces.len();
        harness.step();
        most = most.max(harness.outcomes[&id].pieces.len() - before);
    }
    assert!(most > 3, "at most {most} in a step");
    assert!(harness.outcomes[&id].pieces.iter().all(|piece| piece.len() == 1));
    assert_eq!(harness.outcomes[&id].pieces.len(), 60);
}

/// Ends the answer at every place in turn, most of which lie within a draft.
#[test]
fn an_answer_ends_where_it_should_even_within_a_draft() {
    let whole = alone_on(model(7), &with(&repeating(60), |options| options.logprobs = Some(0)));
    let tokens: Vec<TokenId> = whole.choices[&0].tokens.iter().map(|token| token.id).collect();
    let mut within = 0;
    for place in 0..60 {
        let ends: [&dyn Fn(&mut GenerateOptions); 3] = [
            &|options| options.max_new_tokens = place + 1,
            &|options| options.stop_tokens = vec![tokens[place]],
            &|options| {
                options.stop = vec![tokens[place.saturating_sub(2)..=place].iter().map(|&t| letter(t)).collect()]
            },
        ];
        for end in ends {
            let request = with(&repeating(60), end);
            let mut harness = drafting(7);
            let id = run(&mut harness, &request);
            let plain = alone_on(model(7), &request);
            assert_eq!(harness.outcomes[&id].choices, plain.choices);
            let stats = harness.engine.stats();
            assert_eq!(stats.completion_tokens, plain.usage.unwrap().completion_tokens as u64);
            within += u64::from(stats.accepted_tokens > 0 && stats.accepted_tokens < stats.drafted_tokens);
        }
    }
    assert!(within > 40, "{within}");
}

#[test]
fn the_next_turn_finds_what_was_accepted_and_nothing_else() {
    let mut harness = drafting(7);
    let first = with(&repeating(70), |options| options.logprobs = Some(0));
    let id = run(&mut harness, &first);
    assert!(harness.engine.stats().accepted_tokens < harness.engine.stats().drafted_tokens, "nothing was rejected");
    let answer: Vec<TokenId> = harness.outcomes[&id].choices[&0].tokens.iter().map(|token| token.id).collect();
    let second = greedy(&[first.tokens, answer, vec![5, 6]].concat(), 9);
    let id = run(&mut harness, &second);
    // The last token of the answer was never given to the model, or only as a draft.
    assert_eq!(harness.outcomes[&id].usage.unwrap().cached_tokens, (14 + 70 - 1) / PAGE_TOKENS * PAGE_TOKENS);
    assert_eq!(harness.outcomes[&id].choices, alone_on(model(7), &second).choices);
}

#[test]
fn cancelling_amid_drafts_frees_all() {
    let mut harness = drafting(7);
    let id = harness.submit(with(&repeating(70), |options| options.choices = 3));
    (0..12).for_each(|_| harness.step());
    assert!(harness.engine.stats().accepted_tokens > 0);
    harness.cancel(id);
    let stats = harness.engine.stats();
    assert_eq!((stats.pages_used, stats.running), (0, 0));
    let cancelled = |outcome: &Outcome| {
        outcome.choices.values().all(|choice| choice.reason == Some(FinishReason::Cancelled) && choice.text.len() < 70)
    };
    assert!(cancelled(&harness.outcomes[&id]));
}

#[test]
fn a_listener_that_goes_away_amid_a_draft_cancels() {
    let mut harness = drafting(7);
    let (sender, receiver) = std::sync::mpsc::channel();
    harness.engine.submit(99, repeating(70), sender).unwrap();
    while harness.engine.stats().accepted_tokens == 0 {
        harness.step();
    }
    drop(receiver);
    harness.step();
    assert!(!harness.engine.has_work());
    assert_eq!((harness.engine.stats().pages_used, harness.engine.stats().cancelled), (0, 1));
}

#[test]
fn nobody_makes_room_for_a_draft() {
    let options = EngineOptions { max_sequences: 3, prefix_cache: false, ..EngineOptions::default() };
    // Three sequences of 80 tokens fit exactly; a page more for a draft would push one out.
    let mut harness = Harness::with_model(Box::new(FakeModel::new(15, CONTEXT).echoing(7)), options);
    let ids: Vec<RequestId> = (0..3).map(|seed| harness.submit(greedy(&prompt(seed, 16), 64))).collect();
    harness.run();
    assert!(ids.iter().all(|id| harness.outcomes[id].usage.is_some()));
    assert!(harness.engine.stats().accepted_tokens > 0);
    assert_eq!(harness.engine.stats().preemptions, 0);
}

#[test]
fn a_draft_model_that_agrees_saves_most_passes() {
    let mut harness = with_draft(model(7));
    let id = run(&mut harness, &repeating(80));
    let stats = harness.engine.stats();
    // The two are the same, so its drafts come true, the surprises too. Some drafts are looked up.
    assert!(stats.accepted_tokens * 5 > stats.drafted_tokens * 4);
    assert_eq!(stats.draft_failures, 0);
    assert!(stats.steps < 25, "{} passes", stats.steps);
    assert_eq!(harness.outcomes[&id].choices, alone_on(model(7), &repeating(80)).choices);
}

#[test]
fn a_draft_model_that_never_agrees_is_seldom_asked() {
    let draft = FakeModel::new(64, CONTEXT);
    let rows = draft.rows.clone();
    let mut harness = Harness::with_models(
        Models {
            model: Box::new(FakeModel::new(64, CONTEXT)),
            draft: Some(DraftModel::new(Box::new(Through(draft, inverted)), VOCAB, 0.1)),
        },
        EngineOptions::default(),
    );
    run(&mut harness, &generate(&prompt(1, 10), plain(80)));
    let stats = harness.engine.stats();
    assert!((1..40).contains(&stats.drafted_tokens), "{} drafted", stats.drafted_tokens);
    assert!(rows.load(std::sync::atomic::Ordering::Relaxed) < 110);
}

/// A model whose passes go through a function.
struct Through<F>(FakeModel, F);

impl<F: FnMut(Result<Vec<SegmentOutput>>) -> Result<Vec<SegmentOutput>> + Send> Model for Through<F> {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<SegmentOutput>> {
        (self.1)(self.0.forward(batch))
    }
}

/// What was found least likely becomes likeliest.
fn inverted(outputs: Result<Vec<SegmentOutput>>) -> Result<Vec<SegmentOutput>> {
    let mut outputs = outputs?;
    outputs.iter_mut().flat_map(|output| &mut output.logits).for_each(|logit| *logit = -*logit);
    Ok(outputs)
}

/// Fails from its third pass on.
fn broken() -> impl FnMut(Result<Vec<SegmentOutput>>) -> Result<Vec<SegmentOutput>> + Send {
    let mut passes = 0;
    move |outputs| {
        passes += 1;
        if passes > 2 { Err(Error::Internal("broken".into())) } else { outputs }
    }
}

#[test]
fn a_draft_model_that_fails_is_let_go_and_no_request_notices() {
    let mut harness = with_draft(Box::new(Through(FakeModel::new(64, CONTEXT).echoing(7), broken())));
    let id = run(&mut harness, &repeating(80));
    assert_eq!(harness.engine.stats().draft_failures, 1);
    assert_eq!(harness.outcomes[&id].choices, alone_on(model(7), &repeating(80)).choices);
}
