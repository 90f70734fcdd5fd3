//! A request on its way: where its events go and what was gathered for them. Knows neither pages nor who runs next.
use std::{sync::mpsc::Sender, time::Instant};

use super::{
    choice::{Choice, Rules},
    collect::{MeanHidden, Scores},
    panics::contained,
    stats::Stats,
};
use crate::{
    Error, Result,
    sample::Scratch,
    schedule::{Event, FinishReason, RequestId, Row, Usage},
    speculate::Foresight,
};

/// Where the events of a request go.
pub trait Sink: Send {
    /// Takes an event without waiting; false if nobody listens any more, which cancels the request.
    fn send(&self, id: RequestId, event: Event) -> bool;
}

impl Sink for Sender<(RequestId, Event)> {
    fn send(&self, id: RequestId, event: Event) -> bool {
        Sender::send(self, (id, event)).is_ok()
    }
}

impl<F: Fn(RequestId, Event) -> bool + Send> Sink for F {
    fn send(&self, id: RequestId, event: Event) -> bool {
        self(id, event)
    }
}

/// What a request asks for, as far as it has got.
pub enum Work {
    Generate(Rules, Vec<Choice>),
    Embed(MeanHidden),
    Score(Scores),
}

/// A request that is not complete.
pub struct Job {
    sink: Box<dyn Sink>,
    work: Work,
    submitted: Instant,
    /// When to give up waiting for the first turn, in seconds.
    max_queue_seconds: Option<f64>,
    usage: Usage,
    /// Nobody listens any more.
    pub deserted: bool,
}

/// What the scheduler must know after a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More of the prompt is to come.
    Underway,
    /// The sequence goes on with this token.
    Token(u32),
    /// The sequence is complete.
    SequenceDone,
    /// So is the request.
    RequestDone,
}

/// What the model gave for a row.
pub struct Given<'a> {
    pub logits: &'a [f32],
    pub hidden: &'a [f32],
}

/// What the engine has for each row.
pub struct Tools<'a> {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub scratch: &'a mut Scratch,
    pub stats: &'a mut Stats,
}

impl Job {
    /// A request that begins to wait now.
    pub fn new(work: Work, prompt_tokens: usize, max_queue_seconds: Option<f64>, sink: Box<dyn Sink>) -> Self {
        let usage = Usage { prompt_tokens, ..Usage::default() };
        Self { sink, work, submitted: Instant::now(), max_queue_seconds, usage, deserted: false }
    }

    /// The first turn has come.
    pub fn start(&mut self, cached_tokens: usize, stats: &mut Stats) {
        self.usage.cached_tokens = cached_tokens;
        self.usage.queue_seconds = self.seconds();
        stats.prompt_tokens += self.usage.prompt_tokens as u64;
        stats.cached_tokens += cached_tokens as u64;
    }

    /// Takes what the model gave for a row and publishes what follows from it.
    ///
    /// # Errors
    /// The model gave something unusable; the request is lost.
    pub fn absorb(&mut self, id: RequestId, row: &Row, given: Given, tools: Tools) -> Result<Progress> {
        if let Work::Generate(..) = self.work {
            return if row.completes {
                self.take_turn(id, row.key.index, given.logits, tools)
            } else {
                Ok(Progress::Underway)
            };
        }
        match &mut self.work {
            Work::Embed(mean) => {
                expect_values("hidden states", given.hidden.len(), row.count * tools.hidden_size)?;
                mean.add(row.start, given.hidden, tools.hidden_size);
            }
            Work::Score(scores) => {
                expect_values("logits", given.logits.len(), row.count * tools.vocab_size)?;
                scores.add(row.start, given.logits, tools.vocab_size)?;
            }
            Work::Generate(..) => {}
        }
        if !row.completes {
            return Ok(Progress::Underway);
        }
        self.publish_result(id);
        Ok(Progress::RequestDone)
    }

    /// See [`Choice::foresight`]; none for a choice that has ended.
    pub fn foresight(&mut self, index: usize) -> Option<(&mut Foresight, usize)> {
        let Work::Generate(rules, choices) = &mut self.work else { return None };
        choices.get_mut(index).filter(|choice| choice.open).map(|choice| choice.foresight(rules))
    }

