//! The models as their papers write them, one number at a time: the judge of the real ones.
use super::{Family, ModelConfig, RopeScaling, testing};
use crate::{
    backends::KvType,
    batch::{Batch, TokenId, Want},
};
use synapse_kernels::Format;

struct Reference {
    config: ModelConfig,
    tensors: testing::Tensors,
}

impl Reference {
    fn values(&self, name: &str) -> &[f32] {
        &self.tensors[name].1
    }

    /// `W x + b`.
    fn linear(&self, name: &str, x: &[f32]) -> Vec<f32> {
        let weight = self.values(&format!("{name}.weight"));
        let bias = self.tensors.get(&format!("{name}.bias"));
        let rows = weight.chunks(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>());
        rows.enumerate().map(|(index, y)| y + bias.map_or(0.0, |(_, bias)| bias[index])).collect()
    }

    fn norm(&self, name: &str, x: &[f32]) -> Vec<f32> {
        let mean = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
        let weight = self.values(&format!("{name}.weight"));
        x.iter().zip(weight).map(|(x, w)| x / (mean + self.config.norm_eps).sqrt() * w).collect()
    }

    fn rotate(&self, head: &mut [f32], position: usize) {
        let half = head.len() / 2;
        for pair in 0..half {
            let frequency = f64::from(self.config.rope_theta).powf(-2.0 * pair as f64 / head.len() as f64);
            let stretched = match &self.config.rope_scaling {
                RopeScaling::None => frequency,
                RopeScaling::Linear { factor } => frequency / f64::from(*factor),
                RopeScaling::Factors(factors) => frequency / f64::from(factors[pair]),
                RopeScaling::Llama3 { .. } => unreachable!("tested in rope.rs"),
            };
            let (sin, cos) = (position as f64 * stretched).sin_cos();
            let (a, b) = (f64::from(head[pair]), f64::from(head[pair + half]));
            head[pair] = (a * cos - b * sin) as f32;
            head[pair + half] = (b * cos + a * sin) as f32;
        }
    }

    /// `heads` of one layer for all positions: `[position][head][dim]`.
    fn heads(&self, name: &str, normed: &[Vec<f32>], rotated: bool) -> Vec<Vec<Vec<f32>>> {
        let split = |(position, x): (usize, &Vec<f32>)| {
            let mut heads: Vec<_> = self.linear(name, x).chunks(self.config.head_dim).map(<[f32]>::to_vec).collect();
            if rotated {
                heads.iter_mut().for_each(|head| self.rotate(head, position));
            }
            heads
        };
        normed.iter().enumerate().map(split).collect()
    }

    fn attention(&self, layer: &str, normed: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let q = self.heads(&format!("{layer}.self_attn.q_proj"), normed, true);
        let k = self.heads(&format!("{layer}.self_attn.k_proj"), normed, true);
        let v = self.heads(&format!("{layer}.self_attn.v_proj"), normed, false);
        let group = self.config.heads / self.config.kv_heads;
        let row = |position: usize| {
            let mut row = Vec::new();
            for (head, q) in q[position].iter().enumerate() {
                let dot = |k: &[f32]| q.iter().zip(k).map(|(q, k)| q * k).sum::<f32>() / (q.len() as f32).sqrt();
                let scores: Vec<f32> = (0..=position).map(|past| dot(&k[past][head / group])).collect();
                let most = scores.iter().copied().fold(f32::MIN, f32::max);
                let total: f32 = scores.iter().map(|score| (score - most).exp()).sum();
                let weighted = |dim: usize| {
                    let term = |(past, score): (usize, &f32)| (score - most).exp() / total * v[past][head / group][dim];
                    scores.iter().enumerate().map(term).sum::<f32>()
                };
                row.extend((0..q.len()).map(weighted));
            }
            self.linear(&format!("{layer}.self_attn.o_proj"), &row)
        };
        (0..normed.len()).map(row).collect()
    }

    fn ffn(&self, layer: &str, x: &[f32]) -> Vec<f32> {
        let gate = self.linear(&format!("{layer}.mlp.gate_proj"), x);
        let up = self.linear(&format!("{layer}.mlp.up_proj"), x);
        let inner: Vec<f32> = gate.iter().zip(&up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect();
        self.linear(&format!("{layer}.mlp.down_proj"), &inner)
    }

    /// Final hidden states and logits of every position.
    fn forward(&self, text: &[TokenId]) -> (Vec<f32>, Vec<f32>) {
        let table = self.values("model.embed_tokens.weight");
        let hidden = self.config.hidden_size;
        let mut x: Vec<Vec<f32>> = text.iter().map(|&t| table[t as usize * hidden..][..hidden].to_vec()).collect();
        for layer in 0..self.config.layers {
            let layer = format!("model.layers.{layer}");
            let normed: Vec<_> = x.iter().map(|x| self.norm(&format!("{layer}.input_layernorm"), x)).collect();
            x.iter_mut().zip(self.attention(&layer, &normed)).for_each(|(x, y)| add(x, &y));
            for x in &mut x {
                let normed = self.norm(&format!("{layer}.post_attention_layernorm"), x);
                add(x, &self.ffn(&layer, &normed));
            }
        }
        let head = if self.config.tied_head { "model.embed_tokens" } else { "lm_head" };
        let normed: Vec<_> = x.iter().map(|x| self.norm("model.norm", x)).collect();
        let logits = normed.iter().flat_map(|x| self.linear(head, x)).collect();
        (normed.concat(), logits)
    }
}

fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// Largest difference, as a share of the largest value.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

fn compare(config: ModelConfig) {
    let text = testing::text(7, 41, config.vocab_size);
    let mut model = testing::model(&config, Format::F32, KvType::F32, 2);
    let pages: Vec<u32> = (0..3).rev().collect();
    let wanted = [Want::AllLogits, Want::Hidden];
    let segments = wanted.map(|want| testing::segment(&text, 0..text.len(), &pages, want));
    // Both segments write the same numbers to the same pages.
    let outputs: Vec<_> =
        segments.map(|segment| model.forward(&Batch { segments: vec![segment] }).unwrap().remove(0)).into();
    let (hidden, logits) = Reference { tensors: testing::tensors(&config), config }.forward(&text);
    assert!(distance(&outputs[0].logits, &logits) < 1e-5, "logits: {}", distance(&outputs[0].logits, &logits));
    assert!(distance(&outputs[1].hidden, &hidden) < 1e-5, "hidden: {}", distance(&outputs[1].hidden, &hidden));
    assert!(outputs[0].hidden.is_empty() && outputs[1].logits.is_empty());
}

#[test]
fn llama_of_odd_sizes() {
    compare(testing::config());
}

#[test]
fn llama_with_biases_and_linear_rope() {
    let rope_scaling = RopeScaling::Linear { factor: 2.5 };
    compare(ModelConfig { qkv_bias: true, o_bias: true, tied_head: true, rope_scaling, ..testing::config() });
}

#[test]
fn llama_with_rope_factors_and_every_head_its_own_kv() {
    let rope_scaling = RopeScaling::Factors(vec![1.0, 1.5, 2.0, 4.0, 8.0]);
    compare(ModelConfig { heads: 5, kv_heads: 5, rope_scaling, ..testing::config() });
}

#[test]
fn qwen2_with_seven_heads_to_one() {
    let config = ModelConfig { hidden_size: 56, intermediate_size: 33, head_dim: 6, ..testing::qwen2_config() };
    assert_eq!((config.family, config.heads / config.kv_heads), (Family::Qwen2, 7));
    compare(config);
}
