//! How far feedback reaches, how much it counts and how long it lasts.
use super::refusal;
use crate::Result;

const SECONDS_A_DAY: f64 = 86_400.0;

/// How far feedback reaches and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Largest bias, in logits.
    pub bound: f32,
    /// What the first full reward adds at a region's centre, in logits; at most `bound`.
    pub rate: f32,
    /// Share that a region's older ties lose by a full reward in it, 0 to 1.
    pub forgetting: f32,
    /// Days in which a bias halves by itself.
    pub half_life_days: f32,
    /// Cosine at and beyond which a region has its full effect.
    pub near: f32,
    /// Cosine at and below which it has none.
    pub far: f32,
    /// Regions kept; beyond it the weakest goes.
    pub most_regions: usize,
}

/// A compromise for the coordinator that comes along (`python -m bench.feedback`): a longer reach follows sooner, harms more.
impl Default for Settings {
    fn default() -> Self {
        Self { bound: 8.0, rate: 4.0, forgetting: 0.02, half_life_days: 60.0, near: 0.79, far: 0.53, most_regions: 256 }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<()> {
        let within = |name: &str, value: f32, least: f32, most: f32| {
            let wrong = || refusal(name, format!("expected {least} to {most}, found {value}"));
            if (least..=most).contains(&value) { Ok(()) } else { Err(wrong()) }
        };
        within("bound", self.bound, 0.01, 100.0)?;
        within("rate", self.rate, 0.0, self.bound)?;
        within("forgetting", self.forgetting, 0.0, 1.0)?;
        within("half_life_days", self.half_life_days, 1e-3, 1e6)?;
        within("near", self.near, 0.01, 1.0)?;
        within("far", self.far, 0.0, self.near - 0.01)?;
        within("most_regions", self.most_regions as f32, 1.0, 65_536.0)
    }

    /// How much a request at this cosine from a region's centre activates it, 0 to 1.
    pub(super) fn activation(&self, cosine: f32) -> f32 {
        let part = ((cosine - self.far) / (self.near - self.far)).clamp(0.0, 1.0);
        part * part * (3.0 - 2.0 * part)
    }

    /// What is left of a bias after so many seconds.
    pub(super) fn left(&self, seconds: u64) -> f32 {
        (-(seconds as f64) / (f64::from(self.half_life_days) * SECONDS_A_DAY)).exp2() as f32
    }
}
