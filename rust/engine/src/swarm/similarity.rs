//! From hidden states to an embedding, and from embeddings to logits. Knows no text and no model.
use std::ops::Range;

use super::{settings::Settings, tensors::values};
use crate::{Result, files::TensorSource};

/// The least that a logarithm is taken of.
const LEAST: f32 = 1e-30;
/// A probability that anything has.
const CHANCE: f32 = 1e-4;

/// Embeds pooled hidden states and compares what comes out.
pub struct Similarity {
    query: Vec<f32>, // coordinator.query (hidden)
    want: Dense,     // coordinator.project (want, 3 * hidden)
    families: Dense, // coordinator.families (families, want)
    settings: Settings,
}

/// A linear layer.
struct Dense {
    weight: Vec<f32>, // (out, in)
    bias: Vec<f32>,   // (out)
}

/// What is known of a text.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// What it wants; length 1.
    pub want: Vec<f32>,
    /// What it is about; length 1.
    pub about: Vec<f32>,
    /// The probability of each family of requests; the last one is of those that nobody is for.
    pub families: Vec<f32>,
}

/// One specialist.
#[derive(Debug, Clone)]
pub struct Profile {
    /// How many of its examples are of each family.
    families: Vec<f32>,
    description: Vec<f32>,
    examples: Vec<Vec<f32>>,
    /// How well its examples fit the description and each other, in the mean.
    cohesion: f32,
}

impl Similarity {
    /// Takes its tensors from the model's file.
    pub fn new(tensors: &dyn TensorSource, hidden: usize, families: usize, settings: Settings) -> Result<Self> {
        let values = |name: &str, shape: &[usize]| values(tensors, &format!("coordinator.{name}"), shape);
        let dense = |name: &str, out: usize, input: usize| -> Result<Dense> {
            let weight = values(&format!("{name}.weight"), &[out, input])?;
            Ok(Dense { weight, bias: values(&format!("{name}.bias"), &[out])? })
        };
        Ok(Self {
            query: values("query", &[hidden])?,
            want: dense("project", settings.want, 3 * hidden)?,
            families: dense("families", families, settings.want)?,
            settings,
        })
    }

    /// From `(rows, hidden)` states, the topic (of any length) and what n-grams say of each family. The states are pooled to what
    /// matters most of the request by a learned query, its maximum, and the mean of what stands before it.
    pub fn embed(
        &self,
        states: &[f32],
        hidden: usize,
        request: Range<usize>,
        topic: Vec<f32>,
        opinion: &[f32],
    ) -> Embedded {
        let (before, asked) = states.split_at(request.start * hidden);
        let pooled = [self.attended(asked, hidden), maximum(asked, hidden), mean(before, hidden)].concat();
        let want = unit(self.want.apply(&pooled));
        let mut families = self.families.apply(&want);
        for (family, kin) in families.iter_mut().zip(opinion) {
            *family = self.settings.want_scale * *family + self.settings.kin_scale * kin;
        }
        if let Some(none) = families.last_mut() {
            *none += self.settings.none_shift;
        }
        Embedded { want, about: unit(topic), families: softmax(families) }
    }

    /// The mean of `(rows, hidden)`, weighed by the softmax of what the query says of each row.
    fn attended(&self, rows: &[f32], hidden: usize) -> Vec<f32> {
        let weights = softmax(rows.chunks(hidden).map(|row| dot(row, &self.query)).collect());
        let mut sum = vec![0.0; hidden];
        for (row, weight) in rows.chunks(hidden).zip(&weights) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
        sum
    }

    /// A specialist by what it shows; at least one example.
    pub fn profile(&self, description: Embedded, examples: Vec<Embedded>) -> Profile {
        let families = mean_of(&examples.iter().map(|text| text.families.as_slice()).collect::<Vec<_>>());
        let examples: Vec<_> = examples.into_iter().map(|text| text.about).collect();
        let cohesion = self.cohesion(&description.about, &examples);
        Profile { families, description: description.about, examples, cohesion }
    }

