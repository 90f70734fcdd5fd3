//! The waiting lines: one per client, taking turns. Knows nothing of pages.
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::Sequence;

/// Who waits.
#[derive(Debug, Default)]
pub struct Lines {
    /// No line is empty.
    lines: HashMap<Arc<str>, VecDeque<Sequence>>,
    /// The clients that wait, the next one first.
    turns: VecDeque<Arc<str>>,
}

impl Lines {
    /// Joins the end of its client's line.
    pub fn join(&mut self, sequence: Sequence) {
        let client = Arc::clone(&sequence.client);
        self.lines.entry(Arc::clone(&client)).or_default().push_back(sequence);
        if !self.turns.contains(&client) {
            self.turns.push_back(client);
        }
    }

    /// Becomes the next of all.
    pub fn return_first(&mut self, sequence: Sequence) {
        let client = Arc::clone(&sequence.client);
        self.lines.entry(Arc::clone(&client)).or_default().push_front(sequence);
        self.turns.retain(|other| *other != client);
        self.turns.push_front(client);
    }

    /// Takes the first of the line whose turn it is; that line then has the last turn.
    pub fn next(&mut self) -> Option<Sequence> {
        let client = self.turns.pop_front()?;
        let line = self.lines.get_mut(&client)?;
        let sequence = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        sequence
    }

    /// Takes out all for which `leaves` holds.
    pub fn take_out(&mut self, leaves: impl Fn(&Sequence) -> bool) -> Vec<Sequence> {
        let mut taken = Vec::new();
        for line in self.lines.values_mut() {
            let (out, stay): (VecDeque<_>, VecDeque<_>) = line.drain(..).partition(&leaves);
            *line = stay;
            taken.extend(out);
        }
        self.lines.retain(|_, line| !line.is_empty());
        self.turns.retain(|client| self.lines.contains_key(client));
        taken
    }

    /// All that wait, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Sequence> {
        self.lines.values().flatten()
    }
}
