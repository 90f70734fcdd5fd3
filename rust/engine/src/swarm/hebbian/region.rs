//! One region: where it lies, what it is tied to, how it learns and fades. Knows no other region.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Feedback, MOST_TIES, RegionView, Settings};

/// A centre is the mean direction of its feedbacks; beyond so many a new one counts as one in so many, so that it can follow.
const MOST_INERTIA: u32 = 20;
/// Longest label, in characters.
const LONGEST_LABEL: usize = 80;

/// A soft place among the requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Region {
    pub id: u64,
    pub label: String,
    pub created: u64,
    pub updated: u64,
    pub feedbacks: u32,
    /// Of length 1.
    pub center: Vec<f32>,
    /// In the order in which they were made.
    pub ties: Vec<Tie>,
}

/// A specialist's bias in a region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tie {
    pub specialist: String,
    /// In logits, as it was when the region was `updated`.
    pub bias: f32,
    pub feedbacks: u32,
}

impl Region {
    pub fn new(id: u64, center: Vec<f32>, label: &str, now: u64) -> Self {
        Self { id, label: one_line(label), created: now, updated: now, feedbacks: 0, center, ties: Vec::new() }
    }

    /// A specialist's bias at the centre.
    pub fn value(&self, specialist: &str, now: u64, settings: &Settings) -> f32 {
        let tie = self.ties.iter().find(|tie| tie.specialist == specialist);
        tie.map_or(0.0, |tie| tie.bias * settings.left(now.saturating_sub(self.updated)))
    }

    pub fn strength(&self, now: u64, settings: &Settings) -> f32 {
        let largest = self.ties.iter().map(|tie| tie.bias.abs()).fold(0.0, f32::max);
        largest * settings.left(now.saturating_sub(self.updated))
    }

    /// The rule at the top of `hebbian.rs`, for a request in this region.
    pub fn learn(&mut self, direction: &[f32], feedback: &Feedback<'_>, settings: &Settings) {
        let active = settings.activation(cosine(&self.center, direction));
        let strongest = feedback.rewards.iter().map(|(_, reward)| reward.abs()).fold(0.0, f32::max);
        self.fade(feedback.now, settings);
        let kept = 1.0 - settings.forgetting * strongest * active;
        self.ties.iter_mut().for_each(|tie| tie.bias *= kept);
        for (specialist, reward) in feedback.rewards.iter().filter(|(_, reward)| *reward != 0.0) {
            let tie = self.tie(specialist);
            tie.bias += settings.rate * reward * active * (1.0 - reward.signum() * tie.bias / settings.bound);
            tie.bias = tie.bias.clamp(-settings.bound, settings.bound);
            tie.feedbacks = tie.feedbacks.saturating_add(1);
        }
        self.drift(direction);
        self.feedbacks = self.feedbacks.saturating_add(1);
    }

    /// Takes over what another region knew: each counts by its feedbacks.
    pub fn absorb(&mut self, other: &Self, now: u64, settings: &Settings) {
        let share = f64::from(other.feedbacks) / (f64::from(self.feedbacks) + f64::from(other.feedbacks)).max(1.0);
        let mix = |own: f32, foreign: f32| (f64::from(own) * (1.0 - share) + f64::from(foreign) * share) as f32;
        self.fade(now, settings);
        let ties = self.ties.iter().chain(&other.ties);
        let names: BTreeSet<String> = ties.map(|tie| tie.specialist.clone()).collect();
        for name in &names {
            let seen = other.ties.iter().find(|tie| tie.specialist == *name).map_or(0, |tie| tie.feedbacks);
            let tie = self.tie(name);
            tie.bias = mix(tie.bias, other.value(name, now, settings));
            tie.feedbacks = tie.feedbacks.saturating_add(seen);
        }
        let mixed: Vec<f32> = self.center.iter().zip(&other.center).map(|(own, foreign)| mix(*own, *foreign)).collect();
        self.center = unit(&mixed).unwrap_or_else(|| self.center.clone());
        self.feedbacks = self.feedbacks.saturating_add(other.feedbacks);
        self.created = self.created.min(other.created);
    }

    pub fn view(&self, now: u64, settings: &Settings) -> RegionView {
        let seen = |tie: &Tie| (tie.specialist.clone(), self.value(&tie.specialist, now, settings), tie.feedbacks);
        let mut ties: Vec<_> = self.ties.iter().map(seen).collect();
        ties.sort_by(|one, other| other.1.abs().total_cmp(&one.1.abs()));
        let &Self { id, created, updated, feedbacks, .. } = self;
        RegionView { id, label: self.label.clone(), created, updated, feedbacks, ties }
    }

    /// Books the time since the last feedback. A clock that was set back takes nothing away.
    fn fade(&mut self, now: u64, settings: &Settings) {
        let left = settings.left(now.saturating_sub(self.updated));
        self.ties.iter_mut().for_each(|tie| tie.bias *= left);
        self.updated = now;
    }

    /// The specialist's tie; a new one takes the place of the weakest if there are too many.
    fn tie(&mut self, specialist: &str) -> &mut Tie {
        let place = self.ties.iter().position(|tie| tie.specialist == specialist).unwrap_or_else(|| {
            if self.ties.len() == MOST_TIES {
                let weakest = (0..MOST_TIES)
                    .min_by(|&one, &other| self.ties[one].bias.abs().total_cmp(&self.ties[other].bias.abs()));
                self.ties.remove(weakest.unwrap_or(0));
            }
            self.ties.push(Tie { specialist: specialist.to_owned(), bias: 0.0, feedbacks: 0 });
            self.ties.len() - 1
        });
        &mut self.ties[place]
    }

    /// Moves the centre towards a request.
    fn drift(&mut self, direction: &[f32]) {
        let inertia = self.feedbacks.min(MOST_INERTIA) as f32;
        let moved: Vec<f32> = self.center.iter().zip(direction).map(|(own, new)| own * inertia + new).collect();
        self.center = unit(&moved).unwrap_or_else(|| self.center.clone());
    }
}

/// The vector with length 1; `None` if it has none. In f64, so that no finite f32 overflows.
pub(super) fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let length = vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    (length > 0.0).then(|| vector.iter().map(|&value| (f64::from(value) / length) as f32).collect())
}

/// Of two vectors of length 1.
pub(super) fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
}

/// A text that is safe to show: one line, no control characters, not too long.
pub(super) fn one_line(text: &str) -> String {
    let visible = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect::<String>();
    let mut words = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(LONGEST_LABEL) {
        words.truncate(end);
    }
    words.trim_end().to_owned()
}
