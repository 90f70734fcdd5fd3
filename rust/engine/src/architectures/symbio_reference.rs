//! The organelles as the reference writes them, dense and one number at a time in double precision: the judge of the real ones.
use synapse_kernels::{Format, MonarchLayout};

use super::{Gate, ModelConfig, Organelle, Organelles, testing::*};
use crate::{
    backends::KvType,
    batch::{Batch, TokenId, Want},
};

type Rows = Vec<Vec<f64>>;

struct Reference {
    config: ModelConfig,
    organelles: Organelles,
    tensors: Tensors,
}

impl Reference {
    fn new(config: &ModelConfig) -> Self {
        Self { config: config.clone(), organelles: config.organelles.clone().unwrap(), tensors: tensors(config) }
    }

    fn values(&self, name: &str) -> Vec<f64> {
        self.tensors[name].1.iter().map(|&value| f64::from(value)).collect()
    }

    fn linear(&self, name: &str, x: &Rows) -> Rows {
        let weight = self.values(&format!("{name}.weight"));
        x.iter().map(|x| weight.chunks(x.len()).map(|row| dot(row, x)).collect()).collect()
    }

    fn rms_norm(&self, name: &str, x: &Rows) -> Rows {
        let weight = self.values(&format!("{name}.weight"));
        let one = |x: &Vec<f64>| {
            let scale = 1.0 / (dot(x, x) / x.len() as f64 + f64::from(self.config.norm_eps)).sqrt();
            x.iter().zip(&weight).map(|(x, w)| x * scale * w).collect()
        };
        x.iter().map(one).collect()
    }

    /// Hidden states and logits of every position.
    fn forward(&self, text: &[TokenId]) -> (Vec<f64>, Vec<f64>) {
        let (table, width) = match self.organelles.donor_size {
            None => ("tok_emb", self.config.hidden_size),
            Some(donor) => ("donor", donor),
        };
        let embedding = self.values(&format!("{table}.weight"));
        let mut x: Rows = text.iter().map(|&token| embedding[token as usize * width..][..width].to_vec()).collect();
        if self.organelles.donor_size.is_some() {
            x = self.junction(&x);
        }
        for layer in 0..self.config.layers {
            let block = format!("blocks.{layer}");
            let scale = |name: &str| match self.organelles.skip_scales {
                true => self.values(&format!("{block}.{name}.scale"))[0],
                false => 1.0,
            };
            let mixed = self.mix(layer, &self.rms_norm(&format!("{block}.ln1"), &x));
            add(&mut x, scale("skip1"), &mixed);
            let fed = self.ffn(&block, &self.rms_norm(&format!("{block}.ln2"), &x));
            add(&mut x, scale("skip2"), &fed);
        }
        let normed = self.rms_norm("ln_f", &x);
        let last = match self.organelles.donor_size {
            None => normed.clone(),
            Some(_) => self.linear("out_proj", &normed),
        };
        (normed.concat(), self.linear(table, &last).concat())
    }

    fn junction(&self, embedded: &Rows) -> Rows {
        let [weight, bias] = ["weight", "bias"].map(|part| self.values(&format!("junction.norm.{part}")));
        let mut x = self.linear("junction.proj", embedded);
        for x in &mut x {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
            for (place, x) in x.iter_mut().enumerate() {
                *x = silu((*x - mean) / (variance + 1e-5).sqrt() * weight[place] + bias[place]);
            }
        }
        x
    }

    fn ffn(&self, block: &str, x: &Rows) -> Rows {
        let [gate, up] = ["w1", "v"].map(|name| self.linear(&format!("{block}.ffn.{name}"), x));
        let inner = gate.iter().zip(&up).map(|(gate, up)| gate.iter().zip(up).map(|(g, u)| silu(*g) * u).collect());
        self.linear(&format!("{block}.ffn.w2"), &inner.collect())
    }

    fn mix(&self, layer: usize, u: &Rows) -> Rows {
        let present = &self.organelles.layers[layer];
        let gate = |part: &str| self.values(&format!("blocks.{layer}.seq_mixer.gate.{part}"));
        let channels = self.config.hidden_size;
        let weight: Rows = match self.organelles.gate {
            Gate::Sigmoid => {
                vec![gate("weight").iter().map(|w| 1.0 / (1.0 + (-w).exp())).collect(); present.len()]
            }
            Gate::Softmax { temperature } => {
                let temperature = if temperature { gate("temperature")[0].max(0.01) } else { 1.0 };
                let logits = gate("logits");
                let exps: Vec<f64> = logits.iter().map(|l| (l / temperature).exp()).collect();
                let total = |c: usize| exps.chunks(channels).map(|row| row[c]).sum::<f64>();
                exps.chunks(channels).map(|row| row.iter().enumerate().map(|(c, e)| e / total(c)).collect()).collect()
            }
        };
        let mut y = vec![vec![0.0; channels]; u.len()];
        for (organelle, weight) in present.iter().zip(weight) {
            let part = self.organelle(layer, *organelle, u);
            for (y, part) in y.iter_mut().zip(part) {
                y.iter_mut().zip(part).zip(&weight).for_each(|((y, part), weight)| *y += weight * part);
            }
        }
        y
    }

    fn organelle(&self, layer: usize, organelle: Organelle, u: &Rows) -> Rows {
        let name = |part: &str| format!("blocks.{layer}.seq_mixer.organelle_modules.{part}");
        match organelle {
            Organelle::CausalConv => convolve(&self.values(&name("causal_conv.weight")), u),
            Organelle::LongConv => convolve(&self.values(&name("long_conv.kernel")), u),
            Organelle::Monarch => self.monarch(&name("monarch"), u),
            Organelle::Attention => self.attention(&name("attention"), u),
        }
    }

