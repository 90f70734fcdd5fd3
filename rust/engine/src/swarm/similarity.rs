//! From hidden states to an embedding, and from embeddings to logits. Knows no text and no model.
use std::ops::Range;

use super::settings::Settings;
use crate::{Error, Result, files::TensorSource};

/// The least mean of raised similarities that a logarithm is taken of.
const LEAST: f32 = 1e-30;

/// Projects pooled hidden states and compares embeddings.
pub struct Similarity {
    query: Vec<f32>,      // coordinator.query (hidden)
    project: Vec<f32>,    // coordinator.project.weight (embedding, 3 * hidden)
    bias: Vec<f32>,       // coordinator.project.bias (embedding)
    none_slope: Vec<f32>, // coordinator.none_slope (embedding)
    settings: Settings,
}

/// The unit vectors of one specialist.
#[derive(Debug, Clone)]
pub struct Profile {
    pub description: Vec<f32>,
    pub examples: Vec<Vec<f32>>,
}

impl Similarity {
    /// Takes its tensors from the model's file.
    pub fn new(tensors: &dyn TensorSource, hidden: usize, settings: Settings) -> Result<Self> {
        let width = settings.embedding;
        let values = |name: &str, shape: &[usize]| {
            let fault =
                |found: String| Error::Model(format!("tensor `coordinator.{name}`: expected {shape:?}, found {found}"));
            let tensor = tensors.tensor(&format!("coordinator.{name}")).ok_or_else(|| fault("none".into()))?;
            match tensor.shape == shape {
                true => Ok(tensor.to_f32()),
                false => Err(fault(format!("{:?}", tensor.shape))),
            }
        };
        Ok(Self {
            query: values("query", &[hidden])?,
            project: values("project.weight", &[width, 3 * hidden])?,
            bias: values("project.bias", &[width])?,
            none_slope: values("none_slope", &[width])?,
            settings,
        })
    }

    /// `(rows, hidden)` states to a unit vector: of the request what matters most by a learned query, and the maximum; of what
    /// stands before it the mean.
    pub fn embed(&self, states: &[f32], hidden: usize, request: Range<usize>) -> Vec<f32> {
        let (before, asked) = states.split_at(request.start * hidden);
        let pooled = [self.attended(asked, hidden), maximum(asked, hidden), mean(before, hidden)].concat();
        let rows = self.project.chunks(pooled.len());
        let mut vector: Vec<f32> = rows.zip(&self.bias).map(|(row, bias)| dot(row, &pooled) + bias).collect();
        let length = dot(&vector, &vector).sqrt().max(1e-12);
        vector.iter_mut().for_each(|value| *value /= length);
        vector
    }

    /// The mean of `(rows, hidden)`, weighed by the softmax of what the query says of each row.
    fn attended(&self, rows: &[f32], hidden: usize) -> Vec<f32> {
        let scores: Vec<f32> = rows.chunks(hidden).map(|row| dot(row, &self.query)).collect();
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = scores.iter().map(|score| (score - most).exp()).collect();
        let total: f32 = weights.iter().sum();
        let mut sum = vec![0.0; hidden];
        for (row, weight) in rows.chunks(hidden).zip(&weights) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight / total * value);
        }
        sum
    }

    /// How well a specialist fits a request, in calibrated logits.
    pub fn logit(&self, request: &[f32], profile: &Profile) -> f32 {
        let Settings { scale, sharpness, description_weight, temperature, .. } = self.settings;
        let raised = |example: &Vec<f32>| (sharpness * (dot(request, example) - 1.0)).exp();
        let total: f32 = profile.examples.iter().map(raised).sum();
        let mean = total / profile.examples.len().max(1) as f32;
        let near = 1.0 + mean.max(LEAST).ln() / sharpness;
        scale * (near + description_weight * dot(request, &profile.description)) / temperature
    }

    /// How well nobody fits.
    pub fn none_logit(&self, request: &[f32]) -> f32 {
        (self.settings.none_bias + dot(request, &self.none_slope)) / self.settings.temperature
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Numbers in its tensors.
    pub fn parameters(&self) -> u64 {
        (self.query.len() + self.project.len() + self.bias.len() + self.none_slope.len()) as u64
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Over `(rows, width)`; zeros if there are no rows.
fn mean(rows: &[f32], width: usize) -> Vec<f32> {
    let mut total = vec![0.0; width];
    for row in rows.chunks(width) {
        total.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let count = (rows.len() / width).max(1) as f32;
    total.iter_mut().for_each(|sum| *sum /= count);
    total
}

fn maximum(rows: &[f32], width: usize) -> Vec<f32> {
    let mut most = vec![f32::NEG_INFINITY; width];
    for row in rows.chunks(width) {
        most.iter_mut().zip(row).for_each(|(most, &value)| *most = most.max(value));
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            version: 1,
            embedding: 2,
            scale: 10.0,
            sharpness: 2.0,
            description_weight: 0.5,
            none_bias: 1.0,
            temperature: 2.0,
            threshold: 0.5,
            source: serde_json::Value::Null,
        }
    }

    fn similarity() -> Similarity {
        // Of two hidden numbers: the mean of the first over the request, plus the maximum of the second, minus both means before it.
        let project = vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0];
        Similarity {
            query: vec![0.0; 2],
            project,
            bias: vec![0.0, 4.0],
            none_slope: vec![0.0, 3.0],
            settings: settings(),
        }
    }

    #[test]
    fn pooling_tells_the_request_from_its_context() {
        let states = [5.0, 1.0, 2.0, 6.0, 4.0, 5.0];
        // Mean 3 and maximum 6 of the last two rows, minus 5; then minus 1, plus the bias.
        let [x, y] = [3.0 + 6.0 - 5.0, -1.0 + 4.0];
        assert_eq!(similarity().embed(&states, 2, 1..3), [x / 5.0, y / 5.0]);
        assert_eq!(similarity().embed(&states[2..], 2, 0..2), [9.0 / 97f32.sqrt(), 4.0 / 97f32.sqrt()]);
        // A query that tells the rows apart: weights 3 to 1, so that the first number is 2.5.
        let asking = Similarity { query: vec![-(3f32.ln()) / 2.0, 0.0], ..similarity() };
        let found = asking.embed(&states[2..], 2, 0..2);
        assert!((found[0] / found[1] - 8.5 / 4.0).abs() < 1e-5);
    }

    #[test]
    fn a_specialist_is_as_near_as_its_nearest_examples() {
        let profile = |examples: &[[f32; 2]]| Profile {
            description: vec![0.6, 0.8],
            examples: examples.iter().map(|example| example.to_vec()).collect(),
        };
        let request = [1.0, 0.0];
        let described = 0.5 * 0.6;
        let logit = |examples: &[[f32; 2]]| similarity().logit(&request, &profile(examples));
        assert!((logit(&[[1.0, 0.0]]) - 5.0 * (1.0 + described)).abs() < 1e-5);
        let both = 1.0 + ((1.0 + (-2f32).exp()) / 2.0).ln() / 2.0;
        assert!((logit(&[[1.0, 0.0], [0.0, 1.0]]) - 5.0 * (both + described)).abs() < 1e-5);
        assert_eq!(similarity().none_logit(&[0.6, 0.8]), (1.0 + 2.4) / 2.0);
    }
}
