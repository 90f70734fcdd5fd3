//! The engine on a real forward pass with random weights: what it promises holds bit for bit, log-probabilities included.
use synapse_kernels::{Format, Matrix};

use super::{
    super::{EngineOptions, Models},
    harness::{Harness, alone_on, generate, plain, prompt, request},
};
use crate::{
    Result,
    architectures::{MatrixSpec, Settings, VectorSpec, Weights, build, testing::config},
    backends::{Cpu, KvType},
    batch::Model,
    sample::SamplingOptions,
    schedule::{GenerateOptions, Request, Task},
    speculate::DraftModel,
};

/// Weights made of noise, the same for the same name.
struct Noise;

pub fn noise(name: &str, index: usize) -> f32 {
    let seed = name.bytes().fold(17u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let bits = seed.wrapping_add(index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((bits ^ (bits >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1u64 << 24) as f32 - 0.5
}

impl Weights for Noise {
    fn matrix(&self, spec: &MatrixSpec<'_>) -> Result<Matrix> {
        let (rows, cols) = spec.shape;
        Ok(Matrix::pack_f32(Format::F32, rows, cols, |row, out| {
            out.iter_mut().enumerate().for_each(|(col, value)| *value = noise(spec.name, row * cols + col));
        }))
    }

    fn vector(&self, spec: &VectorSpec<'_>) -> Result<Vec<f32>> {
        Ok((0..spec.len()).map(|index| 1.0 + noise(spec.name, index)).collect())
    }
}

pub fn model(pages: usize) -> Box<dyn Model> {
    let settings = Settings { context_length: 128, pages, kv_type: KvType::F16 };
    build(&config(), settings, Cpu::new(2), &Noise).unwrap()
}

fn requests() -> Vec<Request> {
    let generated = (0..8).map(|seed| {
        let options = GenerateOptions { logprobs: Some(2), choices: 1 + seed as usize % 2, ..plain(40) };
        generate(&prompt(seed % 3, 20 + 9 * (seed / 3)), options)
    });
    let others = [Task::Embed, Task::Score { top: 1 }].map(|task| request(&prompt(1, 45), task));
    generated.chain(others).collect()
}

#[test]
fn together_is_as_alone_bit_for_bit() {
    let options = EngineOptions { max_sequences: 6, prefill_chunk: 24, ..EngineOptions::default() };
    let mut harness = Harness::with_model(model(12), options);
    let submitted: Vec<_> = requests().into_iter().map(|request| (harness.submit(request.clone()), request)).collect();
    harness.run();
    let stats = harness.engine.stats();
    assert!(stats.preemptions > 0 && stats.cached_tokens > 0, "{stats:?}");
    for (id, request) in submitted {
        let (together, alone) = (&harness.outcomes[&id], alone_on(model(64), &request));
        assert!(together.error.is_none(), "{:?}", together.error);
        assert_eq!(together.choices, alone.choices);
        assert_eq!((&together.embedding, &together.scores), (&alone.embedding, &alone.scores));
    }
}

/// With two tokens to choose from even a model made of noise repeats itself, so that there is something to draft.
#[test]
fn drafts_change_no_bit() {
    for draft in [None, Some(DraftModel::new(model(24), 101, 0.1))] {
        let by_model = draft.is_some();
        let models = Models { model: model(64), draft };
        let mut harness = Harness::with_models(models, EngineOptions { max_sequences: 4, ..EngineOptions::default() });
        let requests = (0..6).map(|seed| {
            let sampling = SamplingOptions {
                temperature: 0.0,
                logit_bias: vec![(1, 99.0), (2, 99.0)],
                ..SamplingOptions::default()
            };
            generate(&prompt(seed, 7 * seed + 3), GenerateOptions { logprobs: Some(2), sampling, ..plain(60) })
        });
        let submitted: Vec<_> = requests.map(|request| (harness.submit(request.clone()), request)).collect();
        harness.run();
        let stats = harness.engine.stats();
        assert!(stats.accepted_tokens > 60 && stats.accepted_tokens < stats.drafted_tokens, "{by_model}: {stats:?}");
        for (id, request) in submitted {
            assert_eq!(harness.outcomes[&id].choices, alone_on(model(64), &request).choices);
        }
    }
}
