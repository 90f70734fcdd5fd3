//! GGUF adapters: metadata, names, and the order of rows.
use std::path::Path;

use proptest::prelude::*;
use synapse_kernels::DType;

use super::*;
use crate::files::gguf::{
    GgufFile,
    writer::{Writer, array_value, f32_value, text_value, u32_value},
};

/// Rank 2 on a query, a key and a down projection.
fn sound(architecture: &str) -> Writer {
    let mut writer = Writer::empty();
    writer.set("general.type", text_value("adapter"));
    writer.set("general.architecture", text_value(architecture));
    writer.set("general.base_model.0.name", text_value("Base"));
    writer.set("adapter.type", text_value("lora"));
    writer.set("adapter.lora.alpha", f32_value(6.0));
    for (part, out, width) in [("blk.0.attn_q", 8, 8), ("blk.1.attn_k", 4, 8), ("blk.1.ffn_down", 8, 12)] {
        add(&mut writer, &format!("{part}.weight.lora_a"), &[width, 2]);
        add(&mut writer, &format!("{part}.weight.lora_b"), &[2, out]);
    }
    writer
}

fn add(writer: &mut Writer, name: &str, dimensions: &[u64]) {
    writer.add(name, dimensions, DType::F32);
    let values = counted(dimensions.iter().product::<u64>() as usize);
    writer.tensor(name).data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
}

fn read_bytes(bytes: Vec<u8>, family: Family) -> Result<AdapterSource> {
    let path = Path::new("adapter.gguf");
    AdapterSource::from_gguf(path, GgufFile::from_bytes(path, bytes)?, &config(family))
}

fn lied(lie: impl FnOnce(&mut Writer)) -> Result<AdapterSource> {
    let mut writer = sound("llama");
    lie(&mut writer);
    read_bytes(writer.bytes(), Family::Llama)
}

#[test]
fn a_sound_adapter_is_read() {
    let source = read_bytes(sound("qwen2").bytes(), Family::Qwen2).unwrap();
    assert_eq!((source.format, source.base_model.as_deref()), ("gguf", Some("Base")));
    let modules: Vec<_> = source.parts().map(|(module, part)| (module, part.a.shape(), part.b.shape())).collect();
    let k = "model.layers.1.self_attn.k_proj";
    assert_eq!(modules, [(Q, (2, 8), (8, 2)), (DOWN, (2, 12), (8, 2)), (k, (2, 8), (4, 2))]);
    assert_eq!(scale(&source, Q), 3.0);
    assert_eq!(rows(&source, DOWN, false)[1], counted(24)[12..]);
    assert_eq!(rows(&source, Q, true).concat(), counted(16), "only Llama's rows are permuted");
}

