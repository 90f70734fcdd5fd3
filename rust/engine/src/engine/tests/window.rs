//! Answers that outgrow what the model sees: against a loop that asks a fresh engine for one token at a time.
use super::{
    super::{EngineOptions, PastWindow},
    fake::FakeModel,
    harness::{CONTEXT, Harness, alone_on, greedy, prompt},
};
use crate::{
    batch::{PAGE_TOKENS, TokenId},
    schedule::Request,
    speculate::Speculation,
};

const ANSWER: usize = 150;

/// What the model says of the last tokens alone, again and again.
fn expected(request: &Request, keep: usize) -> Vec<TokenId> {
    let mut tokens = request.tokens.clone();
    let mut dropped = 0;
    for _ in 0..ANSWER {
        if tokens.len() - dropped > CONTEXT {
            dropped = tokens.len() - keep;
        }
        let model = FakeModel::new(64, CONTEXT).sliding();
        let next = &alone_on(Box::new(model), &greedy(&tokens[dropped..], 1)).choices[&0].tokens[0];
        tokens.push(next.id);
    }
    tokens.split_off(request.tokens.len())
}

fn answers(options: EngineOptions, pages: usize, echo: Option<usize>, requests: &[Request]) -> Vec<Vec<TokenId>> {
    let model = FakeModel::new(pages, CONTEXT).sliding().echoing(echo);
    let mut harness = Harness::with_model(Box::new(model), options);
    let ids: Vec<_> = requests.iter().map(|request| harness.submit(request.clone())).collect();
    harness.run();
    let answer = |id| harness.outcomes[id].choices[&0].tokens.iter().map(|token| token.id).collect();
    ids.iter().map(answer).collect()
}

fn requests() -> Vec<Request> {
    let lengths = [5, 60, CONTEXT as u32];
    lengths.into_iter().map(|length| greedy(&prompt(length, length), ANSWER)).collect()
}

#[test]
fn beyond_the_window_the_model_sees_the_last_tokens() {
    for (past_window, keep) in [(PastWindow::Exact, CONTEXT), (PastWindow::Restart, CONTEXT / 2)] {
        let wanted: Vec<_> = requests().iter().map(|request| expected(request, keep)).collect();
        for prefill_chunk in [512, 20] {
            // Room for all, and so little that sequences make room for each other.
            for pages in [64, CONTEXT / PAGE_TOKENS + 1] {
                let options = EngineOptions { past_window, prefill_chunk, ..EngineOptions::default() };
                let found = answers(options, pages, None, &requests());
                assert!(found == wanted, "{past_window:?}, chunks of {prefill_chunk}, {pages} pages");
            }
        }
    }
}

/// Drafts must not reach beyond the window either; the fake refuses if they do.
#[test]
fn drafts_stop_at_the_window() {
    let drafting = EngineOptions { past_window: PastWindow::Restart, ..EngineOptions::default() };
    let plain = EngineOptions { speculation: Speculation::Off, ..drafting };
    let requests = requests();
    assert_eq!(answers(drafting, 64, Some(7), &requests), answers(plain, 64, Some(7), &requests));
}

#[test]
fn a_prompt_must_fit_whole_and_an_answer_only_where_the_model_does_not_slide() {
    let submit = |model: FakeModel, request: &Request| {
        let mut harness = Harness::with_model(Box::new(model), EngineOptions::default());
        let sender = harness.sender.clone();
        harness.engine.submit(1, request.clone(), sender)
    };
    let long = greedy(&prompt(1, CONTEXT as u32 + 1), 1);
    let answer = greedy(&prompt(1, 5), CONTEXT);
    submit(FakeModel::new(64, CONTEXT).sliding(), &long).unwrap_err();
    submit(FakeModel::new(64, CONTEXT).sliding(), &answer).unwrap();
    submit(FakeModel::new(64, CONTEXT), &answer).unwrap_err();
}
