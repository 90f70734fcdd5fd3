//! From hidden states to an embedding, and from embeddings to logits. Knows no text and no model.
use std::ops::Range;

use super::settings::Settings;
use crate::{Error, Result, files::TensorSource};

/// The least mean of raised similarities that a logarithm is taken of.
const LEAST: f32 = 1e-30;
/// Of an embedding, all of the same length.
const PARTS: f32 = 3.0;

/// Projects pooled hidden states and compares embeddings.
pub struct Similarity {
    query: Vec<f32>,      // coordinator.query (hidden)
    want: Dense,          // coordinator.project (want, 3 * hidden)
    about: Dense,         // coordinator.about (about, 3 * hidden)
    none_slope: Vec<f32>, // coordinator.none_slope (want)
    settings: Settings,
}

/// A linear layer.
struct Dense {
    weight: Vec<f32>, // (out, in)
    bias: Vec<f32>,   // (out)
}

/// The embeddings of one specialist.
#[derive(Debug, Clone)]
pub struct Profile {
    pub description: Vec<f32>,
    pub examples: Vec<Vec<f32>>,
}

impl Similarity {
    /// Takes its tensors from the model's file.
    pub fn new(tensors: &dyn TensorSource, hidden: usize, settings: Settings) -> Result<Self> {
        let (want, about) = (settings.want, settings.about);
        let values = |name: &str, shape: &[usize]| {
            let fault =
                |found: String| Error::Model(format!("tensor `coordinator.{name}`: expected {shape:?}, found {found}"));
            let tensor = tensors.tensor(&format!("coordinator.{name}")).ok_or_else(|| fault("none".into()))?;
            match tensor.shape == shape {
                true => Ok(tensor.to_f32()),
                false => Err(fault(format!("{:?}", tensor.shape))),
            }
        };
        let dense = |name: &str, width: usize| -> Result<Dense> {
            let weight = values(&format!("{name}.weight"), &[width, 3 * hidden])?;
            Ok(Dense { weight, bias: values(&format!("{name}.bias"), &[width])? })
        };
        Ok(Self {
            query: values("query", &[hidden])?,
            want: dense("project", want)?,
            about: dense("about", about)?,
            none_slope: values("none_slope", &[want])?,
            settings,
        })
    }

    /// `(rows, hidden)` states and an opinion of n-grams to a unit vector, made of what the request wants, what it is about and whose
    /// kin it is, each of a third of the square length. The first two see of the request what matters most by a learned query, and
    /// the maximum; of what stands before it the mean.
    pub fn embed(&self, states: &[f32], hidden: usize, request: Range<usize>, opinion: Vec<f32>) -> Vec<f32> {
        let (before, asked) = states.split_at(request.start * hidden);
        let pooled = [self.attended(asked, hidden), maximum(asked, hidden), mean(before, hidden)].concat();
        [self.want.apply(&pooled), self.about.apply(&pooled), opinion].map(third_of_unit).concat()
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
        let settings = &self.settings;
        let (kin, about) = (settings.want + settings.about, settings.want);
        let cosine = |text: &Vec<f32>, part: Range<usize>| PARTS * dot(&request[part.clone()], &text[part]);
        let want = |text| cosine(text, 0..about);
        let everything = || profile.examples.iter().chain([&profile.description]);
        let wanted = near(profile.examples.iter().map(want), settings.sharpness)
            + settings.description_weight * want(&profile.description);
        let topic = near(everything().map(|text| cosine(text, about..kin)), settings.about_sharpness);
        let kin = near(everything().map(|text| cosine(text, kin..request.len())), settings.kin_sharpness);
        (settings.scale * wanted + settings.about_scale * topic + settings.kin_scale * kin) / settings.temperature
    }

