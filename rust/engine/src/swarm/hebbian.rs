//! Feedback moves the routing: a bounded, fading bias between regions of the space of requests and specialists. Knows unit vectors
//! and names, not where they come from; reads no clock.
//!
//! A *region* is a direction with soft edges, born where feedback came from. A request `x` at the cosine `c` to its centre activates it
//! by `a = s((c - far) / (near - far))`, with `s(t) = 3t² - 2t³` on 0..1: fully when near, not at all beyond `far`. The bias of a
//! specialist is `Σ a v / max(1, Σ a)` over the regions' values `v`, in logits, so it never exceeds the largest of them.
//!
//! Learning is competitive and Hebbian: what was active (the region, by `a`) is tied to what was rewarded (each specialist, by `r`):
//! `v += rate · r a · (1 - sign(r) v / bound)`, after every tie of this region has lost the share `forgetting · max |r| a`. The last
//! factor makes `±bound` a limit that is approached, never passed. Only the most active region learns, so no other is touched.
mod region;
mod settings;
mod state;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod user;

pub use settings::Settings;

use region::{Region, cosine, unit};

use crate::{Error, Result};

/// Specialists that one region can be tied to.
const MOST_TIES: usize = 64;
/// Longest name of a specialist, in bytes.
const LONGEST_NAME: usize = 64;

/// One reaction of a user.
#[derive(Debug, Clone, Copy)]
pub struct Feedback<'a> {
    /// The request, as the coordinator sees it.
    pub embedding: &'a [f32],
    /// Specialists with -1 (never again) to 1 (always); each once.
    pub rewards: &'a [(&'a str, f32)],
    /// The request in a few words, for people who look at the regions.
    pub label: &'a str,
    /// Seconds since 1970.
    pub now: u64,
}

/// What a feedback did.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// The region that learnt; `None` if all rewards were zero.
    pub region: Option<u64>,
    /// Whether it was born from this feedback.
    pub born: bool,
    /// A region that had come so near that it is part of this one now.
    pub merged: Option<u64>,
    /// The weakest region, gone to make room.
    pub forgotten: Option<u64>,
    /// The bias of each specialist rewarded, in their order, for this very request, before.
    pub before: Vec<f32>,
    /// And after.
    pub after: Vec<f32>,
}

/// A region as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionView {
    /// Its number.
    pub id: u64,
    /// The request that it was born from, shortened.
    pub label: String,
    /// Seconds since 1970 of its first and last feedback.
    pub created: u64,
    /// See `created`.
    pub updated: u64,
    /// Feedbacks that it learnt from.
    pub feedbacks: u32,
    /// Specialist, its bias at the centre now, and its feedbacks; the strongest first.
    pub ties: Vec<(String, f32, u32)>,
}

impl RegionView {
    /// The largest bias, whatever its sign.
    pub fn strength(&self) -> f32 {
        self.ties.first().map_or(0.0, |(_, bias, _)| bias.abs())
    }
}

/// A region that a request activates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Active {
    /// The region's number.
    pub region: u64,
    /// Between the request and the region's centre.
    pub cosine: f32,
    /// What its values count in the bias, 0 to 1.
    pub weight: f32,
}

/// All regions of one space of embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct HebbianBias {
    settings: Settings,
    /// Names the model that made the embeddings: those of another mean something else.
    space: String,
    dimensions: usize,
    /// By ascending id.
    regions: Vec<Region>,
}

impl HebbianBias {
    /// Without any regions.
    pub fn new(space: &str, dimensions: usize, settings: Settings) -> Result<Self> {
        settings.check()?;
        if !(1..=65_536).contains(&dimensions) {
            return Err(refusal("dimensions", format!("expected 1 to 65536, found {dimensions}")));
        }
        Ok(Self { settings, space: space.to_owned(), dimensions, regions: Vec::new() })
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many regions there are.
    pub fn len(&self) -> usize {
        self.regions.len()
    }

    /// Whether nothing was learnt, or all of it was reset.
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// The bias of each name for a request, in logits, within `±bound`.
    pub fn bias(&self, embedding: &[f32], names: &[&str], now: u64) -> Result<Vec<f32>> {
        let active = self.weighted(embedding)?;
        let of = |name: &&str| {
            let parts = active.iter().map(|(region, _, weight)| weight * region.value(name, now, &self.settings));
            parts.fold(0.0, |sum, part| sum + part).clamp(-self.settings.bound, self.settings.bound)
        };
        Ok(names.iter().map(of).collect())
    }

    /// The regions that a request activates, the weightiest first.
    pub fn active(&self, embedding: &[f32]) -> Result<Vec<Active>> {
        let weighted = self.weighted(embedding)?.into_iter();
        let mut active: Vec<Active> =
            weighted.map(|(region, cosine, weight)| Active { region: region.id, cosine, weight }).collect();
        active.sort_by(|one, other| other.weight.total_cmp(&one.weight));
        Ok(active)
    }

    /// Ties the region of a request to specialists, or loosens the ties.
    pub fn learn(&mut self, feedback: &Feedback<'_>) -> Result<Learned> {
        let center =
            self.direction(feedback.embedding)?.ok_or_else(|| refusal("embedding", "it is zero".to_owned()))?;
        check_rewards(feedback.rewards)?;
        let names: Vec<&str> = feedback.rewards.iter().map(|(name, _)| *name).collect();
        let before = self.bias(feedback.embedding, &names, feedback.now)?;
        if feedback.rewards.iter().all(|(_, reward)| *reward == 0.0) {
            return Ok(Learned {
                region: None,
                born: false,
                merged: None,
                forgotten: None,
                after: before.clone(),
                before,
            });
        }
        let winner = self.winner(&center);
        let (place, forgotten) = match winner {
            Some(place) => (place, None),
            None => self.bear(center.clone(), feedback),
        };
        self.regions[place].learn(&center, feedback, &self.settings);
        let (place, merged) = self.merge(place, feedback.now);
        let after = self.bias(feedback.embedding, &names, feedback.now)?;
        Ok(Learned { region: Some(self.regions[place].id), born: winner.is_none(), merged, forgotten, before, after })
    }

    /// Every region, the strongest first.
    pub fn describe(&self, now: u64) -> Vec<RegionView> {
        let mut views: Vec<RegionView> = self.regions.iter().map(|region| region.view(now, &self.settings)).collect();
        views.sort_by(|one, other| other.strength().total_cmp(&one.strength()));
        views
    }

    /// Forgets what is tied to this specialist in this region; `None` is all of them. Returns how many ties are gone.
    pub fn reset(&mut self, region: Option<u64>, specialist: Option<&str>) -> usize {
        let mut gone = 0;
        for found in self.regions.iter_mut().filter(|found| region.is_none_or(|id| id == found.id)) {
            let before = found.ties.len();
            found.ties.retain(|tie| specialist.is_some_and(|name| name != tie.specialist));
            gone += before - found.ties.len();
        }
        self.regions.retain(|region| !region.ties.is_empty());
        gone
    }

    /// The embedding with length 1; `None` for one that points nowhere.
    fn direction(&self, embedding: &[f32]) -> Result<Option<Vec<f32>>> {
        if embedding.len() != self.dimensions {
            let reason = format!("expected {} numbers, found {}", self.dimensions, embedding.len());
            return Err(refusal("embedding", reason));
        }
        match embedding.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(refusal("embedding", format!("expected finite numbers, found {value}"))),
            None => Ok(unit(embedding)),
        }
    }