    fn monarch(&self, name: &str, u: &Rows) -> Rows {
        let heads = self.organelles.monarch_heads;
        let factors: Vec<_> =
            (0..heads).map(|h| ["L1", "L2"].map(|side| self.values(&format!("{name}.{h}.{side}")))).collect();
        let at = |a: usize, b: usize, c: usize| (a * 16 + b) * 16 + c;
        let entry = |head: usize, t: usize, s: usize| {
            let (m, n, i, j) = match self.organelles.monarch_layout {
                MonarchLayout::Torch => (t / 16, t % 16, s / 16, s % 16),
                MonarchLayout::Julia => (t % 16, t / 16, s % 16, s / 16),
            };
            factors[head][0][at(n, j, m)] * factors[head][1][at(m, i, j)]
        };
        let group = self.config.hidden_size / heads;
        let row = |t: usize| (0..u[t].len()).map(|c| (0..=t).map(|s| entry(c / group, t, s) * u[s][c]).sum()).collect();
        (0..u.len()).map(row).collect()
    }

    fn attention(&self, name: &str, u: &Rows) -> Rows {
        let dim = self.config.head_dim;
        let [q, k, v] = ["wq", "wk", "wv"].map(|part| self.linear(&format!("{name}.{part}"), u));
        let turned = |x: &[f64], position: usize| -> Vec<f64> {
            let half = dim / 2;
            let angle = |i: usize| position as f64 * 10_000f64.powf(-2.0 * (i % half) as f64 / dim as f64);
            let other = |i: usize| if i < half { -x[i + half] } else { x[i - half] };
            (0..dim).map(|i| x[i] * angle(i).cos() + other(i) * angle(i).sin()).collect()
        };
        let row = |t: usize| {
            let mut row = Vec::new();
            for head in (0..self.config.heads).map(|head| head * dim..(head + 1) * dim) {
                let query = turned(&q[t][head.clone()], t);
                let score = |s: usize| (dot(&query, &turned(&k[s][head.clone()], s)) / (dim as f64).sqrt()).exp();
                let scores: Vec<f64> = (0..=t).map(score).collect();
                let total: f64 = scores.iter().sum();
                row.extend(
                    head.map(|c| scores.iter().enumerate().map(|(s, score)| score / total * v[s][c]).sum::<f64>()),
                );
            }
            row
        };
        self.linear(&format!("{name}.wo"), &(0..u.len()).map(row).collect())
    }
}

/// Depthwise, causal; the last tap meets the newest input.
fn convolve(weight: &[f64], u: &Rows) -> Rows {
    let taps = weight.len() / u[0].len();
    let at =
        |t: usize, c: usize| (0..=t.min(taps - 1)).map(|lag| weight[c * taps + taps - 1 - lag] * u[t - lag][c]).sum();
    (0..u.len()).map(|t| (0..u[t].len()).map(|c| at(t, c)).collect()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

fn add(x: &mut Rows, scale: f64, y: &Rows) {
    x.iter_mut().zip(y).for_each(|(x, y)| x.iter_mut().zip(y).for_each(|(x, y)| *x += scale * y));
}

/// Largest difference, as a share of the largest value.
fn distance(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max) / largest
}

/// Lengths around the pages' borders and the window's end.
const LENGTHS: [usize; 6] = [1, 15, 16, 17, 255, 256];

fn compare(config: &ModelConfig) {
    let text = text(7, 256, config.vocab_size);
    let pages: Vec<u32> = (0..16).rev().collect();
    let (hidden, logits) = Reference::new(config).forward(&text);
    for length in LENGTHS {
        let mut model = model(config, Format::F32, KvType::F32, 2);
        let mut run = |want| {
            let segments = vec![segment(&text, 0..length, &pages, want)];
            model.forward(&Batch { segments }).unwrap().remove(0)
        };
        let (scored, embedded) = (run(Want::AllLogits), run(Want::Hidden));
        let logits = distance(&scored.logits, &logits[..length * config.vocab_size]);
        let hidden = distance(&embedded.hidden, &hidden[..length * config.hidden_size]);
        assert!(logits < 1e-5 && hidden < 1e-5, "{length} tokens: logits {logits}, hidden {hidden}");
    }
}

#[test]
fn every_organelle_in_both_layouts() {
    for layout in [MonarchLayout::Torch, MonarchLayout::Julia] {
        for heads in [1, 2, 4] {
            compare(&symbio_with(|o| (o.monarch_layout, o.monarch_heads) = (layout, heads)));
        }
    }
}

#[test]
fn each_organelle_alone() {
    for organelle in Organelle::ALL {
        compare(&symbio_with(|o| o.layers = vec![vec![organelle]; 2]));
    }
}

#[test]
fn symbio_slm_without_temperature_and_skip_scales() {
    use Organelle::{CausalConv, LongConv, Monarch};
    compare(&symbio_with(|o| {
        o.layers = vec![vec![CausalConv, Monarch, LongConv]; 2];
        o.gate = Gate::Softmax { temperature: false };
        (o.skip_scales, o.monarch_layout) = (false, MonarchLayout::Julia);
    }));
}

#[test]
fn monarch_slm() {
    compare(&symbio_with(|o| {
        o.layers = vec![vec![Organelle::CausalConv, Organelle::Monarch]; 2];
        (o.gate, o.skip_scales, o.monarch_heads) = (Gate::Sigmoid, false, 4);
    }));
}

#[test]
fn vocab_fusion() {
    compare(&symbio_with(|o| o.donor_size = Some(24)));
}
