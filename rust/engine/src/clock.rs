//! Where the time of the engine's steps goes, by kind of operation, and how much work was done in it. Knows no model and no
//! device. Always on: a lap reads the clock once, some 25 ns, and a layer has eight.
use std::{cell::Cell, time::Instant};

/// What time is spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Guessing what comes next, for the model to check.
    Draft,
    /// Norms, and making their results ready for the products.
    Norm,
    /// Products that give q, k and v.
    Qkv,
    /// Rotary embedding, and writing keys and values.
    Rope,
    /// Attention over the pages.
    Attention,
    /// Convolutions and Monarch matrices over the pages.
    Mixing,
    /// The product after attention.
    Output,
    /// Products that give gate and up, and `silu(gate) * up`.
    GateUp,
    /// The product with the down projection.
    Down,
    /// What adapters add to the products.
    Adapters,
    /// The product that gives logits.
    Head,
    /// From logits to a token and its text.
    Sampling,
    /// Planning, embedding, gathering rows, copying results.
    Rest,
}

impl Operation {
    /// All, in the order of a pass.
    pub const ALL: [Self; 13] = [
        Self::Draft,
        Self::Norm,
        Self::Qkv,
        Self::Rope,
        Self::Attention,
        Self::Mixing,
        Self::Output,
        Self::GateUp,
        Self::Down,
        Self::Adapters,
        Self::Head,
        Self::Sampling,
        Self::Rest,
    ];

    /// For people and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Norm => "norm",
            Self::Qkv => "qkv",
            Self::Rope => "rope",
            Self::Attention => "attention",
            Self::Mixing => "mixing",
            Self::Output => "o",
            Self::GateUp => "gate_up",
            Self::Down => "down",
            Self::Adapters => "adapters",
            Self::Head => "head",
            Self::Sampling => "sampling",
            Self::Rest => "rest",
        }
    }
}

/// What an operation cannot do without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Multiplications of weights with activations.
    pub multiply_adds: u64,
    /// Bytes of weights, or of keys and values, that have to be read once.
    pub bytes: u64,
}

/// What an operation has taken so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// Time.
    pub seconds: f64,
    /// Work done in it.
    pub work: Work,
}

/// Time and work of every operation, in the order of [`Operation::ALL`].
pub type Account = [Spent; Operation::ALL.len()];

/// A stopwatch with laps: each lap is booked on an operation, so that all together are the time that the engine worked.
#[derive(Debug, Default)]
pub struct Clock {
    /// When the last lap ended; nothing while it stands still.
    lap: Cell<Option<Instant>>,
    account: Cell<Account>,
}

impl Clock {
    /// Books the time since the last lap, in which no work worth counting was done.
    pub fn lap(&self, operation: Operation) {
        self.lap_with(operation, Work::default());
    }

    /// Books the time since the last lap and the work done in it. The first lap after a pause only starts the clock.
    pub fn lap_with(&self, operation: Operation, work: Work) {
        self.lap_at(Instant::now(), operation, work);
    }

    fn lap_at(&self, now: Instant, operation: Operation, work: Work) {
        if let Some(since) = self.lap.replace(Some(now)) {
            let mut account = self.account.get();
            let spent = &mut account[operation as usize];
            spent.seconds += now.duration_since(since).as_secs_f64();
            spent.work.multiply_adds += work.multiply_adds;
            spent.work.bytes += work.bytes;
            self.account.set(account);
        }
    }

    /// Stands still until the next lap: there is nothing to do.
    pub fn pause(&self) {
        self.lap.set(None);
    }

    /// Everything booked so far.
    pub fn account(&self) -> Account {
        self.account.get()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_operation_has_its_own_place_and_name() {
        for (place, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, place, "{}", operation.name());
        }
        let names: std::collections::BTreeSet<_> = Operation::ALL.map(Operation::name).into();
        assert_eq!(names.len(), Operation::ALL.len());
    }

    #[test]
    fn laps_add_up_to_the_time_that_passed() {
        let (clock, begun) = (Clock::default(), Instant::now());
        let work = Work { multiply_adds: 3, bytes: 5 };
        let mut now = begun;
        clock.lap_at(now, Operation::Rest, work);
        for round in 1..=2 {
            for operation in Operation::ALL {
                now += Duration::from_millis(round * (1 + operation as u64));
                clock.lap_at(now, operation, work);
            }
        }
        let account = clock.account();
        let booked: f64 = account.iter().map(|spent| spent.seconds).sum();
        assert!((booked - now.duration_since(begun).as_secs_f64()).abs() < 1e-9, "{booked} s");
        for (place, spent) in account.iter().enumerate() {
            assert!((spent.seconds - 3e-3 * (1 + place) as f64).abs() < 1e-9, "{place}: {} s", spent.seconds);
            assert_eq!(spent.work, Work { multiply_adds: 6, bytes: 10 });
        }
    }

    #[test]
    fn a_pause_is_nobodys_time() {
        let (clock, begun) = (Clock::default(), Instant::now());
        clock.lap_at(begun, Operation::Head, Work::default());
        clock.pause();
        clock.lap_at(begun + Duration::from_secs(9), Operation::Head, Work::default());
        assert_eq!(clock.account(), Account::default());
    }
}