    /// Active regions, their cosines, and their weights: the shares of activations that add up to more than 1.
    fn weighted(&self, embedding: &[f32]) -> Result<Vec<(&Region, f32, f32)>> {
        let Some(direction) = self.direction(embedding)? else { return Ok(Vec::new()) };
        let cosines = self.regions.iter().map(|region| (region, cosine(&region.center, &direction)));
        let activation = |cosine| self.settings.activation(cosine);
        let mut active: Vec<_> = cosines.map(|(region, cosine)| (region, cosine, activation(cosine))).collect();
        active.retain(|(_, _, activation)| *activation > 0.0);
        let total = active.iter().map(|(_, _, activation)| activation).sum::<f32>().max(1.0);
        active.iter_mut().for_each(|(_, _, weight)| *weight /= total);
        Ok(active)
    }

    /// The region that a request at `center` belongs to: the nearest, if it is active by half.
    fn winner(&self, center: &[f32]) -> Option<usize> {
        let cosines = self.regions.iter().map(|region| cosine(&region.center, center)).enumerate();
        let nearest = cosines.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        (self.settings.activation(nearest.1) >= 0.5).then_some(nearest.0)
    }

    /// A new region, and the weakest one if it had to make room.
    fn bear(&mut self, center: Vec<f32>, feedback: &Feedback<'_>) -> (usize, Option<u64>) {
        let id = self.regions.last().map_or(1, |last| last.id + 1);
        let full = self.regions.len() >= self.settings.most_regions;
        let forgotten = if full { self.drop_weakest(feedback.now) } else { None };
        self.regions.push(Region::new(id, center, feedback.label, feedback.now));
        (self.regions.len() - 1, forgotten)
    }

    fn drop_weakest(&mut self, now: u64) -> Option<u64> {
        let strength = |place: usize| self.regions[place].strength(now, &self.settings);
        let weakest = (0..self.regions.len()).min_by(|&one, &other| strength(one).total_cmp(&strength(other)))?;
        Some(self.regions.remove(weakest).id)
    }

    /// Centres move as regions learn: two that came near become one, the older, which takes over what the other knew.
    fn merge(&mut self, place: usize, now: u64) -> (usize, Option<u64>) {
        let near =
            |other: usize| cosine(&self.regions[place].center, &self.regions[other].center) >= self.settings.near;
        let Some(other) = (0..self.regions.len()).find(|&other| other != place && near(other)) else {
            return (place, None);
        };
        let (kept, gone) = (place.min(other), place.max(other));
        let absorbed = self.regions.remove(gone);
        self.regions[kept].absorb(&absorbed, now, &self.settings);
        (kept, Some(absorbed.id))
    }
}

/// Names come from users' files and requests; they are shown on terminals and kept in files.
fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        let reason = format!("expected a name of 1 to {LONGEST_NAME} bytes without control characters, found {name:?}");
        return Err(refusal("specialist", reason));
    }
    Ok(())
}

fn check_rewards(rewards: &[(&str, f32)]) -> Result<()> {
    if !(1..=MOST_TIES).contains(&rewards.len()) {
        return Err(refusal("reward", format!("expected 1 to {MOST_TIES} specialists, found {}", rewards.len())));
    }
    for (place, (name, reward)) in rewards.iter().enumerate() {
        check_name(name)?;
        if !(-1.0..=1.0).contains(reward) {
            return Err(refusal("reward", format!("expected -1 to 1, found {reward}")));
        }
        if rewards[..place].iter().any(|(other, _)| other == name) {
            return Err(refusal("specialist", format!("expected each once, found {name:?} twice")));
        }
    }
    Ok(())
}

fn refusal(param: &str, reason: String) -> Error {
    Error::Request { param: param.to_owned(), reason }
}
