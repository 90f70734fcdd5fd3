//! Worker threads that spin briefly, then park. Knows nothing of what they compute.
use std::{
    any::Any,
    cell::UnsafeCell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

/// Loads of the state word before a worker parks: some tens of microseconds, longer than the gap between two operations.
const SPINS: u32 = 20_000;

/// `state` = epoch << 9 | open << 8 | workers inside.
const INSIDE: u64 = 0xff;
const OPEN: u64 = 1 << 8;
const EPOCH: u64 = 1 << 9;

type Job = *const (dyn Fn(usize) + Sync);

struct Shared {
    state: AtomicU64,
    next: AtomicUsize,
    chunks: AtomicUsize,
    job: UnsafeCell<Option<Job>>,
    parked: AtomicUsize,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is written only while no worker is inside (the state word says so) and read only by workers inside.
unsafe impl Sync for Shared {}
// SAFETY: the job pointer is only followed while `Pool::run`, which borrows the closure, waits.
unsafe impl Send for Shared {}

impl Shared {
    fn work(&self, job: &(dyn Fn(usize) + Sync)) {
        let chunks = self.chunks.load(Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let chunk = self.next.fetch_add(1, Ordering::Relaxed);
                if chunk >= chunks {
                    break;
                }
                job(chunk);
            }
        }));
        if let Err(payload) = result {
            self.next.store(chunks, Ordering::Relaxed);
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
        }
    }

    /// Enters the open job, if there is one that this worker has not seen; returns its epoch.
    fn enter(&self, seen: u64) -> Option<u64> {
        let state = self.state.load(Ordering::Acquire);
        let epoch = state / EPOCH;
        if state & OPEN == 0 || epoch == seen {
            return None;
        }
        let entered = self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
        entered.ok().map(|_| epoch)
    }
}

/// A fixed set of worker threads; the calling thread works too.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    turn: Mutex<()>,
}

impl Pool {
    /// A pool that computes on `threads` threads, the caller's among them.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            chunks: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            parked: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let workers = (1..threads.clamp(1, 200)).filter_map(|i| spawn(i, shared.clone())).collect();
        Self { shared, workers, turn: Mutex::new(()) }
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `job` with `0..chunks`, each once, on all threads; returns when all calls have. A panic in one is raised here.
    pub fn run(&self, chunks: usize, job: &(dyn Fn(usize) + Sync)) {
        if chunks <= 1 || self.workers.is_empty() {
            (0..chunks).for_each(job);
            return;
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        // SAFETY: only the lifetime is erased. The pointer is followed by workers inside this job alone, and this function
        // returns after the last of them has left. No worker is inside here: the previous run waited for that.
        unsafe { *shared.job.get() = Some(std::mem::transmute::<&(dyn Fn(usize) + Sync), Job>(job)) };
        shared.next.store(0, Ordering::Relaxed);
        shared.chunks.store(chunks, Ordering::Relaxed);
        let epoch = shared.state.load(Ordering::Relaxed) / EPOCH + 1;
        shared.state.store((epoch * EPOCH) | OPEN, Ordering::SeqCst);
        if shared.parked.load(Ordering::SeqCst) > 0 {
            self.workers.iter().for_each(|worker| worker.thread().unpark());
        }
        shared.work(job);
        // A worker that has not come by now is not waited for: it would find nothing to do.
        shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0u32;
        while shared.state.load(Ordering::Acquire) & INSIDE != 0 {
            spins += 1;
            if spins.is_multiple_of(4096) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        if let Some(payload) = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker only ends by the stop flag; its panics were caught.
            let _ = worker.join();
        }
    }
}

fn spawn(index: usize, shared: Arc<Shared>) -> Option<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("synapse-{index}")).spawn(move || worker(&shared)).ok()
}

fn worker(shared: &Shared) {
    let mut seen = 0;
    let mut idle = 0u32;
    while !shared.stop.load(Ordering::Relaxed) {
        if let Some(epoch) = shared.enter(seen) {
            seen = epoch;
            idle = 0;
            // SAFETY: this worker is inside, so `run` has set the pointer and waits for this worker before it returns.
            if let Some(job) = unsafe { *shared.job.get() } {
                // SAFETY: as above; the closure outlives the run.
                shared.work(unsafe { &*job });
            }
            shared.state.fetch_sub(1, Ordering::Release);
        } else if idle < SPINS {
            idle += 1;
            std::hint::spin_loop();
        } else {
            park(shared, seen);
            idle = 0;
        }
    }
}

fn park(shared: &Shared, seen: u64) {
    shared.parked.fetch_add(1, Ordering::SeqCst);
    let state = shared.state.load(Ordering::SeqCst);
    let nothing_new = state & OPEN == 0 || state / EPOCH == seen;
    if nothing_new && !shared.stop.load(Ordering::SeqCst) {
        std::thread::park();
    }
    shared.parked.fetch_sub(1, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_runs_once() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            for chunks in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(chunks, &|i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "{threads} threads, {chunks} chunks");
            }
        }
    }

    #[test]
    fn parked_workers_wake_and_many_short_jobs_finish() {
        let pool = Pool::new(3);
        let total = AtomicUsize::new(0);
        for round in 0..2000 {
            if round % 500 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(30));
            }
            pool.run(5, &|i| {
                total.fetch_add(i, Ordering::Relaxed);
            });
        }
        assert_eq!(total.into_inner(), 2000 * 10);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        let result = catch_unwind(AssertUnwindSafe(|| pool.run(100, &|i| assert!(i != 50, "chunk fifty"))));
        assert!(result.is_err());
        let total = AtomicUsize::new(0);
        pool.run(10, &|_| {
            total.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(total.into_inner(), 10);
    }

    #[test]
    fn callers_on_several_threads_take_turns() {
        let pool = Pool::new(2);
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        pool.run(4, &|_| {
                            total.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 200 * 4);
    }
}