    /// Tokens were drafted and checked.
    pub fn note_drafted(&mut self, count: usize, stats: &mut Stats) {
        self.usage.drafted_tokens += count;
        stats.drafted_tokens += count as u64;
    }

    /// A drafted token came true and saved a pass.
    pub fn note_accepted(&mut self, stats: &mut Stats) {
        self.usage.accepted_tokens += 1;
        stats.accepted_tokens += 1;
    }

    /// Last event of a request that waited too long.
    pub fn expire(&mut self, id: RequestId) {
        let limit = self.max_queue_seconds.unwrap_or_default();
        self.fail(id, Error::QueueTimeout { waited: self.seconds(), limit });
    }

    /// Last event of a request that fails.
    pub fn fail(&mut self, id: RequestId, error: Error) {
        self.send(id, Event::Failed(error));
    }

    /// Last events of a request that is cancelled.
    pub fn cancel(&mut self, id: RequestId) {
        let open: Vec<usize> = match &self.work {
            Work::Generate(_, choices) => (0..choices.len()).filter(|&index| choices[index].open).collect(),
            Work::Embed(_) | Work::Score(_) => vec![0],
        };
        for index in open {
            self.send(id, Event::Finished { index, reason: FinishReason::Cancelled });
        }
        self.send_done(id);
    }

    /// Last event of a request that is complete.
    pub fn send_done(&mut self, id: RequestId) {
        self.usage.total_seconds = self.seconds();
        self.send(id, Event::Done(self.usage));
    }

    /// Seconds since submission.
    pub fn seconds(&self) -> f64 {
        self.submitted.elapsed().as_secs_f64()
    }

    fn take_turn(&mut self, id: RequestId, index: usize, logits: &[f32], tools: Tools) -> Result<Progress> {
        expect_values("logits", logits.len(), tools.vocab_size)?;
        let Work::Generate(rules, choices) = &mut self.work else { return Ok(Progress::Underway) };
        let Some(choice) = choices.get_mut(index) else {
            return Err(Error::Internal(format!("a token came for choice {index}, which does not exist")));
        };
        let turn = contained(|| choice.take_turn(rules, logits, tools.scratch))?;
        let before = choice.last_token.replace(Instant::now());
        let all_done = choices.iter().all(|choice| !choice.open);
        self.count_token(before, tools.stats);
        if let Some((text, tokens)) = turn.piece {
            self.send(id, Event::Text { index, text, tokens });
        }
        let Some(reason) = turn.finished else { return Ok(Progress::Token(turn.token)) };
        self.send(id, Event::Finished { index, reason });
        Ok(if all_done { Progress::RequestDone } else { Progress::SequenceDone })
    }

    fn count_token(&mut self, before: Option<Instant>, stats: &mut Stats) {
        if self.usage.completion_tokens == 0 {
            self.usage.first_token_seconds = self.seconds();
            stats.first_token_seconds.record(self.usage.first_token_seconds);
        }
        if let Some(before) = before {
            stats.token_seconds.record(before.elapsed().as_secs_f64());
        }
        self.usage.completion_tokens += 1;
        stats.completion_tokens += 1;
    }

    fn publish_result(&mut self, id: RequestId) {
        self.usage.first_token_seconds = self.seconds();
        match &mut self.work {
            Work::Embed(mean) => {
                let embedding = mean.mean();
                self.send(id, Event::Embedding(embedding));
            }
            Work::Score(scores) => {
                let scores = scores.take();
                self.send(id, Event::Scores(scores));
            }
            Work::Generate(..) => {}
        }
    }

    /// A sink that panics is as good as gone.
    fn send(&mut self, id: RequestId, event: Event) {
        let heard = !self.deserted && contained(|| Ok(self.sink.send(id, event))).unwrap_or(false);
        self.deserted = !heard;
    }
}

/// # Errors
/// The model gave more or less than it should.
pub fn expect_values(what: &str, found: usize, wanted: usize) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::Internal(format!("the model gave {found} values of {what}, expected {wanted}")))
}