#[test]
fn rows_of_q_and_k_of_a_llama_come_in_hugging_face_order() {
    let source = lied(|_| ()).unwrap();
    let first = |module| rows(&source, module, true).iter().map(|row| row[0] as usize / 2).collect::<Vec<_>>();
    // Of a head's 4 rows the file has 0, 2, 1, 3.
    assert_eq!(first(Q), [0, 2, 1, 3, 4, 6, 5, 7]);
    assert_eq!(first("model.layers.1.self_attn.k_proj"), [0, 2, 1, 3]);
    assert_eq!(first(DOWN), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(rows(&source, Q, false).concat(), counted(16), "A has no rows to permute");
}

#[test]
fn without_alpha_there_is_no_factor() {
    assert_eq!(scale(&lied(|w| w.remove("adapter.lora.alpha")).unwrap(), Q), 1.0);
    assert_eq!(scale(&lied(|w| w.set("adapter.lora.alpha", f32_value(0.0))).unwrap(), Q), 1.0);
    damaged(lied(|w| w.set("adapter.lora.alpha", f32_value(f32::NAN))), &["factor", "NaN"]);
    damaged(lied(|w| w.set("adapter.lora.alpha", text_value("6"))), &["adapter.lora.alpha", "float"]);
}

#[test]
fn quantized_matrices_are_read_as_f32() {
    let source = lied(|w| {
        w.tensors.clear();
        w.add("blk.0.attn_output.weight.lora_a", &[32, 2], DType::Q8_0);
        w.add("blk.0.attn_output.weight.lora_b", &[2, 8], DType::BF16);
    })
    .unwrap();
    let (module, part) = source.parts().next().unwrap();
    assert_eq!((module, part.a.dtype(), part.b.dtype()), ("model.layers.0.self_attn.o_proj", DType::Q8_0, DType::BF16));
    // A Q8_0 block of 0x3c: the f16 0x3c3c (1.05859375) times 60.
    assert_eq!(rows(&source, module, false), vec![vec![1.058_593_8 * 60.0; 32]; 2]);
    let infinite = lied(|w| {
        w.tensors.clear();
        w.add("blk.0.attn_output.weight.lora_a", &[32, 2], DType::Q8_0);
        w.add("blk.0.attn_output.weight.lora_b", &[2, 8], DType::BF16);
        w.tensor("blk.0.attn_output.weight.lora_a").data[34..36].copy_from_slice(&[0, 0x7c]);
    });
    damaged(infinite, &["attn_output.weight.lora_a", "not finite"]);
}

#[test]
fn tokens_that_invoke_it_are_kept_and_checked() {
    let tokens = |kind: u32, tokens: &[u32]| {
        let elements: Vec<_> = tokens.iter().map(|token| token.to_le_bytes().to_vec()).collect();
        lied(|w| w.set("adapter.alora.invocation_tokens", array_value(kind, &elements)))
    };
    assert_eq!(tokens(4, &[3, 99]).unwrap().invocation_tokens, [3, 99]);
    assert_eq!(tokens(5, &[3]).unwrap().invocation_tokens, [3]);
    refused(tokens(4, &[u32::MAX]), &["4294967295", "vocabulary"]);
    damaged(tokens(5, &[u32::MAX]), &["invocation_tokens", "found -1"]);
    damaged(tokens(4, &[]), &["invocation_tokens", "found 0"]);
}

#[test]
fn what_is_no_adapter_for_this_model_is_refused() {
    damaged(read_bytes(Writer::model("llama").bytes(), Family::Llama), &["general.type", "found `model`"]);
    damaged(lied(|w| w.remove("adapter.type")), &["adapter.type", "missing"]);
    refused(lied(|w| w.set("adapter.type", text_value("control_vector"))), &["`control_vector`"]);
    damaged(lied(|w| w.set("adapter.type", u32_value(1))), &["adapter.type", "a text"]);
    damaged(lied(|w| w.remove("general.architecture")), &["general.architecture", "missing"]);
    refused(lied(|w| w.set("general.architecture", text_value("qwen2"))), &["`qwen2`", "Llama", "another base"]);
    refused(read_bytes(sound("symbio").bytes(), Family::Symbio), &["`symbio`", "Symbio"]);
}

#[test]
fn tensors_that_are_no_pair_of_a_linear_layer_are_refused() {
    let added = |name: &str| lied(|w| add(w, name, &[8, 2]));
    refused(added("token_embd.weight.lora_a"), &["`token_embd.weight`", "synapse merge"]);
    refused(added("output.weight.lora_b"), &["`output.weight`"]);
    refused(added("blk.0.attn_norm.weight.lora_a"), &["attn_norm"]);
    refused(added("blk.0.attn_q.bias.lora_a"), &["attn_q.bias"]);
    refused(added("blk.2.attn_q.weight.lora_a"), &["blk.2", "2 layers"]);
    refused(added("blk.0.attn_norm.weight"), &["`blk.0.attn_norm.weight` is no matrix"]);
    damaged(added("blk.0.ffn_up.weight.lora_a"), &["blk.0.ffn_up.weight.lora_a", "no B"]);
    damaged(lied(|w| w.tensors.clear()), &["no matrices"]);
    damaged(lied(|w| w.tensors.truncate(3)), &["blk.1.attn_k.weight.lora_a", "no B"]);
}

#[test]
fn shapes_must_fit_each_other_and_the_heads() {
    let shaped = |name: &'static str, dimensions: &'static [u64]| {
        lied(|w| {
            w.tensors.retain(|tensor| tensor.name != name.as_bytes());
            add(w, name, dimensions);
        })
    };
    damaged(shaped("blk.1.ffn_down.weight.lora_a", &[12, 3]), &[DOWN, "A has rank 3", "B has rank 2"]);
    damaged(shaped("blk.1.ffn_down.weight.lora_a", &[12]), &[DOWN, "two matrices", "[12]"]);
    refused(shaped("blk.0.attn_q.weight.lora_b", &[2, 7]), &[Q, "2 heads of 4 rows", "found 7"]);
    refused(shaped("blk.0.attn_q.weight.lora_b", &[2]), &[Q, "found 2 rows"]);
}

proptest! {
    #[test]
    fn bytes_changed_anywhere_never_panic(at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = sound("llama").bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(source) = read_bytes(bytes, Family::Llama) {
            for (module, _) in source.parts() {
                prop_assert!(rows(&source, module, true).iter().flatten().all(|value| value.is_finite()));
            }
        }
    }
}
