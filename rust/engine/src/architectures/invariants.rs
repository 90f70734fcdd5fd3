//! What a model must keep bit for bit, in every number format: a row's result depends on its own sequence and on nothing else.
use synapse_kernels::Format;

use super::{ModelConfig, testing::*};
use crate::{
    backends::KvType,
    batch::{Batch, Model, PAGE_TOKENS, Want},
};

const LEN: usize = 2 * PAGE_TOKENS + 7;
const PAGES: [u32; 3] = [9, 2, 5];

/// Makes a fresh model on that many threads.
type Make = Box<dyn Fn(usize) -> Box<dyn Model>>;

/// Every format, each with a KV format; odd sizes where the format allows them.
fn models() -> impl Iterator<Item = (String, ModelConfig, Make)> {
    let kv_types = [KvType::F16, KvType::Q8, KvType::F32];
    let transformers = Format::ALL.into_iter().zip(kv_types.into_iter().cycle()).map(|(format, kv_type)| {
        let config = match format {
            Format::Ggml(_) => ModelConfig { head_dim: 128, heads: 4, ..qwen2_config() },
            _ => config(),
        };
        let shape = config.clone();
        let make: Make = Box::new(move |threads| model(&shape, format, kv_type, threads));
        (format!("{format} with {kv_type:?} keys"), config, make)
    });
    transformers.chain(symbio_models())
}

/// Organelles in both layouts, in the formats that their checkpoints are packed to.
fn symbio_models() -> impl Iterator<Item = (String, ModelConfig, Make)> {
    use synapse_kernels::MonarchLayout::{Julia, Torch};
    let kinds = [(Format::F32, Torch), (Format::F16, Julia), (Format::Q8, Torch), (Format::Q4, Julia)];
    kinds.into_iter().map(|(format, layout)| {
        let config = symbio_with(|organelles| organelles.monarch_layout = layout);
        let shape = config.clone();
        let make: Make = Box::new(move |threads| model(&shape, format, KvType::F16, threads));
        (format!("{layout:?} organelles in {format}"), config, make)
    })
}

fn whole(model: &mut dyn Model, text: &[u32]) -> Vec<f32> {
    let logits = run(model, segment(text, 0..text.len(), &PAGES, Want::AllLogits));
    assert!(logits.iter().all(|logit| logit.is_finite()));
    assert!(logits.iter().any(|&logit| logit != logits[0]));
    logits
}

fn in_chunks(model: &mut dyn Model, text: &[u32], ends: &[usize]) -> Vec<f32> {
    let starts = [0].iter().chain(ends);
    let chunks = starts.zip(ends).map(|(&start, &end)| run(model, segment(text, start..end, &PAGES, Want::AllLogits)));
    chunks.collect::<Vec<_>>().concat()
}

#[test]
fn chunked_prefill_is_whole_prefill_is_token_by_token() {
    for (name, config, make) in models() {
        let text = text(1, LEN, config.vocab_size);
        let expected = whole(&mut *make(1), &text);
        let token_by_token: Vec<usize> = (1..=LEN).collect();
        for ends in [&[1, 15, 20, 33, LEN][..], &[16, 32, LEN], &token_by_token] {
            assert!(in_chunks(&mut *make(1), &text, ends) == expected, "{name}: {ends:?}");
        }
    }
}

#[test]
fn batched_is_alone_on_any_number_of_threads() {
    for (name, config, make) in models() {
        let texts = [text(1, LEN, config.vocab_size), text(2, 5, config.vocab_size), text(3, 18, config.vocab_size)];
        let pages = [PAGES, [30, 31, 32], [41, 40, 42]];
        let mut together = make(3);
        // The third sequence decodes its last token while the others prefill.
        let prefix = texts[2].len() - 1;
        run(&mut *together, segment(&texts[2], 0..prefix, &pages[2], Want::Nothing));
        let last = |index: usize, start: usize| {
            segment(&texts[index], start..texts[index].len(), &pages[index], Want::LastLogits)
        };
        let outputs = together.forward(&Batch { segments: vec![last(0, 0), last(1, 0), last(2, prefix)] }).unwrap();
        for (index, (text, output)) in texts.iter().zip(outputs).enumerate() {
            let alone = whole(&mut *make(1), text);
            assert!(output.logits == alone[alone.len() - config.vocab_size..], "{name}: sequence {index}");
        }
    }
}

#[test]
fn a_cached_prefix_is_a_fresh_one() {
    for (name, config, make) in models() {
        let first = text(1, LEN, config.vocab_size);
        let second = [&first[..2 * PAGE_TOKENS], &text(2, 9, config.vocab_size)].concat();
        let expected = whole(&mut *make(1), &second);
        let mut model = make(1);
        whole(&mut *model, &first);
        // The first two pages are shared, the third is the second sequence's own.
        let pages = [PAGES[0], PAGES[1], 60];
        let rest = run(&mut *model, segment(&second, 2 * PAGE_TOKENS..second.len(), &pages, Want::AllLogits));
        assert!(rest == expected[expected.len() - rest.len()..], "{name}");
    }
}

#[test]
fn a_page_forgets_its_last_sequence() {
    for (name, config, make) in models() {
        let expected = whole(&mut *make(1), &text(1, 5, config.vocab_size));
        let mut model = make(1);
        whole(&mut *model, &text(2, LEN, config.vocab_size));
        assert!(whole(&mut *model, &text(1, 5, config.vocab_size)) == expected, "{name}");
    }
}

#[test]
fn only_what_is_wanted_comes_back() {
    let config = config();
    let mut model = model(&config, Format::F32, KvType::F32, 1);
    let text = text(1, 70, config.vocab_size);
    let pages: Vec<u32> = (0..5).collect();
    let expected = run(&mut *model, segment(&text, 0..70, &pages, Want::AllLogits));
    assert_eq!(expected.len(), 70 * config.vocab_size);
    let wants = [Want::Nothing, Want::LastLogits, Want::Hidden, Want::AllLogits];
    let segments = wants.iter().zip(1u32..).map(|(&want, place)| {
        let pages: Vec<u32> = (5 * place..5 * place + 5).collect();
        segment(&text, 0..70, &pages, want)
    });
    let outputs = model.forward(&Batch { segments: segments.collect() }).unwrap();
    assert!(outputs[0].logits.is_empty() && outputs[0].hidden.is_empty());
    assert!(outputs[1].logits == expected[69 * config.vocab_size..] && outputs[1].hidden.is_empty());
    assert!(outputs[2].logits.is_empty());
    assert_eq!(outputs[2].hidden.len(), 70 * config.hidden_size);
    assert!(outputs[3].logits == expected && outputs[3].hidden.is_empty());
}
