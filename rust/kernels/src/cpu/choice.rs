//! Which of two kernels that give the same bits is the faster one here. Both are tried in turn on the work that comes anyway,
//! then the better one stays: nothing is measured ahead, stored or guessed from the name of a processor.
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::Format;

/// Calls that each kernel is tried for. The median is compared: a call may be disturbed.
const TRIES: usize = 7;
/// What is only this much faster is not: the usual choice stays.
const WORTH_CHANGING: f64 = 0.97;

/// How quantized weights meet their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Unpacked in registers, for a few rows at a time.
    Direct,
    /// Unpacked into the cache, for all rows.
    Expanded,
}

impl Way {
    fn other(self) -> Self {
        match self {
            Way::Direct => Way::Expanded,
            Way::Expanded => Way::Direct,
        }
    }
}

/// Products that take the same time for each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Product {
    /// Of the first matrix.
    pub format: Format,
    /// Tiles of all matrices.
    pub tiles: usize,
    /// Columns of each.
    pub cols: usize,
    /// Rows of activations.
    pub rows: usize,
}

/// What has been learned.
#[derive(Default)]
pub struct Choices {
    trials: Mutex<HashMap<Product, Trial>>,
}

impl Choices {
    /// The way to go now, and whether its time is of interest.
    pub fn next(&self, product: Product, usual: Way) -> (Way, bool) {
        self.trials().entry(product).or_insert_with(|| Trial::new(usual)).next()
    }

    /// What a row took that way.
    pub fn note(&self, product: Product, way: Way, seconds: f64) {
        if let Some(trial) = self.trials().get_mut(&product) {
            trial.note(way, seconds);
        }
    }

    /// Trials are whole after every statement, so a poisoned lock means nothing.
    fn trials(&self) -> MutexGuard<'_, HashMap<Product, Trial>> {
        self.trials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Trial {
    /// The usual way, until the other has proved faster.
    chosen: Way,
    /// Seconds of the usual way and of the other; empty once the choice is made.
    times: [Vec<f64>; 2],
    decided: bool,
}

impl Trial {
    fn new(usual: Way) -> Self {
        Self { chosen: usual, times: [const { Vec::new() }; 2], decided: false }
    }

    fn next(&self) -> (Way, bool) {
        let tried = self.times.each_ref().map(Vec::len);
        let way = if tried[0] > tried[1] { self.chosen.other() } else { self.chosen };
        (way, !self.decided)
    }

    fn note(&mut self, way: Way, seconds: f64) {
        if self.decided {
            return;
        }
        self.times[usize::from(way != self.chosen)].push(seconds);
        if self.times.iter().all(|times| times.len() >= TRIES) {
            let [usual, other] = std::mem::take(&mut self.times).map(median);
            if other < WORTH_CHANGING * usual {
                self.chosen = self.chosen.other();
            }
            self.decided = true;
        }
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCT: Product = Product { format: Format::Q8, tiles: 4, cols: 32, rows: 9 };

    /// Runs trials in which the usual way takes `usual` and the other one `other`; how often each was tried.
    fn learn(choices: &Choices, usual: f64, other: f64) -> [usize; 2] {
        let mut tried = [0; 2];
        while let (way, true) = choices.next(PRODUCT, Way::Direct) {
            let (side, time) = if way == Way::Direct { (0, usual) } else { (1, other) };
            tried[side] += 1;
            // One call in each way is disturbed.
            choices.note(PRODUCT, way, if tried[side] == 3 { 50.0 * time } else { time });
        }
        tried
    }

    #[test]
    fn the_faster_way_stays() {
        for (usual, other, chosen) in [(1.0, 0.9, Way::Expanded), (1.0, 0.98, Way::Direct), (1.0, 1.5, Way::Direct)] {
            let choices = Choices::default();
            assert_eq!(learn(&choices, usual, other), [TRIES, TRIES], "both are tried alike");
            assert_eq!(choices.next(PRODUCT, Way::Direct), (chosen, false), "{usual} against {other}");
        }
    }

    #[test]
    fn every_product_has_its_own_trial() {
        let choices = Choices::default();
        learn(&choices, 1.0, 0.1);
        let another = Product { rows: 10, ..PRODUCT };
        assert_eq!(choices.next(another, Way::Expanded), (Way::Expanded, true));
    }

    #[test]
    fn what_comes_after_the_choice_changes_nothing() {
        let choices = Choices::default();
        learn(&choices, 1.0, 0.1);
        choices.note(PRODUCT, Way::Expanded, 1.0);
        assert_eq!(choices.next(PRODUCT, Way::Direct), (Way::Expanded, false));
    }
}