    /// How well nobody fits.
    pub fn none_logit(&self, request: &[f32]) -> f32 {
        let settings = &self.settings;
        let slope = PARTS.sqrt() * dot(&request[..settings.want], &self.none_slope);
        // The last label that n-grams tell apart is none.
        let kin = PARTS.sqrt() * request.last().copied().unwrap_or_default();
        (settings.none_bias + slope + settings.kin_scale * kin) / settings.temperature
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Numbers in its tensors.
    pub fn parameters(&self) -> u64 {
        let dense = |dense: &Dense| dense.weight.len() + dense.bias.len();
        (self.query.len() + dense(&self.want) + dense(&self.about) + self.none_slope.len()) as u64
    }
}

impl Dense {
    fn apply(&self, input: &[f32]) -> Vec<f32> {
        let rows = self.weight.chunks(input.len());
        rows.zip(&self.bias).map(|(row, bias)| dot(row, input) + bias).collect()
    }
}

/// A vector of any length but zero, scaled so that three of them are a unit vector.
fn third_of_unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = (PARTS * dot(&vector, &vector)).sqrt().max(LEAST);
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

/// `log(mean(exp(sharpness * x))) / sharpness`: between the mean and the maximum.
fn near(cosines: impl Iterator<Item = f32>, sharpness: f32) -> f32 {
    let (mut total, mut count) = (0.0, 0.0f32);
    for cosine in cosines {
        total += (sharpness * (cosine - 1.0)).exp();
        count += 1.0;
    }
    1.0 + (total / count.max(1.0)).max(LEAST).ln() / sharpness
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
            want: 2,
            about: 2,
            scale: 10.0,
            sharpness: 2.0,
            description_weight: 0.5,
            none_bias: 1.0,
            about_scale: 4.0,
            about_sharpness: 1.0,
            kin_scale: 6.0,
            kin_sharpness: 1.0,
            temperature: 2.0,
            threshold: 0.5,
            source: serde_json::Value::Null,
        }
    }

    fn similarity() -> Similarity {
        // Of two hidden numbers: the mean of the first over the request, plus the maximum of the second, minus both means before it.
        let weight = vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0];
        let want = Dense { weight, bias: vec![0.0, 4.0] };
        let about = Dense { weight: vec![0.0; 12], bias: vec![-3.0, 4.0] };
        Similarity { query: vec![0.0; 2], want, about, none_slope: vec![0.0, 3.0], settings: settings() }
    }

    /// All parts of an embedding; each is a unit vector.
    fn all(want: [f32; 2], about: [f32; 2], kin: [f32; 2]) -> Vec<f32> {
        [want, about, kin].concat().iter().map(|value| value / PARTS.sqrt()).collect()
    }

    fn assert_close(found: &[f32], wanted: &[f32]) {
        assert_eq!(found.len(), wanted.len());
        found.iter().zip(wanted).for_each(|(found, wanted)| assert!((found - wanted).abs() < 1e-5, "{found} {wanted}"));
    }

    #[test]
    fn pooling_tells_the_request_from_its_context() {
        let states = [5.0, 1.0, 2.0, 6.0, 4.0, 5.0];
        // Mean 3 and maximum 6 of the last two rows, minus 5; then minus 1, plus the bias.
        let found = similarity().embed(&states, 2, 1..3, vec![0.0, -7.0]);
        assert_close(&found, &all([4.0 / 5.0, 3.0 / 5.0], [-0.6, 0.8], [0.0, -1.0]));
        let without = similarity().embed(&states[2..], 2, 0..2, vec![0.5, 0.0]);
        assert_close(&without, &all([9.0 / 97f32.sqrt(), 4.0 / 97f32.sqrt()], [-0.6, 0.8], [1.0, 0.0]));
        // A query that tells the rows apart: weights 3 to 1, so that the first number is 2.5.
        let asking = Similarity { query: vec![-(3f32.ln()) / 2.0, 0.0], ..similarity() };
        let found = asking.embed(&states[2..], 2, 0..2, vec![1.0, 1.0]);
        assert!((found[0] / found[1] - 8.5 / 4.0).abs() < 1e-5);
    }

    #[test]
    fn a_specialist_is_as_near_as_its_nearest_texts() {
        let profile = |examples: &[[f32; 2]]| Profile {
            description: all([0.6, 0.8], [0.0, 1.0], [1.0, 0.0]),
            examples: examples.iter().map(|&want| all(want, [0.0, 1.0], [1.0, 0.0])).collect(),
        };
        let logit = |about: [f32; 2], kin: [f32; 2], examples: &[[f32; 2]]| {
            similarity().logit(&all([1.0, 0.0], about, kin), &profile(examples))
        };
        let described = 0.5 * 0.6;
        assert_close(&[logit([1.0, 0.0], [0.0, 1.0], &[[1.0, 0.0]])], &[5.0 * (1.0 + described)]);
        let nearest = 1.0 + ((1.0 + (-2f32).exp()) / 2.0).ln() / 2.0;
        assert_close(&[logit([1.0, 0.0], [0.0, 1.0], &[[1.0, 0.0], [0.0, 1.0]])], &[5.0 * (nearest + described)]);
        // The same topic, or a kin, adds its whole scale.
        assert_close(&[logit([0.0, 1.0], [0.0, 1.0], &[[1.0, 0.0]])], &[5.0 * (1.0 + described) + 2.0]);
        assert_close(&[logit([1.0, 0.0], [1.0, 0.0], &[[1.0, 0.0]])], &[5.0 * (1.0 + described) + 3.0]);
        let none = similarity().none_logit(&all([0.6, 0.8], [1.0, 0.0], [0.6, -0.8]));
        assert_close(&[none], &[(1.0 + 2.4 - 6.0 * 0.8) / 2.0]);
    }
}
