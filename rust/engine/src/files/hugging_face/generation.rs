//! `generation_config.json`: stop tokens and sampling defaults. Knows no sampler.
use std::path::Path;

use serde_json::{Map, Value};

use crate::{
    Result,
    batch::TokenId,
    files::{
        GenerationDefaults,
        json::{self, Object, describe},
        limits,
    },
};

/// The folder's defaults; stop tokens come from `config.json` if the other file has none.
pub(super) fn read(folder: &Path, config_path: &Path, config: &[u8]) -> Result<GenerationDefaults> {
    let path = folder.join("generation_config.json");
    let mut defaults = match json::read_if_there(&path)? {
        Some(bytes) => generation_from_json(&path, &bytes)?,
        None => GenerationDefaults::default(),
    };
    if defaults.eos.is_empty() {
        let fields: Map<String, Value> = json::parse(config_path, config)?;
        defaults.eos = end_tokens(&Object { path: config_path, prefix: "", fields: &fields })?;
    }
    Ok(defaults)
}

/// Reads and checks `generation_config.json`; `path` only names the file in errors.
pub fn generation_from_json(path: &Path, bytes: &[u8]) -> Result<GenerationDefaults> {
    let fields: Map<String, Value> = json::parse(path, bytes)?;
    let object = Object { path, prefix: "", fields: &fields };
    let mut defaults = GenerationDefaults {
        eos: end_tokens(&object)?,
        temperature: object.float("temperature")?,
        top_k: object.integer("top_k")?,
        top_p: object.float("top_p")?,
        repetition_penalty: object.float("repetition_penalty")?,
    };
    limits::check_generation(path, &defaults)?;
    if object.flag("do_sample")? == Some(false) {
        // The model's authors ask for greedy decoding; transformers then ignores these three too.
        defaults = GenerationDefaults { temperature: Some(0.0), top_k: None, top_p: None, ..defaults };
    }
    Ok(defaults)
}

/// `eos_token_id`: one id or a list.
fn end_tokens(object: &Object) -> Result<Vec<TokenId>> {
    let Some(value) = object.get("eos_token_id") else { return Ok(Vec::new()) };
    let ids = match value {
        Value::Array(ids) => ids.as_slice(),
        one => std::slice::from_ref(one),
    };
    let id = |value: &Value| TokenId::try_from(value.as_u64()?).ok();
    ids.iter().map(id).collect::<Option<_>>().ok_or_else(|| {
        object.fault(format!("`eos_token_id`: expected a token id or a list of them, found {}", describe(value)))
    })
}
