//! Schedule, forward, sample, publish: one step at a time. Knows neither how a model computes nor who listens.
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

mod adapters;
mod choice;
mod collect;
mod drafting;
mod handle;
mod intake;
mod job;
mod options;
mod panics;
mod stats;
#[cfg(test)]
mod tests;
mod text;

pub use adapters::{AdapterLimits, Adapters};
pub use handle::EngineHandle;
use intake::{Intake, Prepared};
pub use job::Sink;
use job::{Given, Job, Progress, Tools};
pub use options::{EngineOptions, PastWindow};
pub use panics::contained;
pub use stats::{Histogram, Stats};
pub use text::{TokenText, Vocabulary};

use crate::{
    Error, Result,
    batch::{Batch, Model, SegmentOutput, TokenId},
    clock::{Clock, Operation},
    sample::Scratch,
    schedule::{Drafts, Plan, Request, RequestId, Row, ScheduleOptions, Scheduler, Scope, SequenceKey},
    speculate::DraftModel,
};

/// A row of logits is as long as the vocabulary: one step asks for at most about this many values when scoring (64 MiB).
const SCORE_VALUES: usize = 1 << 24;

/// What an engine runs.
pub struct Models {
    /// The model that answers.
    pub model: Box<dyn Model>,
    /// A smaller one with the same vocabulary that drafts for it; not used when speculation is off.
    pub draft: Option<DraftModel>,
}

impl From<Box<dyn Model>> for Models {
    fn from(model: Box<dyn Model>) -> Self {
        Self { model, draft: None }
    }
}

/// One model with its requests. Single-threaded; [`EngineHandle`] puts it on a thread.
pub struct Engine {
    model: Box<dyn Model>,
    intake: Intake,
    options: EngineOptions,
    draft_model: Option<DraftModel>,
    scheduler: Scheduler,
    jobs: HashMap<RequestId, Job>,
    /// Sequences of a batch that failed; each runs alone until it is clear whose fault it was.
    suspects: VecDeque<SequenceKey>,
    scratch: Scratch,
    stats: Stats,
    /// Requests that wait for their first turn, for callers on other threads.
    waiting: Arc<AtomicUsize>,
}

