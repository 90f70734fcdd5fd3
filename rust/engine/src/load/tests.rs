//! From files in a folder to logits, with and without a packed file.
use std::{fs, path::Path, time::SystemTime};

use half::f16;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;
use synapse_kernels::{DType, dequantize};
use tempfile::TempDir;

use super::*;
use crate::{
    Error,
    architectures::testing::{self, segment, tensors, text},
    batch::{Batch, Want},
};

/// A model folder as Hugging Face lays it out.
pub fn folder(change: impl Fn(&mut testing::Tensors)) -> TempDir {
    folder_in(Dtype::F32, |value| value.to_le_bytes().to_vec(), change)
}

/// The same in another number format; `bytes` are those of a value.
fn folder_in(dtype: Dtype, bytes: impl Fn(f32) -> Vec<u8>, change: impl Fn(&mut testing::Tensors)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = testing::config();
    let mut tensors = tensors(&config);
    change(&mut tensors);
    let data = |values: Vec<f32>| values.into_iter().flat_map(&bytes).collect::<Vec<_>>();
    let tensors: Vec<_> = tensors.into_iter().map(|(name, (shape, values))| (name, shape, data(values))).collect();
    let views = tensors.iter().map(|(name, shape, data)| (name, TensorView::new(dtype, shape.clone(), data).unwrap()));
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    let json = json!({
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": 1e-5,
        "rope_theta": config.rope_theta,
        "max_position_embeddings": config.context_length,
        "hidden_act": "silu",
    });
    fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
    fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    folder
}

fn options(quant: Quant, packed_file: bool) -> LoadOptions {
    LoadOptions { quant, packed_file, threads: Some(1), ..Default::default() }
}

fn logits(loaded: &mut Loaded) -> Vec<f32> {
    let text = text(5, 20, loaded.model.vocab_size());
    let segments = vec![segment(&text, 0..20, &[3, 1], Want::AllLogits)];
    loaded.model.forward(&Batch { segments }).unwrap().remove(0).logits
}

fn packed_path(folder: &TempDir, quant: Quant) -> PathBuf {
    folder.path().join(format!("model.synapse-{}.safetensors", quant.name()))
}

fn changed_at(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn the_packed_file_is_made_once_and_gives_the_same_logits() {
    for quant in Quant::ALL {
        let folder = folder(|_| ());
        let mut plain = load(folder.path(), &options(quant, false)).unwrap();
        assert_eq!(plain.info.packed_file, None);
        assert!(!packed_path(&folder, quant).exists());
        let mut first = load(folder.path(), &options(quant, true)).unwrap();
        assert_eq!(first.info.packed_file, Some(packed_path(&folder, quant)));
        let made = changed_at(&packed_path(&folder, quant));
        let mut second = load(folder.path(), &options(quant, true)).unwrap();
        assert_eq!(changed_at(&packed_path(&folder, quant)), made);
        assert_eq!((first.info.notices.len(), second.info.notices.len()), (0, 0));
        let expected = logits(&mut plain);
        assert!(logits(&mut first) == expected && logits(&mut second) == expected, "{quant:?}");
        assert_eq!(plain.info.weight_bytes, second.info.weight_bytes);
    }
}

#[test]
fn quantized_logits_stay_near_the_exact_ones() {
    let folder = folder(|_| ());
    let exact = logits(&mut load(folder.path(), &options(Quant::None, false)).unwrap());
    let size = exact.iter().map(|logit| logit * logit).sum::<f32>().sqrt();
    // Roundings of a group's range by 2^-11, 1/254 and 1/30, over two layers.
    for (quant, least, most) in [(Quant::F16, 1e-6, 2e-3), (Quant::Q8, 1e-4, 0.05), (Quant::Q4, 5e-3, 0.35)] {
        let found = logits(&mut load(folder.path(), &options(quant, false)).unwrap());
        let distance = exact.iter().zip(&found).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt() / size;
        assert!((least..most).contains(&distance), "{quant:?}: {distance}");
    }
}

#[test]
fn a_damaged_packed_file_is_made_anew_with_a_notice() {
    let folder = folder(|_| ());
    let mut first = load(folder.path(), &options(Quant::Q8, true)).unwrap();
    let expected = logits(&mut first);
    let path = packed_path(&folder, Quant::Q8);
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() - 100] ^= 1;
    for bad in [&good[..good.len() / 2], &flipped, b"", b"\xff\xff\xff\xff\xff\xff\xff\xff"] {
        // Replaced, not overwritten: `first` still maps the old file.
        fs::remove_file(&path).unwrap();
        fs::write(&path, bad).unwrap();
        let mut again = load(folder.path(), &options(Quant::Q8, true)).unwrap();
        assert!(again.info.notices[0].contains("made anew"), "{:?}", again.info.notices);
        assert!(logits(&mut again) == expected);
        assert!(fs::read(&path).unwrap() == good);
    }
}

#[test]
fn a_changed_model_is_packed_again() {
    let folder = folder(|_| ());
    let mut before = load(folder.path(), &options(Quant::Q8, true)).unwrap();
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 40;
    bytes[at..].fill(0);
    fs::write(&path, bytes).unwrap();
    let mut after = load(folder.path(), &options(Quant::Q8, true)).unwrap();
    assert!(after.info.notices[0].contains("has changed"));
    assert!(logits(&mut after) != logits(&mut before));
}

