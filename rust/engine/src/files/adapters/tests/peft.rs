//! PEFT: settings, names, shapes and numbers.
use std::path::Path;

use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use synapse_kernels::DType;

use super::*;
use crate::files::safetensors::SafetensorsFile;

#[derive(Clone)]
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// A PEFT adapter that can be bent.
#[derive(Clone)]
struct Peft {
    settings: Value,
    tensors: Vec<Tensor>,
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

impl Peft {
    /// Rank 2 on a query and a down projection.
    fn sound() -> Peft {
        let settings = json!({
            "peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "use_dora": false, "lora_dropout": 0.1,
            "base_model_name_or_path": "someone/base", "target_modules": ["q_proj", "down_proj"], "modules_to_save": null,
            "rank_pattern": {}, "alpha_pattern": {}, "init_lora_weights": true, "fan_in_fan_out": true,
        });
        let mut peft = Peft { settings, tensors: Vec::new() };
        for (module, out, width) in [(Q, 8, 8), (DOWN, 8, 12)] {
            peft.add(&format!("base_model.model.{module}.lora_A.weight"), &[2, width]);
            peft.add(&format!("base_model.model.{module}.lora_B.weight"), &[out, 2]);
        }
        peft
    }

    fn add(&mut self, name: &str, shape: &[usize]) {
        let data = f32_bytes(&counted(shape.iter().product()));
        self.tensors.push(Tensor { name: name.into(), dtype: Dtype::F32, shape: shape.into(), data });
    }

    fn tensor(&mut self, part: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|tensor| tensor.name.contains(part)).unwrap()
    }

