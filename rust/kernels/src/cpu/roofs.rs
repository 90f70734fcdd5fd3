//! What the machine can do at most, measured with all threads at once. The best of several rounds counts: whatever else the
//! machine does can only slow it down.
use std::{hint::black_box, time::Instant};

use super::Cpu;
use crate::roof;

/// Far larger than any cache.
const BUFFER: usize = 512 << 20;
/// Bytes that a thread reads at a time.
const READ_CHUNK: usize = 4 << 20;
/// Steps of the loop of dot operations that a thread does at a time: some tens of microseconds.
const DOT_STEPS: usize = 2_500;
const DOT_CHUNKS_PER_THREAD: usize = 64;
const ROUNDS: usize = 12;

/// The limits of a machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofs {
    /// Bytes that can be read from memory, in long streams.
    pub read_bytes_per_second: f64,
    /// Multiplications and additions of 8-bit integers, counted apart, in registers.
    pub int8_operations_per_second: f64,
}

impl Cpu {
    /// Measures both roofs; takes about half a second and half a gigabyte of memory.
    pub fn roofs(&self) -> Roofs {
        Roofs { read_bytes_per_second: self.read_speed(), int8_operations_per_second: self.dot_speed() }
    }

    fn read_speed(&self) -> f64 {
        // Written, so that it is memory and not a promise of zeros.
        let buffer = vec![black_box(1u8); BUFFER];
        let read = |chunk: usize| {
            black_box(self.set.read(&buffer[chunk * READ_CHUNK..][..READ_CHUNK]));
        };
        best(BUFFER, || self.pool.run(BUFFER / READ_CHUNK, &read))
    }

    fn dot_speed(&self) -> f64 {
        let chunks = self.threads() * DOT_CHUNKS_PER_THREAD;
        let speed = |chains: usize| {
            let operations = 2 * roof::DOT * roof::RUN * chains * DOT_STEPS * chunks;
            best(operations, || {
                self.pool.run(chunks, &|_| {
                    black_box(self.set.dots(chains, DOT_STEPS));
                });
            })
        };
        roof::CHAINS.into_iter().map(speed).fold(0.0, f64::max)
    }
}

/// `amount` per second, in the fastest round.
fn best(amount: usize, work: impl Fn()) -> f64 {
    let seconds = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64()
    });
    amount as f64 / seconds.fold(f64::INFINITY, f64::min)
}
