//! Finds a model's chat template. Knows no template language.
use std::path::Path;

use serde_json::{Map, Value};

use crate::{
    Error, Result,
    files::json::{self, Object, describe},
};

/// `chat_template.jinja`, else `chat_template` of `tokenizer_config.json`: a text, or a list of named ones of which `default` counts.
pub(super) fn read(folder: &Path) -> Result<Option<String>> {
    let path = folder.join("chat_template.jinja");
    if let Some(bytes) = json::read_if_there(&path)? {
        let text = String::from_utf8(bytes)
            .map_err(|error| Error::Format { path, reason: format!("the template is not UTF-8: {error}") })?;
        return Ok(Some(text));
    }
    let path = folder.join("tokenizer_config.json");
    match json::read_if_there(&path)? {
        Some(bytes) => from_tokenizer_config(&path, &bytes),
        None => Ok(None),
    }
}

pub(super) fn from_tokenizer_config(path: &Path, bytes: &[u8]) -> Result<Option<String>> {
    let fields: Map<String, Value> = json::parse(path, bytes)?;
    let object = Object { path, prefix: "", fields: &fields };
    match object.get("chat_template") {
        None => Ok(None),
        Some(Value::String(template)) => Ok(Some(template.clone())),
        Some(Value::Array(named)) => Ok(default_of(named)),
        Some(other) => {
            let found = describe(other);
            Err(object.fault(format!("`chat_template`: expected a text or a list of named templates, found {found}")))
        }
    }
}

fn default_of(named: &[Value]) -> Option<String> {
    let default = named.iter().find(|entry| entry["name"] == "default")?;
    default["template"].as_str().map(str::to_owned)
}