impl Engine {
    /// An engine without requests.
    ///
    /// # Errors
    /// Options that let nothing run.
    pub fn new<V: Vocabulary + 'static>(
        models: impl Into<Models>,
        vocabulary: Arc<V>,
        options: EngineOptions,
    ) -> Result<Self> {
        options.validate()?;
        let Models { model, draft: draft_model } = models.into();
        Ok(Self {
            intake: Intake::new(model.as_ref(), vocabulary, Adapters::new(model.sites(), options.adapters)),
            scheduler: new_scheduler(model.as_ref(), &options),
            model,
            draft_model,
            options,
            jobs: HashMap::new(),
            suspects: VecDeque::new(),
            scratch: Scratch::default(),
            stats: Stats::default(),
            waiting: Arc::default(),
        })
    }

    /// Whether a request is not complete.
    pub fn has_work(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Runs one batch and publishes what comes of it.
    pub fn step(&mut self) {
        self.lap(Operation::Rest);
        let scope = self.suspects.pop_front().map_or(Scope::Everyone, Scope::Only);
        let drafts = if scope == Scope::Everyone { self.draft() } else { Drafts::default() };
        self.lap(Operation::Draft);
        let plan = self.scheduler.plan(scope, &drafts);
        self.note_started(&plan);
        self.expire();
        self.waiting.store(self.scheduler.waiting(), Ordering::Release);
        if plan.rows.is_empty() {
            return self.rest_if_idle();
        }
        self.lap(Operation::Rest);
        self.stats.steps += 1;
        self.stats.batch_rows.record(plan.batch.rows() as f64);
        match forward(self.model.as_mut(), &plan.batch) {
            Ok(outputs) => {
                let segments = plan.rows.iter().zip(&plan.batch.segments).zip(&outputs);
                segments.for_each(|((row, segment), output)| self.publish(row, segment, output));
            }
            Err(error) => self.blame(&plan.rows, error),
        }
        self.lap(Operation::Sampling);
        self.rest_if_idle();
    }

    /// Ends a request; its pages are free at once.
    pub fn cancel(&mut self, id: RequestId) {
        if let Some(mut job) = self.jobs.remove(&id) {
            job.cancel(id);
            self.scheduler.close(id);
            self.stats.cancelled += 1;
        }
    }

    /// What the engine does and has done.
    pub fn stats(&self) -> Stats {
        let pages = self.scheduler.pages();
        Stats {
            waiting: self.scheduler.waiting(),
            running: self.scheduler.running(),
            pages_used: pages.used(),
            pages_cached: pages.idle(),
            pages_total: pages.total(),
            preemptions: self.scheduler.preemptions(),
            account: self.model.clock().map(Clock::account).unwrap_or_default(),
            ..self.stats.clone()
        }
    }

    /// Queues a request; its events go to `sink` as steps are taken.
    ///
    /// # Errors
    /// [`Error::Request`] names the field at fault; [`Error::ContextLength`] if the request can never fit.
    pub fn submit(&mut self, id: RequestId, request: Request, sink: impl Sink + 'static) -> Result<()> {
        let prepared = self.intake.prepare(request, Box::new(sink))?;
        self.admit(id, prepared);
        Ok(())
    }

    /// Takes in a request that was checked.
    fn admit(&mut self, id: RequestId, prepared: Prepared) {
        self.jobs.insert(id, prepared.job);
        self.scheduler.submit(id, prepared.submission);
    }

    /// The adapters that requests may name.
    pub fn adapters(&self) -> &Adapters {
        self.intake.adapters()
    }

    fn lap(&self, operation: Operation) {
        if let Some(clock) = self.model.clock() {
            clock.lap(operation);
        }
    }

    /// The time until the next request is nobody's.
    fn rest_if_idle(&self) {
        if let Some(clock) = self.model.clock().filter(|_| !self.has_work()) {
            clock.pause();
        }
    }

    fn waiting(&self) -> &Arc<AtomicUsize> {
        &self.waiting
    }

    fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Gives up all requests and starts afresh.
    fn reset(&mut self, error: &Error) {
        self.scheduler = new_scheduler(self.model.as_ref(), &self.options);
        self.suspects.clear();
        self.waiting.store(0, Ordering::Release);
        self.stats.failed += self.jobs.len() as u64;
        for (id, mut job) in self.jobs.drain() {
            job.fail(id, error.clone());
        }
    }

    fn expire(&mut self) {
        for id in self.scheduler.expire(Instant::now()) {
            self.scheduler.close(id);
            if let Some(mut job) = self.jobs.remove(&id) {
                job.expire(id);
                self.stats.failed += 1;
            }
        }
    }

    fn note_started(&mut self, plan: &Plan) {
        for started in &plan.started {
            if let Some(job) = self.jobs.get_mut(&started.request) {
                job.start(started.cached_tokens, &mut self.stats);
            }
        }
    }

    /// Takes what the model gave for a row; returns the token with which its sequence goes on.
    fn publish_row(&mut self, row: &Row, logits: &[f32], hidden: &[f32]) -> Option<TokenId> {
        let (key, id) = (row.key, row.key.request);
        // Another choice of the same request may have failed in this very step.
        let job = self.jobs.get_mut(&id)?;
        self.scheduler.advance(row);
        let (vocab_size, hidden_size) = (self.model.vocab_size(), self.model.hidden_size());
        let tools = Tools { vocab_size, hidden_size, scratch: &mut self.scratch, stats: &mut self.stats };
        let progress = job.absorb(id, row, Given { logits, hidden }, tools);
        let deserted = job.deserted;
        match progress {
            Ok(Progress::RequestDone) => self.complete(id),
            _ if deserted => self.cancel(id),
            Ok(Progress::Underway) => {}
            Ok(Progress::Token(token)) => {
                self.scheduler.push(key, token);
                return Some(token);
            }
            Ok(Progress::SequenceDone) => self.scheduler.finish(key),
            Err(error) => self.fail(id, error),
        }
        None
    }

    fn complete(&mut self, id: RequestId) {
        self.scheduler.close(id);
        if let Some(mut job) = self.jobs.remove(&id) {
            job.send_done(id);
            self.stats.completed += 1;
        }
    }

    fn fail(&mut self, id: RequestId, error: Error) {
        self.scheduler.close(id);
        if let Some(mut job) = self.jobs.remove(&id) {
            job.fail(id, error);
            self.stats.failed += 1;
        }
    }

    /// A batch failed. Nothing of it counts, so each of its sequences can run again, alone.
    fn blame(&mut self, rows: &[Row], error: Error) {
        match rows {
            [culprit] => self.fail(culprit.key.request, error),
            rows => self.suspects.extend(rows.iter().map(|row| row.key)),
        }
    }
}

fn new_scheduler(model: &dyn Model, options: &EngineOptions) -> Scheduler {
    let &EngineOptions { max_sequences, prefill_chunk, prefix_cache, past_window, .. } = options;
    let score_chunk = (SCORE_VALUES / model.vocab_size().max(1)).max(1);
    let window = past_window.window(model);
    let limits = ScheduleOptions { max_sequences, prefill_chunk, score_chunk, prefix_cache, window };
    Scheduler::new(limits, model.page_count())
}

/// Runs the batch; panics and unusable answers become errors.
fn forward(model: &mut dyn Model, batch: &Batch) -> Result<Vec<SegmentOutput>> {
    let outputs = contained(|| model.forward(batch)).map_err(|error| match error {
        Error::Internal(_) => error,
        other => Error::Internal(other.to_string()),
    })?;
    let (found, wanted) = (outputs.len(), batch.segments.len());
    if found != wanted {
        return Err(Error::Internal(format!("the model answered {found} segments of {wanted}")));
    }
    Ok(outputs)
}
