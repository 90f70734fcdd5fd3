//! Counters for operators. Knows no request.
use crate::clock::Account;

/// Counts of values up to each bound, as Prometheus has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Counts a value.
    pub(super) fn record(&mut self, value: f64) {
        let place = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[place] += 1;
        self.sum += value;
    }

    /// Upper bounds with the number of values at or below each; the last bound is infinite.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        }))
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of the values.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

/// Seconds.
const FIRST_TOKEN: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0];
/// Seconds.
const PER_TOKEN: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
/// Tokens.
const BATCH_ROWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// What the engine does now, and has done since it started.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Requests that wait for their first turn.
    pub waiting: usize,
    /// Sequences that run.
    pub running: usize,
    /// KV pages that sequences use.
    pub pages_used: usize,
    /// KV pages kept because their prefix is known; given up when needed.
    pub pages_cached: usize,
    /// KV pages in all.
    pub pages_total: usize,
    /// Prompt tokens of requests that had their first turn.
    pub prompt_tokens: u64,
    /// Prompt tokens whose keys and values were known.
    pub cached_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Tokens drafted and checked.
    pub drafted_tokens: u64,
    /// Drafted tokens that came true and saved a pass.
    pub accepted_tokens: u64,
    /// Times that the draft model failed; it is not used again.
    pub draft_failures: u64,
    /// Forward passes.
    pub steps: u64,
    /// Requests completed.
    pub completed: u64,
    /// Requests cancelled.
    pub cancelled: u64,
    /// Requests failed.
    pub failed: u64,
    /// Sequences that had to make room and were computed again.
    pub preemptions: u64,
    /// Where the time of the steps went, and the work done in it.
    pub account: Account,
    /// Tokens per forward pass.
    pub batch_rows: Histogram,
    /// Seconds from submission to the first token.
    pub first_token_seconds: Histogram,
    /// Seconds from one token of a choice to its next.
    pub token_seconds: Histogram,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            waiting: 0,
            running: 0,
            pages_used: 0,
            pages_cached: 0,
            pages_total: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            drafted_tokens: 0,
            accepted_tokens: 0,
            draft_failures: 0,
            steps: 0,
            completed: 0,
            cancelled: 0,
            failed: 0,
            preemptions: 0,
            account: Account::default(),
            batch_rows: Histogram::new(BATCH_ROWS),
            first_token_seconds: Histogram::new(FIRST_TOKEN),
            token_seconds: Histogram::new(PER_TOKEN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        [0.5, 1.0, 1.5, 9.0].into_iter().for_each(|value| histogram.record(value));
        assert_eq!(histogram.cumulative().collect::<Vec<_>>(), [(1.0, 2), (2.0, 3), (f64::INFINITY, 4)]);
        assert_eq!((histogram.count(), histogram.sum()), (4, 12.0));
    }
}
