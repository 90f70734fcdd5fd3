//! The engine on a thread of its own, for callers on any thread. Knows neither batches nor text.
use std::{
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::{
    Adapters, Engine, EngineOptions, Models, Stats, Vocabulary,
    intake::{Intake, Prepared},
    job::Sink,
    panics::contained,
};
use crate::{
    Error, Result,
    schedule::{Request, RequestId},
};

/// A running engine; clones are the same engine. It closes with its last clone.
#[derive(Clone)]
pub struct EngineHandle {
    owner: Arc<Owner>,
}

impl EngineHandle {
    /// Starts an engine on a thread of its own.
    ///
    /// # Errors
    /// Options that let nothing run; the operating system gives no thread.
    pub fn start<V: Vocabulary + 'static>(
        models: impl Into<Models>,
        vocabulary: Arc<V>,
        options: EngineOptions,
    ) -> Result<Self> {
        let engine = Engine::new(models, vocabulary, options)?;
        let shared = Arc::new(Shared::new(&engine));
        let intake = engine.intake().clone();
        let max_queue = options.max_queue;
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("synapse-engine".into())
            .spawn(move || run(engine, &for_thread))
            .map_err(|error| Error::Internal(format!("cannot start the engine's thread: {error}")))?;
        Ok(Self { owner: Arc::new(Owner { shared, intake, max_queue, thread: Mutex::new(Some(thread)) }) })
    }

    /// Queues a request; its events go to `sink`.
    ///
    /// # Errors
    /// A request that cannot be served is refused here, before it waits; so it is when the queue is full.
    pub fn submit(&self, request: Request, sink: impl Sink + 'static) -> Result<RequestId> {
        let Owner { shared, intake, max_queue, .. } = self.owner.as_ref();
        let prepared = intake.prepare(request, Box::new(sink))?;
        let mut inbox = lock(&shared.inbox);
        if inbox.closed {
            return Err(Error::Closed);
        }
        let waiting = shared.waiting(&inbox);
        if waiting >= *max_queue {
            return Err(Error::QueueFull { waiting, limit: *max_queue });
        }
        let id = inbox.next_id;
        inbox.next_id += 1;
        inbox.submissions.push((id, prepared));
        shared.mail.notify_one();
        Ok(id)
    }

    /// Ends a request before the next step; does nothing if it has ended.
    pub fn cancel(&self, id: RequestId) {
        lock(&self.owner.shared.inbox).cancellations.push(id);
        self.owner.shared.mail.notify_one();
    }

    /// What the engine does and has done, as of its last step.
    pub fn stats(&self) -> Stats {
        let shared = &self.owner.shared;
        let mut stats = lock(&shared.stats).clone();
        stats.waiting = shared.waiting(&lock(&shared.inbox));
        stats
    }

    /// The adapters that requests may name.
    pub fn adapters(&self) -> &Adapters {
        self.owner.intake.adapters()
    }

    /// The most tokens that prompt and answer may have together.
    pub fn context_length(&self) -> usize {
        self.owner.intake.context_length()
    }

    /// Ends all requests with [`Error::Closed`] and waits for the thread.
    pub fn close(&self) {
        self.owner.close();
    }
}

/// Closes the engine when the last handle goes.
struct Owner {
    shared: Arc<Shared>,
    intake: Intake,
    max_queue: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    fn close(&self) {
        lock(&self.shared.inbox).closed = true;
        self.shared.mail.notify_one();
        let thread = lock(&self.thread).take();
        // A sink that owns the last handle is dropped by the thread itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // The thread contains its panics; there is nothing to learn from its result.
            let _ = thread.join();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}

/// What callers and the thread share.
struct Shared {
    inbox: Mutex<Inbox>,
    mail: Condvar,
    stats: Mutex<Stats>,
    /// Requests that the engine has taken in and that wait for their first turn.
    taken_in: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Inbox {
    submissions: Vec<(RequestId, Prepared)>,
    cancellations: Vec<RequestId>,
    next_id: RequestId,
    closed: bool,
}

/// What the thread takes from the inbox at a time.
struct Mail {
    submissions: Vec<(RequestId, Prepared)>,
    cancellations: Vec<RequestId>,
}

impl Shared {
    fn new(engine: &Engine) -> Self {
        let inbox = Inbox { next_id: 1, ..Inbox::default() };
        let (stats, taken_in) = (Mutex::new(engine.stats()), Arc::clone(engine.waiting()));
        Self { inbox: Mutex::new(inbox), mail: Condvar::new(), stats, taken_in }
    }

    fn waiting(&self, inbox: &Inbox) -> usize {
        self.taken_in.load(Ordering::Acquire) + inbox.submissions.len()
    }

    /// Takes what has come; waits for it if the engine has nothing to do. Nothing once closed.
    fn collect(&self, busy: bool) -> Option<Mail> {
        let mut inbox = lock(&self.inbox);
        while !busy && !inbox.closed && inbox.submissions.is_empty() && inbox.cancellations.is_empty() {
            inbox = self.mail.wait(inbox).unwrap_or_else(PoisonError::into_inner);
        }
        if inbox.closed {
            return None;
        }
        self.taken_in.fetch_add(inbox.submissions.len(), Ordering::AcqRel);
        let submissions = mem::take(&mut inbox.submissions);
        Some(Mail { submissions, cancellations: mem::take(&mut inbox.cancellations) })
    }

    fn report(&self, engine: &Engine) {
        *lock(&self.stats) = engine.stats();
    }
}

fn run(mut engine: Engine, shared: &Shared) {
    while let Some(mail) = shared.collect(engine.has_work()) {
        let outcome = contained(|| {
            mail.submissions.into_iter().for_each(|(id, prepared)| engine.admit(id, prepared));
            mail.cancellations.into_iter().for_each(|id| engine.cancel(id));
            engine.step();
            Ok(())
        });
        if let Err(error) = outcome {
            engine.reset(&error);
        }
        shared.report(&engine);
    }
    let never_begun = mem::take(&mut lock(&shared.inbox).submissions);
    never_begun.into_iter().for_each(|(id, prepared)| engine.admit(id, prepared));
    engine.reset(&Error::Closed);
    shared.report(&engine);
}

/// What these locks protect is whole after every statement, so a poisoned one means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
