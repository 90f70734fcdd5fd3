//! `coordinator.json`: the numbers that turn similarities into probabilities, and what is told about a coordinator. Knows no tensors.
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, Result};

/// Of the file's layout and of how text is read; a coordinator of another one is refused.
const VERSION: u32 = 3;

/// The file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub version: u32,
    /// Length of what a text wants.
    pub want: usize,
    /// How much the encoder and the n-grams say about the family of a request, and what is added for no family.
    pub want_scale: f32,
    pub kin_scale: f32,
    pub none_shift: f32,
    /// How much a topic counts; how much more the nearest example does than the others; how much the description does; how much is
    /// taken off for what fits a specialist's own examples.
    pub about_scale: f32,
    pub about_sharpness: f32,
    pub description_weight: f32,
    pub cohesion_weight: f32,
    /// What is added for nobody.
    pub none_bias: f32,
    /// Logits are divided by it, so that their softmax is a probability.
    pub temperature: f32,
    /// Below this probability nobody should be chosen.
    pub threshold: f32,
    /// Where it comes from; any JSON.
    #[serde(default)]
    pub source: serde_json::Value,
}

/// What is told about a loaded coordinator.
#[derive(Debug, Clone)]
pub struct CoordinatorInfo {
    /// The folder.
    pub path: PathBuf,
    /// Weights, those of the embedding included.
    pub parameters: u64,
    /// Bytes they take in memory.
    pub weight_bytes: u64,
    /// The kernel set chosen for this processor.
    pub kernels: &'static str,
    /// Length of an embedding.
    pub embedding: usize,
    /// Tokens that it sees at most.
    pub window: usize,
    /// Logits are divided by it already.
    pub temperature: f32,
    /// Below this probability nobody should be chosen.
    pub threshold: f32,
    /// Where it comes from, as the file says.
    pub source: serde_json::Value,
}

impl Settings {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).map_err(|error| Error::Io { path: path.to_owned(), reason: error.to_string() })?;
        let fault = |reason: String| Error::Format { path: path.to_owned(), reason };
        let settings: Self = serde_json::from_slice(&bytes).map_err(|error| fault(error.to_string()))?;
        settings.check().map_err(fault)?;
        Ok(settings)
    }

    fn check(&self) -> std::result::Result<(), String> {
        if self.version != VERSION {
            return Err(format!("version: expected {VERSION}, found {}", self.version));
        }
        for (name, value) in [("about_sharpness", self.about_sharpness), ("temperature", self.temperature)] {
            // A not-a-number fails, too.
            if !(value > 0.0 && value.is_finite()) {
                return Err(format!("{name}: expected a number above 0, found {value}"));
            }
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(format!("threshold: expected 0 to 1, found {}", self.threshold));
        }
        for (name, value) in [
            ("want_scale", self.want_scale),
            ("kin_scale", self.kin_scale),
            ("none_shift", self.none_shift),
            ("about_scale", self.about_scale),
            ("description_weight", self.description_weight),
            ("cohesion_weight", self.cohesion_weight),
            ("none_bias", self.none_bias),
        ] {
            if !value.is_finite() {
                return Err(format!("{name}: expected a number, found {value}"));
            }
        }
        Ok(())
    }
}
