//! The engine on its thread.
use std::{
    collections::HashSet,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{EngineHandle, EngineOptions},
    fake::{FakeModel, Letters},
    harness::{CONTEXT, alone, greedy, prompt},
};
use crate::{
    Error,
    batch::Model,
    schedule::{Event, RequestId},
};

const PATIENCE: Duration = Duration::from_secs(30);

fn start(model: FakeModel, options: EngineOptions) -> EngineHandle {
    EngineHandle::start(Box::new(model) as Box<dyn Model>, Arc::new(Letters), options).unwrap()
}

/// An engine whose every forward pass waits for a message.
fn gated(options: EngineOptions) -> (EngineHandle, Sender<()>) {
    let (open, gate) = channel();
    let mut model = FakeModel::new(64, CONTEXT);
    model.gate = Some(gate);
    (start(model, options), open)
}

fn text_until_the_end(events: &Receiver<(RequestId, Event)>) -> String {
    let mut text = String::new();
    loop {
        match events.recv_timeout(PATIENCE).expect("an event").1 {
            Event::Text { text: more, .. } => text.push_str(&more),
            Event::Done(_) => return text,
            Event::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn many_threads_get_their_own_answers() {
    let handle = start(FakeModel::new(20, CONTEXT), EngineOptions { max_sequences: 5, ..EngineOptions::default() });
    thread::scope(|scope| {
        for worker in 0..6 {
            let handle = handle.clone();
            scope.spawn(move || {
                for round in 0..10 {
                    let request = greedy(&prompt(worker * 10 + round, 3 + round * 4), 15);
                    let (sender, events) = channel();
                    handle.submit(request.clone(), sender).unwrap();
                    assert_eq!(text_until_the_end(&events), alone(&request).choices[&0].text);
                }
            });
        }
    });
    wait_until("the last step is reported", || handle.stats().completed == 60);
    let stats = handle.stats();
    assert_eq!((stats.waiting, stats.running, stats.pages_used), (0, 0, 0));
    assert_eq!(stats.completion_tokens, 60 * 15);
    assert_eq!(stats.first_token_seconds.count(), 60);
    assert_eq!(stats.token_seconds.count(), 60 * 14);
}

#[test]
fn a_full_queue_refuses_at_once() {
    let (handle, open) = gated(EngineOptions { max_sequences: 1, max_queue: 2, ..EngineOptions::default() });
    let (sender, events) = channel();
    handle.submit(greedy(&prompt(1, 4), 2), sender.clone()).unwrap();
    wait_until("the first request runs", || handle.stats().waiting == 0);
    handle.submit(greedy(&prompt(2, 4), 2), sender.clone()).unwrap();
    handle.submit(greedy(&prompt(3, 4), 2), sender.clone()).unwrap();
    let refused = handle.submit(greedy(&prompt(4, 4), 2), sender).unwrap_err();
    assert!(matches!(refused, Error::QueueFull { waiting: 2, limit: 2 }), "{refused:?}");
    drop(open);
    (0..3).for_each(|_| drop(text_until_the_end(&events)));
}

#[test]
fn cancelling_ends_a_request_that_runs_and_one_that_waits() {
    let (handle, open) = gated(EngineOptions { max_sequences: 1, ..EngineOptions::default() });
    let (sender, events) = channel();
    let runs = handle.submit(greedy(&prompt(1, 4), 50), sender.clone()).unwrap();
    let waits = handle.submit(greedy(&prompt(2, 4), 50), sender).unwrap();
    handle.cancel(runs);
    handle.cancel(waits);
    handle.cancel(12_345);
    open.send(()).unwrap();
    wait_until("both are cancelled", || handle.stats().cancelled == 2);
    let ends = events.try_iter().filter(|(_, event)| matches!(event, Event::Done(_))).count();
    assert_eq!((ends, handle.stats().pages_used), (2, 0));
}

#[test]
fn closing_ends_what_runs_and_what_waits() {
    let (handle, open) = gated(EngineOptions { max_sequences: 1, ..EngineOptions::default() });
    let (sender, events) = channel();
    let submit = |seed| handle.submit(greedy(&prompt(seed, 4), 90), sender.clone());
    let ids: Vec<RequestId> = (0..3).map(|seed| submit(seed).unwrap()).collect();
    let closer = thread::spawn({
        let handle = handle.clone();
        move || handle.close()
    });
    wait_until("closed", || matches!(submit(9), Err(Error::Closed)));
    drop(open);
    closer.join().unwrap();
    handle.close();
    let closed = |event: &Event| matches!(event, Event::Failed(Error::Closed));
    let ended: HashSet<RequestId> = events.try_iter().filter(|(_, event)| closed(event)).map(|(id, _)| id).collect();
    assert!(ids.iter().all(|id| ended.contains(id)), "{ended:?}");
}

#[test]
fn the_last_handle_closes_the_engine() {
    let handle = start(FakeModel::new(20, CONTEXT), EngineOptions::default());
    let (sender, events) = channel();
    handle.submit(greedy(&prompt(1, 4), 90), sender).unwrap();
    drop(handle);
    let last = std::iter::from_fn(|| events.try_recv().ok()).last();
    assert!(matches!(last, Some((_, Event::Failed(Error::Closed) | Event::Done(_)))), "{last:?}");
    assert_eq!(events.recv_timeout(PATIENCE).unwrap_err(), RecvTimeoutError::Disconnected);
}
