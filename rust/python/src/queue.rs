//! Where events wait until Python fetches them. The engine's thread fills it and never waits for Python.
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use pyo3::{exceptions::PyValueError, prelude::*};
use synapse_engine::{
    engine::Sink,
    schedule::{Event, RequestId},
};

use crate::event::PyEvent;

/// How long a receiver sleeps before it looks for Ctrl-C.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(100);

/// The waiting events.
#[derive(Default)]
struct Mailbox {
    events: Mutex<VecDeque<(RequestId, Event)>>,
    arrived: Condvar,
}

impl Mailbox {
    /// Adds an event and wakes the receiver.
    fn put(&self, id: RequestId, event: Event) {
        self.events().push_back((id, event));
        self.arrived.notify_one();
    }

    /// Waits until there is an event or `deadline` passes, and takes all that wait.
    fn take(&self, deadline: Instant) -> VecDeque<(RequestId, Event)> {
        let mut events = self.events();
        while events.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            events = self.arrived.wait_timeout(events, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut *events)
    }

    // A queue is whole after every statement, so a poisoned lock means nothing.
    fn events(&self) -> MutexGuard<'_, VecDeque<(RequestId, Event)>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receives the events of any number of requests, for one consumer.
#[pyclass(frozen, name = "EventQueue", module = "synapse_engine._engine")]
#[derive(Default)]
pub struct EventQueue {
    mailbox: Arc<Mailbox>,
}

impl EventQueue {
    /// The end that the engine writes to. It does not keep the queue alive: requests of a dropped queue are cancelled.
    pub fn sink(&self) -> impl Sink + 'static {
        Slot(Arc::downgrade(&self.mailbox))
    }
}

struct Slot(Weak<Mailbox>);

impl Sink for Slot {
    fn send(&self, id: RequestId, event: Event) -> bool {
        match self.0.upgrade() {
            Some(mailbox) => {
                mailbox.put(id, event);
                true
            }
            None => false,
        }
    }
}

#[pymethods]
impl EventQueue {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Blocks until there is at least one event and returns all that wait; an empty list after ``timeout`` seconds.
    #[pyo3(signature = (timeout = None))]
    fn receive(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Vec<PyEvent>> {
        let deadline = timeout.map(seconds).transpose()?.and_then(|wait| Instant::now().checked_add(wait));
        loop {
            let slice = Instant::now() + SIGNAL_INTERVAL;
            let until = deadline.map_or(slice, |at| at.min(slice));
            let events = py.detach(|| self.mailbox.take(until));
            if !events.is_empty() || deadline.is_some_and(|at| at <= Instant::now()) {
                return Ok(events.into_iter().map(|(id, event)| PyEvent::new(id, event)).collect());
            }
            py.check_signals()?;
        }
    }

    fn __repr__(&self) -> String {
        format!("EventQueue({} waiting)", self.mailbox.events().len())
    }
}

fn seconds(timeout: f64) -> PyResult<Duration> {
    if timeout.is_nan() || timeout < 0.0 {
        return Err(PyValueError::new_err(format!("timeout must be a number of seconds from 0, found {timeout}")));
    }
    Ok(Duration::try_from_secs_f64(timeout).unwrap_or(Duration::MAX))
}