    /// How well each example fits the description and the others, in the mean; an only one is as near as its description.
    fn cohesion(&self, description: &[f32], examples: &[Vec<f32>]) -> f32 {
        let fit = |at: usize, example: &Vec<f32>| {
            let described = dot(example, description);
            let others = examples.iter().enumerate().filter(|&(other, _)| other != at).map(|(_, other)| other);
            let near = match examples.len() {
                1 => described,
                _ => near(others.map(|other| dot(example, other)), self.settings.about_sharpness),
            };
            near + self.settings.description_weight * described
        };
        examples.iter().enumerate().map(|(at, example)| fit(at, example)).sum::<f32>() / examples.len().max(1) as f32
    }

    /// How well a topic fits a specialist's.
    fn topic(&self, about: &[f32], profile: &Profile) -> f32 {
        near(profile.examples.iter().map(|example| dot(about, example)), self.settings.about_sharpness)
            + self.settings.description_weight * dot(about, &profile.description)
            - self.settings.cohesion_weight * profile.cohesion
    }

    /// How well each specialist fits a request, in calibrated logits, and how well nobody does.
    pub fn logits(&self, request: &Embedded, profiles: &[&Profile]) -> (Vec<f32>, f32) {
        let settings = &self.settings;
        let mut unserved = request.families.clone();
        let logits = profiles.iter().map(|profile| {
            let topic = self.topic(&request.about, profile);
            unserved.iter_mut().zip(&profile.families).for_each(|(left, served)| *left *= 1.0 - served);
            let family = dot(&request.families, &profile.families);
            ((family + CHANCE).ln() + settings.about_scale * topic) / settings.temperature
        });
        let logits = logits.collect();
        let unserved: f32 = unserved.iter().sum();
        (logits, ((unserved + CHANCE).ln() + settings.none_bias) / settings.temperature)
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Numbers in its tensors.
    pub fn parameters(&self) -> u64 {
        let dense = |dense: &Dense| dense.weight.len() + dense.bias.len();
        (self.query.len() + dense(&self.want) + dense(&self.families)) as u64
    }
}

impl Embedded {
    /// What it wants and what it is about, as one unit vector.
    pub fn vector(&self) -> Vec<f32> {
        unit([self.want.as_slice(), &self.about].concat())
    }
}

impl Dense {
    fn apply(&self, input: &[f32]) -> Vec<f32> {
        let rows = self.weight.chunks(input.len());
        rows.zip(&self.bias).map(|(row, bias)| dot(row, input) + bias).collect()
    }
}

/// A vector of any length as one of length 1; zeros stay.
fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt().max(LEAST);
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

fn softmax(mut values: Vec<f32>) -> Vec<f32> {
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter_mut().for_each(|value| *value = (*value - most).exp());
    let total: f32 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= total);
    values
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

fn mean_of(vectors: &[&[f32]]) -> Vec<f32> {
    mean(&vectors.concat(), vectors.first().map_or(1, |vector| vector.len()))
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
            version: 3,
            want: 2,
            want_scale: 1.0,
            kin_scale: 0.5,
            none_shift: 0.0,
            about_scale: 4.0,
            about_sharpness: 1.0,
            description_weight: 0.25,
            cohesion_weight: 0.5,
            none_bias: 1.0,
            temperature: 2.0,
            threshold: 0.5,
            source: serde_json::Value::Null,
        }
    }

    fn similarity() -> Similarity {
        // Of two hidden numbers: the mean of the first over the request, plus the maximum of the second, minus both means before it.
        let weight = vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0];
        Similarity {
            query: vec![0.0; 2],
            want: Dense { weight, bias: vec![0.0, 4.0] },
            families: Dense { weight: vec![1.0, 0.0, 0.0, 1.0], bias: vec![0.0, 0.2] },
            settings: settings(),
        }
    }

    fn assert_close(found: &[f32], wanted: &[f32]) {
        assert_eq!(found.len(), wanted.len());
        found.iter().zip(wanted).for_each(|(found, wanted)| assert!((found - wanted).abs() < 1e-5, "{found} {wanted}"));
    }

    #[test]
    fn pooling_tells_the_request_from_its_context() {
        let states = [5.0, 1.0, 2.0, 6.0, 4.0, 5.0];
        // Mean 3 and maximum 6 of the last two rows, minus 5; then minus 1, plus the bias.
        let found = similarity().embed(&states, 2, 1..3, vec![0.0, 9.0], &[0.0, 0.0]);
        assert_close(&found.want, &[4.0 / 5.0, 3.0 / 5.0]);
        assert_close(&found.about, &[0.0, 1.0]);
        assert_close(&found.families, &[0.5, 0.5]);
        assert_close(
            &found.vector(),
            &[found.want.clone(), found.about].concat().map_each(|value| value / 2f32.sqrt()),
        );
        let without = similarity().embed(&states[2..], 2, 0..2, vec![0.0, 0.0], &[0.4, 0.0]);
        assert_close(&without.want, &[9.0 / 97f32.sqrt(), 4.0 / 97f32.sqrt()]);
        assert_close(&without.about, &[0.0, 0.0]);
        let more = (9.0 / 97f32.sqrt() - 4.0 / 97f32.sqrt()).exp();
        assert_close(&without.families, &[more / (1.0 + more), 1.0 / (1.0 + more)]);
        // A query that tells the rows apart: weights 3 to 1, so that the first number is 2.5.
        let asking = Similarity { query: vec![-(3f32.ln()) / 2.0, 0.0], ..similarity() };
        let found = asking.embed(&states[2..], 2, 0..2, vec![1.0, 1.0], &[0.0, 0.0]).want;
        assert!((found[0] / found[1] - 8.5 / 4.0).abs() < 1e-5);
    }

    trait MapEach {
        fn map_each(self, f: impl Fn(f32) -> f32) -> Vec<f32>;
    }

    impl MapEach for Vec<f32> {
        fn map_each(self, f: impl Fn(f32) -> f32) -> Vec<f32> {
            self.into_iter().map(f).collect()
        }
    }

    fn text(about: [f32; 2], families: [f32; 2]) -> Embedded {
        Embedded { want: vec![1.0, 0.0], about: about.into(), families: families.into() }
    }

    #[test]
    fn a_specialist_is_as_near_as_its_family_and_its_nearest_texts() {
        let described = text([0.6, 0.8], [0.5, 0.5]);
        let one = similarity().profile(described.clone(), vec![text([1.0, 0.0], [0.8, 0.2])]);
        let (logits, none) = similarity().logits(&text([0.0, 1.0], [0.9, 0.1]), &[&one]);
        let family = 0.9 * 0.8 + 0.1 * 0.2;
        // Its only example is as near to it as its description: 0.6, and a quarter for the description.
        let cohesion = 0.5 * 1.25 * 0.6;
        assert_close(&logits, &[(f32::ln(family + CHANCE) + 4.0 * (0.25 * 0.8 - cohesion)) / 2.0]);
        assert_close(&[none], &[(f32::ln(0.9 * 0.2 + 0.1 * 0.8 + CHANCE) + 1.0) / 2.0]);
        // Of two examples the nearer counts more; their families are averaged.
        let two = similarity().profile(described, vec![text([1.0, 0.0], [0.8, 0.2]), text([0.0, 1.0], [0.4, 0.6])]);
        assert_close(&two.families, &[0.6, 0.4]);
        let nearest = 1.0 + ((1.0 + (-1f32).exp()) / 2.0).ln();
        let (logits, _) = similarity().logits(&text([1.0, 0.0], [1.0, 0.0]), &[&one, &two]);
        // Its examples are at right angles, and 0.6 and 0.8 near the description.
        assert_close(&[two.cohesion], &[0.25 * 0.7]);
        let cohesion = 0.5 * 0.25 * 0.7;
        assert_close(&logits[1..], &[(f32::ln(0.6 + CHANCE) + 4.0 * (nearest + 0.25 * 0.6 - cohesion)) / 2.0]);
    }

    #[test]
    fn nobody_gets_what_no_specialist_is_for() {
        let here = similarity().profile(text([1.0, 0.0], [1.0, 0.0]), vec![text([1.0, 0.0], [1.0, 0.0])]);
        let margin = |request: Embedded| {
            let (logits, none) = similarity().logits(&request, &[&here]);
            logits[0] - none
        };
        let fits = margin(text([1.0, 0.0], [1.0, 0.0]));
        assert!(fits > margin(text([0.0, 1.0], [1.0, 0.0])) && fits > margin(text([1.0, 0.0], [0.0, 1.0])));
        let (logits, none) = similarity().logits(&text([1.0, 0.0], [1.0, 0.0]), &[]);
        assert!(logits.is_empty());
        assert_close(&[none], &[(f32::ln(1.0 + CHANCE) + 1.0) / 2.0]);
    }
}
