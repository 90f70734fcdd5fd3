//! A Hugging Face model folder: configuration, sampling defaults, chat template beside the weights. Knows no tensor's content.
mod config;
mod generation;
mod rope;
mod scales;
mod symbio;
mod template;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use config::config_from_json;
pub use generation::generation_from_json;

use super::{
    Checkpoint, TensorSource, TokenizerSource, json,
    safetensors::{INDEX, SINGLE, SafetensorsFile, Shards},
};
use crate::{Error, Result};

/// Whether a folder has safetensors weights of the usual names.
pub(super) fn has_weights(folder: &Path) -> bool {
    folder.join(INDEX).is_file() || folder.join(SINGLE).is_file()
}

/// Opens the weights of a folder, whole or in shards.
pub(super) fn open_folder(folder: &Path) -> Result<Checkpoint> {
    // A whole file wins, as in transformers: an index beside it is a leftover.
    let single = folder.join(SINGLE);
    let tensors: Box<dyn TensorSource> = match single.is_file() {
        true => Box::new(SafetensorsFile::open(&single)?),
        false => Box::new(Shards::open(folder)?),
    };
    checkpoint(folder, folder, tensors)
}

/// Opens one safetensors file with the configuration beside it.
pub(super) fn open_file(path: &Path) -> Result<Checkpoint> {
    let folder = path.parent().unwrap_or(Path::new(""));
    checkpoint(path, folder, Box::new(SafetensorsFile::open(path)?))
}

fn checkpoint(path: &Path, folder: &Path, tensors: Box<dyn TensorSource>) -> Result<Checkpoint> {
    let config_path = folder.join("config.json");
    let config_bytes = required(&config_path)?;
    let config = config_from_json(&config_path, &config_bytes)?;
    scales::refuse(&*tensors)?;
    let tokenizer = folder.join("tokenizer.json");
    if !tokenizer.is_file() {
        return Err(missing(&tokenizer));
    }
    Ok(Checkpoint {
        path: path.to_owned(),
        format: "safetensors",
        generation: generation::read(folder, &config_path, &config_bytes)?,
        config,
        tensors,
        tokenizer: TokenizerSource::HuggingFace(tokenizer),
        chat_template: template::read(folder)?,
        interleaved_rope: false,
    })
}

fn required(path: &Path) -> Result<Vec<u8>> {
    json::read_if_there(path)?.ok_or_else(|| missing(path))
}

fn missing(path: &Path) -> Error {
    Error::Io {
        path: path.to_owned(),
        reason: "missing: a safetensors model needs this file beside its weights".into(),
    }
}