    fn weights(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|tensor| {
            (tensor.name.as_str(), TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.data).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    fn read(&self) -> Result<AdapterSource> {
        read_bytes(self.settings.to_string().as_bytes(), self.weights())
    }

    fn set(mut self, key: &str, value: Value) -> Peft {
        self.settings[key] = value;
        self
    }
}

fn read_bytes(settings: &[u8], weights: Vec<u8>) -> Result<AdapterSource> {
    let path = Path::new("adapter_model.safetensors");
    let file = SafetensorsFile::from_bytes(path, weights)?;
    AdapterSource::from_peft(Path::new("adapter_config.json"), settings, path, file, &config(Family::Llama))
}

fn lied(lie: impl FnOnce(&mut Peft)) -> Result<AdapterSource> {
    let mut peft = Peft::sound();
    lie(&mut peft);
    peft.read()
}

fn with(key: &str, value: Value) -> Result<AdapterSource> {
    Peft::sound().set(key, value).read()
}

#[test]
fn a_sound_adapter_is_read() {
    let source = Peft::sound().read().unwrap();
    assert_eq!((source.format, source.base_model.as_deref()), ("peft", Some("someone/base")));
    assert!(source.invocation_tokens.is_empty());
    assert_eq!(source.parts().map(|(name, _)| name).collect::<Vec<_>>(), [Q, DOWN]);
    assert_eq!(rows(&source, DOWN, false)[1], counted(24)[12..]);
    assert_eq!(rows(&source, Q, true)[7], [14.0, 15.0]);
    assert_eq!(scale(&source, Q), 2.0);
}

#[test]
fn the_name_of_the_adapter_may_stand_in_the_names_of_its_tensors() {
    let named = |tensor: &mut Tensor, name: &str| {
        tensor.name = tensor.name.replace(".weight", &format!(".{name}.weight"));
    };
    let source = lied(|peft| peft.tensors.iter_mut().for_each(|tensor| named(tensor, "default"))).unwrap();
    assert_eq!(source.parts().count(), 2);
    damaged(lied(|peft| named(peft.tensor("q_proj.lora_B"), "other")), &["q_proj", "`other`", "no name"]);
    refused(lied(|peft| named(peft.tensor("q_proj.lora_B"), "a.b")), &["q_proj.lora_B.a.b", "no matrix"]);
    let twice = lied(|peft| {
        peft.add(&format!("base_model.model.{DOWN}.lora_B.default.weight"), &[8, 2]);
        peft.tensors.retain(|tensor| !tensor.name.contains("lora_A"));
    });
    damaged(twice, &["`default`", "no name"]);
}

#[test]
fn number_types_are_kept() {
    let values = [0.5f32, -1.25, 3.0, 1e-7];
    let mut peft = Peft::sound();
    let data: Vec<u8> = (0..16).flat_map(|index| f16::from_f32(values[index % 4]).to_le_bytes()).collect();
    let a = peft.tensor("q_proj.lora_A");
    (a.dtype, a.data) = (Dtype::F16, data);
    let data: Vec<u8> = (0..16).flat_map(|index| bf16::from_f32(values[index % 4]).to_le_bytes()).collect();
    let b = peft.tensor("q_proj.lora_B");
    (b.dtype, b.data) = (Dtype::BF16, data);
    let source = peft.read().unwrap();
    let (_, part) = source.parts().next().unwrap();
    assert_eq!((part.a.dtype(), part.b.dtype()), (DType::F16, DType::BF16));
    assert_eq!(rows(&source, Q, false)[0][..4], values.map(|value| f16::from_f32(value).to_f32()));
    assert_eq!(rows(&source, Q, true)[1], [3.0, bf16::from_f32(1e-7).to_f32()]);
}

#[test]
fn f8_is_read_but_not_with_scales() {
    let mut peft = Peft::sound();
    let a = peft.tensor("q_proj.lora_A");
    (a.dtype, a.data) = (Dtype::F8_E4M3, (0x78..0x7f).chain(0..9).collect());
    let source = peft.read().unwrap();
    assert_eq!(rows(&source, Q, false)[0][..3], [256.0, 288.0, 320.0]);
    assert_eq!(rows(&source, Q, false)[1], [1, 2, 3, 4, 5, 6, 7, 8].map(|steps| steps as f32 / 512.0));
    peft.tensor("q_proj.lora_A").data[3] = 0xff;
    damaged(peft.read(), &["q_proj.lora_A.weight", "not finite"]);
    let scales = format!("base_model.model.{Q}.lora_A.weight_scale");
    refused(lied(|peft| peft.add(&scales, &[1])), &[&scales, "a scale"]);
}

#[test]
fn factors_follow_rank_alpha_and_their_patterns() {
    let factor = |peft: &Peft, module| scale(&peft.read().unwrap(), module);
    let stabilised = Peft::sound().set("use_rslora", true.into());
    assert_eq!(factor(&stabilised, Q), (4.0 / 2f64.sqrt()) as f32);
    let alphas = Peft::sound().set("alpha_pattern", json!({ "layers.0.self_attn.q_proj": 1, ".*": 8.5 }));
    assert_eq!((factor(&alphas, Q), factor(&alphas, DOWN)), (0.5, 4.25));
    // The first pattern that fits counts, in the order of the file, and none fits in the middle of a name's part.
    let order =
        json!({ "proj": 100, "_proj": 100, "^mlp.down_proj": 100, r"mlp\.(up|down)_proj": 6, "down_proj": 100 });
    let ordered = Peft::sound().set("alpha_pattern", order);
    assert_eq!((factor(&ordered, Q), factor(&ordered, DOWN)), (2.0, 3.0));
    let mut ranks = Peft::sound().set("rank_pattern", json!({ "down_proj": 3 }));
    for (part, shape) in [("down_proj.lora_A", vec![3, 12]), ("down_proj.lora_B", vec![8, 3])] {
        let tensor = ranks.tensor(part);
        tensor.data = f32_bytes(&counted(shape.iter().product()));
        tensor.shape = shape;
    }
    assert_eq!((factor(&ranks, Q), factor(&ranks, DOWN)), (2.0, (4.0 / 3.0) as f32));
}

#[test]
fn tokens_that_invoke_it_are_kept_and_checked() {
    let source = with("alora_invocation_tokens", json!([7, 99])).unwrap();
    assert_eq!(source.invocation_tokens, [7, 99]);
    refused(with("alora_invocation_tokens", json!([7, 100])), &["token 100", "vocabulary of 100", "another base"]);
    damaged(with("alora_invocation_tokens", json!([])), &["alora_invocation_tokens", "found 0"]);
    damaged(with("alora_invocation_tokens", json!([-1])), &["alora_invocation_tokens", "a list of 1"]);
    damaged(with("alora_invocation_tokens", json!("7")), &["alora_invocation_tokens", "\"7\""]);
}

#[test]
fn settings_that_would_change_the_result_are_refused_by_name() {
    refused(with("use_dora", true.into()), &["`use_dora` is true", "synapse merge"]);
    refused(with("lora_bias", true.into()), &["`lora_bias`"]);
    refused(with("bias", "all".into()), &["`bias` is `all`"]);
    refused(with("modules_to_save", json!(["lm_head"])), &["`modules_to_save`", "synapse merge"]);
    refused(with("peft_type", "IA3".into()), &["`peft_type` is `IA3`"]);
    refused(with("peft_type", "PREFIX_TUNING".into()), &["PREFIX_TUNING"]);
    refused(with("layer_replication", json!([[0, 4]])), &["`layer_replication`"]);
    refused(with("init_lora_weights", "pissa".into()), &["\"pissa\"", "other weights", "save_pretrained"]);
    refused(with("an_invention_of_next_year", 1.into()), &["`an_invention_of_next_year` is 1"]);
    with("an_invention_of_next_year", json!({})).unwrap();
    with("init_lora_weights", "gaussian".into()).unwrap();
    with("target_modules", r".*\.(q|down)_proj".into()).unwrap();
    with("layers_to_transform", json!([0, 1])).unwrap();
}

#[test]
fn damaged_settings_name_the_field() {
    damaged(with("r", 0.into()), &["adapter_config.json", "`r`", "found 0"]);
    damaged(with("r", json!(2.5)), &["`r`", "2.5"]);
    damaged(with("r", Value::Null), &["`r` is missing"]);
    damaged(with("lora_alpha", "4".into()), &["`lora_alpha`", "\"4\""]);
    damaged(with("peft_type", Value::Null), &["`peft_type` is missing"]);
    damaged(with("rank_pattern", json!({ "q_proj": -1 })), &["`rank_pattern.q_proj`", "-1"]);
    damaged(with("alpha_pattern", json!({ "(": 1 })), &["`alpha_pattern`", "unclosed group"]);
    damaged(with("alpha_pattern", json!({ "(a{500}){500}{500}": 1 })), &["`alpha_pattern`", "size limit"]);
    let many: serde_json::Map<_, _> = (0..5000).map(|index| (format!("m{index}"), 1.into())).collect();
    damaged(with("rank_pattern", many.into()), &["`rank_pattern`", "found 5000"]);
    damaged(with("use_rslora", 1.into()), &["`use_rslora`", "true or false"]);
    damaged(read_bytes(b"[]", Peft::sound().weights()), &["adapter_config.json"]);
    damaged(read_bytes(b"{", Peft::sound().weights()), &["adapter_config.json"]);
}

#[test]
fn tensors_that_are_no_pair_of_a_linear_layer_are_refused() {
    let added = |name: &str| lied(|peft| peft.add(&format!("base_model.model.{name}"), &[2, 8]));
    refused(added("lm_head.lora_A.weight"), &["lm_head.lora_A", "LoRA on `lm_head`", "synapse merge"]);
    refused(added("lm_head.weight"), &["`lm_head`"]);
    refused(added("model.embed_tokens.lora_embedding_A"), &["LoRA on `embed_tokens`"]);
    refused(added("model.embed_tokens.weight"), &["`embed_tokens`"]);
    refused(added("model.layers.0.self_attn.q_proj.lora_magnitude_vector"), &["DoRA"]);
    refused(added("model.layers.0.self_attn.q_proj.lora_B.bias"), &["a bias"]);
    refused(added("score.modules_to_save.weight"), &["modules_to_save"]);
    refused(added("elsewhere"), &["`base_model.model.elsewhere` is no matrix"]);
    refused(lied(|peft| peft.add("unet.q.lora_A.weight", &[2, 8])), &["`unet.q.lora_A.weight` is no matrix"]);
}

#[test]
fn pairs_must_be_whole_and_of_one_rank() {
    damaged(lied(|peft| drop(peft.tensors.remove(0))), &["q_proj.lora_B.weight", "no A"]);
    damaged(lied(|peft| drop(peft.tensors.remove(3))), &["down_proj.lora_A.weight", "no B"]);
    damaged(lied(|peft| peft.tensors.clear()), &["no matrices"]);
    damaged(lied(|peft| peft.tensor("q_proj.lora_A").shape = vec![4, 4]), &[Q, "A has rank 4", "B has rank 2"]);
    damaged(lied(|peft| peft.tensor("q_proj.lora_A").shape = vec![16]), &[Q, "two matrices", "[16]"]);
    damaged(with("r", 3.into()), &[Q, "settings say rank 3", "have rank 2"]);
    damaged(with("rank_pattern", json!({ "down_proj": 4 })), &[DOWN, "settings say rank 4"]);
}

#[test]
fn numbers_must_be_finite() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        damaged(
            lied(|peft| peft.tensor("down_proj.lora_B").data[60..].copy_from_slice(&bad.to_le_bytes())),
            &["down_proj.lora_B.weight", "not finite"],
        );
        let halves = [(Dtype::F16, f16::from_f32(bad).to_le_bytes()), (Dtype::BF16, bf16::from_f32(bad).to_le_bytes())];
        for (dtype, bytes) in halves {
            let lie = |peft: &mut Peft| {
                let tensor = peft.tensor("q_proj.lora_A");
                (tensor.dtype, tensor.data) = (dtype, [vec![0; 30], bytes.to_vec()].concat());
            };
            damaged(lied(lie), &["q_proj.lora_A.weight", "not finite"]);
        }
    }
    // The largest numbers are no infinities.
    let largest = lied(|peft| {
        let a = peft.tensor("q_proj.lora_A");
        (a.dtype, a.data) = (Dtype::F16, f16::MAX.to_le_bytes().repeat(16));
        let b = peft.tensor("q_proj.lora_B");
        (b.dtype, b.data) = (Dtype::BF16, bf16::MIN.to_le_bytes().repeat(16));
        peft.tensor("down_proj.lora_B").data = f32::MAX.to_le_bytes().repeat(16);
    });
    largest.unwrap();
    damaged(with("lora_alpha", json!(1e300)), &["factor", "inf"]);
}

