//! Models with adapters: merged weights are the judge, and a row minds no neighbour's adapter.
use std::{collections::BTreeMap, sync::Arc};

use synapse_kernels::{Format, Matrix};

use super::{ModelConfig, Settings, build, testing::*};
use crate::{
    adapter::{Adapter, Blend, LowRank, Origin, Part, Site},
    backends::{Cpu, KvType},
    batch::{Batch, Model, PAGE_TOKENS, Segment, Want},
};

const LEN: usize = 2 * PAGE_TOKENS + 7;
const PAGES: [u32; 3] = [9, 2, 5];

/// Low-rank matrices by site, row-major, with their rank.
type Values = BTreeMap<String, (Vec<f32>, Vec<f32>, usize)>;

/// At every site, or at every other.
fn values(sites: &[Site], seed: u64, rank: usize, every: usize) -> Values {
    let numbers = |seed: u64, len: usize, width: f32| -> Vec<f32> {
        let unit = |bits: u64| (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        noise(seed).take(len).map(|bits| width * unit(bits)).collect()
    };
    let site = |(index, Site { name, shape: (out, input) }): (usize, &Site)| {
        let seed = seed + 1000 * index as u64;
        let down = numbers(seed, rank * input, (1.0 / *input as f32).sqrt());
        (name.clone(), (down, numbers(seed + 1, out * rank, 0.5), rank))
    };
    sites.iter().enumerate().step_by(every).map(site).collect()
}

fn adapter(sites: &[Site], values: &Values, format: Format) -> Arc<Adapter> {
    let pack = |rows: usize, cols: usize, values: &[f32]| {
        Matrix::pack_f32(format, rows, cols, |row, out| out.copy_from_slice(&values[row * cols..][..cols]))
    };
    let part = |Site { name, shape: (out, input) }: &Site| {
        let (down, up, rank) = values.get(name)?;
        Some(LowRank { down: pack(*rank, *input, down), up: pack(*out, *rank, up), scale: 2.0 })
    };
    Arc::new(Adapter::new(sites.iter().map(part).collect(), Vec::new(), Origin::default()))
}

/// A model whose weights have the additions in them.
fn merged(config: &ModelConfig, blend: &[(&Values, f32)]) -> Box<dyn Model> {
    let mut weights = TestWeights::new(config, Format::F32);
    for (values, weight) in blend {
        for (name, (down, up, rank)) in *values {
            let (shape, matrix) = weights.tensors.get_mut(&format!("{name}.weight")).unwrap();
            for (index, value) in matrix.iter_mut().enumerate() {
                let (row, col) = (index / shape[1], index % shape[1]);
                let dot: f32 = (0..*rank).map(|r| up[row * rank + r] * down[r * shape[1] + col]).sum();
                *value += 2.0 * weight * dot;
            }
        }
    }
    let settings = Settings { context_length: config.context_length, pages: 64, kv_type: KvType::F32 };
    build(config, settings, Cpu::new(1), &weights).unwrap()
}

fn with(blend: &[(&Arc<Adapter>, f32, usize)], segment: Segment) -> Segment {
    let part =
        |&(adapter, weight, from): &(&Arc<Adapter>, f32, usize)| Part { adapter: Arc::clone(adapter), weight, from };
    let blend: Blend = blend.iter().map(part).collect();
    Segment { blend: Some(blend), ..segment }
}

fn whole(text: &[u32]) -> Segment {
    segment(text, 0..text.len(), &PAGES, Want::AllLogits)
}

#[test]
fn an_adapted_model_is_the_merged_model() {
    for config in [config(), ModelConfig { hidden_size: 56, intermediate_size: 33, head_dim: 6, ..qwen2_config() }] {
        let mut model = model(&config, Format::F32, KvType::F32, 2);
        let [one, other] = [(1, 5, 1), (2, 16, 2)].map(|(seed, rank, every)| values(model.sites(), seed, rank, every));
        let [first, second] = [&one, &other].map(|values| adapter(model.sites(), values, Format::F32));
        let text = text(1, LEN, config.vocab_size);
        let plain = run(&mut *model, whole(&text));
        for (blend, merge) in [
            (vec![(&first, 1.0, 0)], vec![(&one, 1.0)]),
            (vec![(&second, 1.0, 0)], vec![(&other, 1.0)]),
            (vec![(&first, 0.5, 0), (&second, -0.25, 0)], vec![(&one, 0.5), (&other, -0.25)]),
        ] {
            let found = run(&mut *model, with(&blend, whole(&text)));
            let wanted = run(&mut *merged(&config, &merge), whole(&text));
            let largest = |pairs: &[f32]| found.iter().zip(pairs).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(largest(&wanted) < 2e-4, "{:?}: {}", config.family, largest(&wanted));
            assert!(largest(&plain) > 0.1, "the adapter changes something");
        }
    }
}

/// Enough rows that plain gates would be computed another way than adapted ones.
#[test]
fn rows_with_different_adapters_are_as_alone() {
    for format in [Format::F32, Format::Q4, Format::Q8, Format::F16, Format::ALL[6], Format::ALL[12]] {
        let config = ModelConfig { head_dim: 128, heads: 4, ..qwen2_config() };
        let make = |threads| model(&config, format, KvType::F16, threads);
        let mut together = make(3);
        let adapters = [(3, 1), (8, 2), (17, 1)].map(|(rank, every)| {
            let values = values(together.sites(), rank as u64, rank, every);
            adapter(together.sites(), &values, Format::F16)
        });
        let [a, b, c] = &adapters;
        let blends = [vec![(a, 1.0, 0)], vec![], vec![(b, 1.0, 0), (a, 0.5, 20)], vec![(c, 2.0, 0)], vec![(c, 2.0, 0)]];
        let texts: Vec<_> = (0..5).map(|seed| text(seed, LEN - seed as usize, config.vocab_size)).collect();
        let on = |index: usize, range: std::ops::Range<usize>| {
            let pages: Vec<u32> = (10 * index as u32..).take(3).collect();
            with(&blends[index], segment(&texts[index], range, &pages, Want::AllLogits))
        };
        // The last two decode their last token while the others prefill.
        let starts: Vec<usize> = (0..5).map(|index| if index < 3 { 0 } else { texts[index].len() - 1 }).collect();
        (3..5).for_each(|index| drop(run(&mut *together, on(index, 0..starts[index]))));
        let segments = (0..5).map(|index| on(index, starts[index]..texts[index].len())).collect();
        let outputs = together.forward(&Batch { segments }).unwrap();
        for (index, output) in outputs.iter().enumerate() {
            let mut alone = make(1);
            let chunks = [0, 5, 21, texts[index].len()];
            let logits: Vec<f32> = chunks.windows(2).flat_map(|at| run(&mut *alone, on(index, at[0]..at[1]))).collect();
            assert!(output.logits == logits[logits.len() - output.logits.len()..], "{format}: sequence {index}");
        }
        let plain = run(&mut *make(2), segment(&texts[1], 0..texts[1].len(), &PAGES, Want::AllLogits));
        assert!(outputs[1].logits == plain, "{format}: a row without an adapter");
    }
}

#[test]
fn an_adapter_counts_from_its_position_on() {
    let config = config();
    let mut model = model(&config, Format::F32, KvType::F32, 2);
    let adapter = adapter(model.sites(), &values(model.sites(), 1, 4, 1), Format::F32);
    let text = text(1, LEN, config.vocab_size);
    let plain = run(&mut *model, whole(&text));
    let from = run(&mut *model, with(&[(&adapter, 1.0, 21)], whole(&text)));
    let (before, after) = (21 * config.vocab_size, 22 * config.vocab_size);
    assert!(plain[..before] == from[..before]);
    assert!(plain[before..after].iter().zip(&from[before..after]).all(|(a, b)| a != b));
}