#[test]
fn a_configuration_that_wants_other_tensors_is_packed_again() {
    let folder = folder(|_| ());
    load(folder.path(), &options(Quant::Q8, true)).unwrap();
    let path = folder.path().join("config.json");
    let tied = fs::read_to_string(&path).unwrap().replacen('{', "{\"tie_word_embeddings\": true, ", 1);
    fs::write(&path, tied).unwrap();
    let loaded = load(folder.path(), &options(Quant::Q8, true)).unwrap();
    assert!(loaded.info.config.tied_head);
    assert!(loaded.info.notices[0].contains("has changed"));
}

#[test]
fn where_nothing_can_be_written_the_cache_serves_and_then_memory() {
    let folder = folder(|_| ());
    let checkpoint = files::open(folder.path()).unwrap();
    // A folder with something in it cannot be replaced by a file, whoever tries.
    fs::create_dir_all(packed_path(&folder, Quant::Q8).join("in the way")).unwrap();
    let cache = folder.path().join("cache").join("packed");
    let mut notices = Vec::new();
    let source = Source::open(&checkpoint, Quant::Q8, Some(cache.clone()), &mut notices).unwrap();
    assert!(source.packed_file().unwrap().starts_with(&cache));
    let again = Source::open(&checkpoint, Quant::Q8, Some(cache), &mut notices).unwrap();
    assert_eq!(again.packed_file(), source.packed_file());

    let mut notices = Vec::new();
    let source = Source::open(&checkpoint, Quant::Q8, None, &mut notices).unwrap();
    assert_eq!(source.packed_file(), None);
    assert!(notices.iter().any(|notice| notice.contains("no packed file could be written")), "{notices:?}");
}

#[test]
fn a_missing_or_misshapen_tensor_is_named() {
    let name = "model.layers.1.self_attn.k_proj.weight";
    for packed_file in [false, true] {
        let fault = |folder: TempDir| match load(folder.path(), &options(Quant::Auto, packed_file)) {
            Err(Error::Model(reason)) => reason,
            other => panic!("{:?}", other.err()),
        };
        let missing = fault(folder(|tensors| drop(tensors.remove(name))));
        assert_eq!(missing, format!("tensor `{name}`: expected (10, 52), found no such tensor"));
        let misshapen = fault(folder(|tensors| tensors.get_mut(name).unwrap().0 = vec![52, 10]));
        assert_eq!(misshapen, format!("tensor `{name}`: expected (10, 52), found (52, 10)"));
    }
}

#[test]
fn values_that_a_format_cannot_hold_are_refused() {
    let name = "model.layers.0.mlp.up_proj.weight";
    let load = |value: f32, quant| {
        let folder = folder(|tensors| tensors.get_mut(name).unwrap().1[7] = value);
        load(folder.path(), &options(quant, false)).err().map(|error| error.to_string())
    };
    assert!(load(70_000.0, Quant::F16).unwrap().contains(name));
    assert_eq!(load(65_000.0, Quant::F16), None);
    assert!(load(f32::NAN, Quant::Q8).unwrap().contains("not finite"));
    assert!(load(f32::INFINITY, Quant::None).unwrap().contains("not finite"));
}

fn f8_value(code: u8) -> f32 {
    let mut value = [0.0];
    dequantize(DType::F8_E4M3, &[code], &mut value);
    value[0]
}

/// Rounded towards zero: the codes of one sign are in the order of their values.
fn f8_code(value: f32) -> u8 {
    let code = (0..0x7f).rev().find(|&code| f8_value(code) <= value.abs()).unwrap();
    if value < 0.0 { code | 0x80 } else { code }
}

#[test]
fn f8_weights_compute_what_the_same_values_in_f16_do() {
    let narrow = folder_in(Dtype::F8_E4M3, |value| vec![f8_code(value)], |_| ());
    let half = |value| f16::from_f32(f8_value(f8_code(value))).to_le_bytes().to_vec();
    let wide = folder_in(Dtype::F16, half, |_| ());
    for quant in Quant::ALL {
        let mut found = load(narrow.path(), &options(quant, true)).unwrap();
        let mut wanted = load(wide.path(), &options(quant, true)).unwrap();
        assert_eq!(found.info.weight_bytes, wanted.info.weight_bytes, "{quant:?}");
        assert!(logits(&mut found) == logits(&mut wanted), "{quant:?}");
    }
}

#[test]
fn f8_codes_that_are_no_number_are_refused() {
    let name = "model.layers.0.mlp.up_proj.weight";
    let spoil = |tensors: &mut testing::Tensors| tensors.get_mut(name).unwrap().1[7] = f32::NAN;
    let folder = folder_in(Dtype::F8_E4M3, |value| vec![if value.is_nan() { 0x7f } else { f8_code(value) }], spoil);
    for quant in Quant::ALL {
        let Err(Error::Model(reason)) = load(folder.path(), &options(quant, false)) else { panic!("{quant:?}") };
        assert!(reason.contains(name) && reason.contains("not finite"), "{reason}");
    }
}

#[test]
fn what_was_loaded_is_told() {
    let folder = folder(|_| ());
    let info = load(folder.path(), &options(Quant::None, false)).unwrap().info;
    let counted: usize = tensors(&testing::config()).values().map(|(_, values)| values.len()).sum();
    assert_eq!(info.parameters, counted as u64);
    assert!((32.0..40.0).contains(&info.bits_per_weight), "{}", info.bits_per_weight);
    assert_eq!((info.format, info.threads, info.context_length), ("safetensors", 1, 200));
    assert_eq!(info.kv_tokens, 800);
}