#[test]
fn absurd_sizes_are_refused() {
    let wide = lied(|peft| {
        let a = peft.tensor("q_proj.lora_A");
        (a.shape, a.data) = (vec![2, (1 << 20) + 1], vec![0; 8 * ((1 << 20) + 1)]);
    });
    damaged(wide, &[Q, "width", "1048577"]);
    let mut deep = Peft::sound().set("r", 10_000.into());
    for (part, shape) in [("q_proj.lora_A", vec![10_000, 8]), ("q_proj.lora_B", vec![8, 10_000])] {
        let tensor = deep.tensor(part);
        (tensor.shape, tensor.data) = (shape, vec![0; 320_000]);
    }
    deep.tensors.truncate(2);
    damaged(deep.read(), &[Q, "rank", "10000"]);
}

proptest! {
    #[test]
    fn bytes_changed_anywhere_never_panic(at in any::<prop::sample::Index>(), byte: u8, in_settings: bool) {
        let peft = Peft::sound();
        let (mut settings, mut weights) = (peft.settings.to_string().into_bytes(), peft.weights());
        let changed = if in_settings { &mut settings } else { &mut weights };
        let at = at.index(changed.len());
        changed[at] = byte;
        if let Ok(source) = read_bytes(&settings, weights) {
            for (module, _) in source.parts() {
                prop_assert!(rows(&source, module, true).iter().flatten().all(|value| value.is_finite()));
            }
        }
    }
}
