//! GGUF adapters, as llama.cpp's converter writes them: `blk.0.attn_q.weight.lora_a` and `.lora_b`. Their rows of q and k are
//! permuted for interleaved RoPE if the model is of family Llama, and the file does not say for how many heads: the model does.
use std::path::Path;

use super::{
    AdapterSource, MERGE, format_error,
    parts::{self, Half, Halves, Part, Parts},
    refused,
    settings::check_invocation,
};
use crate::{
    Error, Result,
    architectures::{Family, ModelConfig},
    files::{
        TensorSource, TensorView,
        gguf::{GgufFile, hugging_face},
    },
};

const ANOTHER_BASE: &str = "it was made for another base; load it beside that one";
const INVOCATION: &str = "adapter.alora.invocation_tokens";

pub(super) fn read(path: &Path, file: GgufFile, config: &ModelConfig) -> Result<AdapterSource> {
    check_kind(path, &file)?;
    check_architecture(path, &file, config.family)?;
    // Llama.cpp takes an absent alpha and one of 0 for "no factor".
    let alpha = file.float("adapter.lora.alpha")?.filter(|&alpha| alpha != 0.0);
    let tokens = file.unsigned(INVOCATION)?;
    let invocation_tokens =
        tokens.map(|tokens| check_invocation(path, INVOCATION, &tokens, config.vocab_size)).transpose()?;
    let base_model = file.text("general.base_model.0.name")?.map(str::to_owned);
    let tensors = AdapterTensors(file);
    let mut parts = Parts::new();
    for (module, a, b) in halves(path, &tensors.names(), config.layers)?.pairs(path)? {
        let head_dim = head_dim(path, &module, rows(&tensors, &b), config)?;
        let scale = alpha.map_or(1.0, |alpha| alpha / columns(&tensors, &b) as f32);
        parts.insert(module, Part { a, b, scale, head_dim });
    }
    parts::check(path, &tensors, &parts, |_| None)?;
    Ok(AdapterSource {
        path: path.to_owned(),
        format: "gguf",
        invocation_tokens: invocation_tokens.unwrap_or_default(),
        base_model,
        tensors: Box::new(tensors),
        parts,
    })
}

/// Tensors under GGUF's names.
struct AdapterTensors(GgufFile);

impl TensorSource for AdapterTensors {
    fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.0.tensor(name)
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.0.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

fn check_kind(path: &Path, file: &GgufFile) -> Result<()> {
    match file.text("general.type")? {
        Some("adapter") => {}
        found => {
            let found = found.unwrap_or("model");
            return Err(format_error(path, format!("`general.type`: expected `adapter`, found `{found}`")));
        }
    }
    match file.required("adapter.type", file.text("adapter.type")?)? {
        "lora" => Ok(()),
        other => Err(refused(path, format!("`adapter.type` is `{other}`; only `lora` can be used"), MERGE)),
    }
}

fn check_architecture(path: &Path, file: &GgufFile, family: Family) -> Result<()> {
    let found = file.required("general.architecture", file.text("general.architecture")?)?;
    let wanted = match family {
        Family::Llama => Some("llama"),
        Family::Qwen2 => Some("qwen2"),
        Family::Symbio => None,
    };
    match wanted == Some(found) {
        true => Ok(()),
        false => {
            let reason = format!("`general.architecture` is `{found}`, the model is of family {family:?}");
            Err(refused(path, reason, ANOTHER_BASE))
        }
    }
}

fn halves(path: &Path, names: &[&str], layers: usize) -> Result<Halves> {
    let mut halves = Halves::default();
    for name in names {
        let marked = [(".lora_a", Half::A), (".lora_b", Half::B)]
            .into_iter()
            .find_map(|(mark, half)| Some((name.strip_suffix(mark)?, half)));
        let (tensor, half) = marked
            .ok_or_else(|| refused(path, format!("tensor `{name}` is no matrix A and no matrix B of LoRA"), MERGE))?;
        let module = module(tensor, layers).ok_or_else(|| {
            let reason = format!("tensor `{name}`: `{tensor}` is no linear layer of a model with {layers} layers");
            refused(path, format!("{reason} that adapters can add to"), MERGE)
        })?;
        halves.add(&module, half, name);
    }
    Ok(halves)
}

/// The Hugging Face name of a linear layer in the decoder.
fn module(tensor: &str, layers: usize) -> Option<String> {
    hugging_face(tensor, layers)?.strip_suffix("_proj.weight").map(|start| format!("{start}_proj"))
}

fn rows(tensors: &AdapterTensors, name: &str) -> usize {
    tensors.tensor(name).and_then(|view| view.shape.first().copied()).unwrap_or(0)
}

fn columns(tensors: &AdapterTensors, name: &str) -> usize {
    tensors.tensor(name).and_then(|view| view.shape.last().copied()).unwrap_or(0)
}

/// Of a module whose rows are interleaved.
fn head_dim(path: &Path, module: &str, rows: usize, config: &ModelConfig) -> Result<Option<usize>> {
    let heads = match module.rsplit('.').next() {
        Some("q_proj") => config.heads,
        Some("k_proj") => config.kv_heads,
        _ => return Ok(None),
    };
    match (config.family, heads * config.head_dim == rows) {
        (Family::Llama, true) => Ok(Some(config.head_dim)),
        (Family::Llama, false) => Err(Error::Adapter {
            path: path.to_owned(),
            reason: format!("`{module}`: expected {heads} heads of {} rows, found {rows} rows", config.head_dim),
            hint: ANOTHER_BASE,
        }),
        _ => Ok(None),
    }
}
