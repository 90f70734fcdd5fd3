//! PEFT's tensors by name. What is no matrix of a linear layer would change the result if it were left out, so it is refused.
use std::path::Path;

use super::{
    AdapterSource, MERGE,
    parts::{self, Half, Halves, Part, Parts},
    refused,
    settings::Settings,
};
use crate::{
    Result,
    architectures::ModelConfig,
    files::{TensorSource, format_error, safetensors::SafetensorsFile},
};

const PREFIX: &str = "base_model.model.";

pub(super) fn read(
    config_path: &Path,
    settings: &[u8],
    weights_path: &Path,
    weights: SafetensorsFile,
    config: &ModelConfig,
) -> Result<AdapterSource> {
    let settings = Settings::read(config_path, settings, config)?;
    let parts: Parts = halves(weights_path, &weights.names())?
        .pairs(weights_path)?
        .into_iter()
        .map(|(module, a, b)| (module.clone(), Part { a, b, scale: settings.scale(&module), head_dim: None }))
        .collect();
    parts::check(weights_path, &weights, &parts, |module| Some(settings.rank(module)))?;
    Ok(AdapterSource {
        path: weights_path.to_owned(),
        format: "peft",
        invocation_tokens: settings.invocation_tokens,
        base_model: settings.base_model,
        tensors: Box::new(weights),
        parts,
    })
}

fn halves(path: &Path, names: &[&str]) -> Result<Halves> {
    let mut halves = Halves::default();
    let mut adapter = None;
    for name in names {
        let found = split(name).ok_or_else(|| refused(path, foreign(name), MERGE))?;
        refuse_table(path, name, found.module)?;
        // One file, one adapter: others would be mixed up.
        let first = *adapter.get_or_insert(found.adapter);
        if first != found.adapter {
            let label = |adapter: Option<&str>| adapter.map_or("no name".to_owned(), |name| format!("`{name}`"));
            let (first, other) = (label(first), label(found.adapter));
            return Err(format_error(path, format!("tensor `{name}`: adapters of {first} and of {other} in one file")));
        }
        halves.add(found.module, found.half, name);
    }
    Ok(halves)
}

/// What a tensor's name says.
struct Name<'a> {
    module: &'a str,
    half: Half,
    /// Some versions leave the adapter's name in.
    adapter: Option<&'a str>,
}

/// `base_model.model.MODULE.lora_A.weight`, or `.lora_A.ADAPTER.weight`.
fn split(name: &str) -> Option<Name<'_>> {
    let rest = name.strip_prefix(PREFIX)?;
    let (module, half, tail) =
        [(".lora_A.", Half::A), (".lora_B.", Half::B)].into_iter().find_map(|(mark, half)| {
            let (module, tail) = rest.rsplit_once(mark)?;
            Some((module, half, tail))
        })?;
    let adapter = match tail {
        "weight" => None,
        named => Some(named.strip_suffix(".weight").filter(|adapter| !adapter.is_empty() && !adapter.contains('.'))?),
    };
    Some(Name { module, half, adapter })
}

/// The tables of tokens are looked up or used twice; neither can be done per request.
fn refuse_table(path: &Path, tensor: &str, module: &str) -> Result<()> {
    let last = module.rsplit('.').next().unwrap_or(module);
    match ["lm_head", "embed_tokens"].contains(&last) {
        true => Err(refused(path, format!("tensor `{tensor}`: LoRA on `{last}` cannot be used"), MERGE)),
        false => Ok(()),
    }
}

/// What a tensor probably is that is no matrix of a linear layer.
fn foreign(name: &str) -> String {
    const KINDS: [(&str, &str); 7] = [
        ("lora_embedding_", "LoRA on `embed_tokens`"),
        ("lora_magnitude_vector", "DoRA"),
        ("lm_head", "a copy of `lm_head` or LoRA on it"),
        ("embed_tokens", "a copy of `embed_tokens` or LoRA on it"),
        ("bias", "a bias"),
        ("scale", "a scale of quantized weights"),
        (".weight", "a whole layer (modules_to_save)"),
    ];
    // Named like a matrix but not quite, it is none of those.
    let known = name.starts_with(PREFIX) && !(name.contains(".lora_") && name.ends_with(".weight"));
    match KINDS.iter().find(|(mark, _)| known && name.contains(mark)) {
        Some((_, kind)) => format!("tensor `{name}`: {kind} cannot be used"),
        None => format!("tensor `{name}` is no matrix A and no matrix B of LoRA"),
    }
}
