//! Runs code that recurses as deep as its input says, or never ends, away from the caller. Knows no template.
use std::{sync::mpsc, thread, time::Duration};

use crate::{Error, Result};

/// Far more than honest work needs, short enough to wait for.
const TIME_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });

/// Runs `work` on a thread of its own with `depth` bytes of stack, which take memory only as they are used. Its panics
/// are errors. `None`: it did not end in time and goes on alone.
pub(super) fn on_own_stack<T: Send + 'static>(
    depth: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Option<Result<T>> {
    const LEAST: usize = 2 << 20;
    let (sender, receiver) = mpsc::sync_channel(1);
    let run = move || {
        // Nobody listens once the time is over.
        let _ = sender.send(work());
    };
    if let Err(error) = thread::Builder::new().name("chat-template".into()).stack_size(LEAST + depth).spawn(run) {
        return Some(Err(Error::Internal(format!("no thread for the chat template: {error}"))));
    }
    match receiver.recv_timeout(TIME_LIMIT) {
        Ok(result) => Some(result),
        Err(mpsc::RecvTimeoutError::Timeout) => None,
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Some(Err(Error::Internal("the chat template's renderer panicked".into())))
        }
    }
}
