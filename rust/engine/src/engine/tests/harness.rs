//! Runs requests and sorts out what came of them.
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
};

use super::fake::{FakeModel, Letters};
use crate::{
    Error,
    batch::{Model, TokenId},
    engine::{Engine, EngineOptions, Models},
    sample::SamplingOptions,
    schedule::{Event, FinishReason, GenerateOptions, Request, RequestId, Task, TokenInfo, Usage},
    speculate::Speculation,
};

pub const CONTEXT: usize = 96;

/// All that one request was told.
#[derive(Debug, Default)]
pub struct Outcome {
    pub choices: BTreeMap<usize, ChoiceOutcome>,
    pub embedding: Option<Vec<f32>>,
    pub scores: Option<Vec<TokenInfo>>,
    pub usage: Option<Usage>,
    pub error: Option<Error>,
    /// Texts as they came.
    pub pieces: Vec<String>,
}

#[derive(Debug, Default, PartialEq)]
pub struct ChoiceOutcome {
    pub text: String,
    pub tokens: Vec<TokenInfo>,
    pub reason: Option<FinishReason>,
}

impl Outcome {
    pub fn ended(&self) -> bool {
        self.usage.is_some() || self.error.is_some()
    }

    fn take(&mut self, event: Event) {
        assert!(!self.ended(), "an event after the last: {event:?}");
        match event {
            Event::Text { index, text, tokens } => {
                let choice = self.choices.entry(index).or_default();
                assert_eq!(choice.reason, None, "text after the end");
                choice.text.push_str(&text);
                self.pieces.push(text);
                choice.tokens.extend(tokens);
            }
            Event::Finished { index, reason } => {
                assert_eq!(self.choices.entry(index).or_default().reason.replace(reason), None);
            }
            Event::Embedding(values) => self.embedding = Some(values),
            Event::Scores(scores) => self.scores = Some(scores),
            Event::Done(usage) => self.usage = Some(usage),
            Event::Failed(error) => self.error = Some(error),
        }
    }
}

/// An engine with a fake model, driven step by step.
pub struct Harness {
    pub engine: Engine,
    pub outcomes: BTreeMap<RequestId, Outcome>,
    pub sender: Sender<(RequestId, Event)>,
    events: Receiver<(RequestId, Event)>,
    next: RequestId,
}

impl Harness {
    pub fn new(pages: usize, options: EngineOptions) -> Self {
        Self::with_model(Box::new(FakeModel::new(pages, CONTEXT)), options)
    }

    pub fn with_model(model: Box<dyn Model>, options: EngineOptions) -> Self {
        Self::with_models(Models::from(model), options)
    }

    pub fn with_models(models: Models, options: EngineOptions) -> Self {
        let (sender, events) = channel();
        let engine = Engine::new(models, Arc::new(Letters), options).unwrap();
        Self { engine, outcomes: BTreeMap::new(), sender, events, next: 0 }
    }

    pub fn submit(&mut self, request: Request) -> RequestId {
        self.next += 1;
        self.engine.submit(self.next, request, self.sender.clone()).unwrap();
        self.outcomes.insert(self.next, Outcome::default());
        self.next
    }

    pub fn step(&mut self) {
        self.engine.step();
        self.collect();
    }

    pub fn cancel(&mut self, id: RequestId) {
        self.engine.cancel(id);
        self.collect();
    }

    pub fn run(&mut self) {
        for _ in 0..20_000 {
            if !self.engine.has_work() {
                return;
            }
            self.step();
        }
        panic!("no end: {:?}", self.engine.stats());
    }

    fn collect(&mut self) {
        for (id, event) in self.events.try_iter() {
            self.outcomes.get_mut(&id).expect("a known request").take(event);
        }
    }
}

/// What a request comes to when it has an engine to itself, which drafts nothing.
pub fn alone(request: &Request) -> Outcome {
    alone_on(Box::new(FakeModel::new(64, CONTEXT)), request)
}

/// The same on a model of one's own.
pub fn alone_on(model: Box<dyn Model>, request: &Request) -> Outcome {
    let options = EngineOptions { speculation: Speculation::Off, ..EngineOptions::default() };
    let mut harness = Harness::with_model(model, options);
    let id = harness.submit(request.clone());
    harness.run();
    harness.outcomes.remove(&id).unwrap()
}

pub fn greedy(tokens: &[TokenId], max_new_tokens: usize) -> Request {
    let sampling = SamplingOptions { temperature: 0.0, ..SamplingOptions::default() };
    generate(tokens, GenerateOptions { sampling, ..plain(max_new_tokens) })
}

pub fn plain(max_new_tokens: usize) -> GenerateOptions {
    let sampling = SamplingOptions { seed: Some(7), ..SamplingOptions::default() };
    GenerateOptions { max_new_tokens, choices: 1, stop: vec![], stop_tokens: vec![], logprobs: None, sampling }
}

pub fn generate(tokens: &[TokenId], options: GenerateOptions) -> Request {
    request(tokens, Task::Generate(options))
}

pub fn request(tokens: &[TokenId], task: Task) -> Request {
    Request { tokens: tokens.to_vec(), task, client: String::new(), max_queue_seconds: None, adapters: Vec::new() }
}

/// Tokens that differ from those of other seeds.
pub fn prompt(seed: u32, length: u32) -> Vec<TokenId> {
    (0..length).map(|i| (seed * 7 + i * i + i / 3) % 26).collect()
}
