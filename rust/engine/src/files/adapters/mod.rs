//! LoRA adapters on disk: PEFT's folders and llama.cpp's GGUF files as named pairs of low-rank matrices. Trusts nothing; of the
//! base model it knows the configuration, never a weight: whether a module is in the model, the engine sees.
mod gguf;
mod matrix;
mod parts;
mod peft;
mod settings;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use matrix::AdapterMatrix;

use self::parts::Parts;
use super::{
    TensorSource, format_error, gguf::GgufFile, has_extension, json, safetensors::SafetensorsFile, starts_with,
};
use crate::{Error, Result, architectures::ModelConfig, batch::TokenId};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// What `peft` wrote before safetensors: a pickle, which can run code when it is read.
const PICKLE: &str = "adapter_model.bin";
const MERGE: &str = "merge it into its base (`synapse merge`, or merge_and_unload of peft) and serve the result";

/// One low-rank addition to a linear layer: `y += scale * b (a x)` (LoRA, Hu et al. 2021).
#[derive(Debug, Clone, Copy)]
pub struct LowRank<'a> {
    /// `(rank, in_features)`.
    pub a: AdapterMatrix<'a>,
    /// `(out_features, rank)`, rows in Hugging Face's order whatever the file has.
    pub b: AdapterMatrix<'a>,
    /// `alpha / rank`, or `alpha / sqrt(rank)` (rsLoRA, Kalajdzievski 2023).
    pub scale: f32,
}

/// An adapter on disk, read and checked: matrices come in pairs of one rank, and every number of them is finite.
pub struct AdapterSource {
    /// The file or folder it came from.
    pub path: PathBuf,
    /// `"peft"` or `"gguf"`.
    pub format: &'static str,
    /// Tokens from whose last occurrence in a prompt it counts (aLoRA, Greenewald et al. 2025); if empty it always counts.
    pub invocation_tokens: Vec<TokenId>,
    /// The base model, as the adapter's maker called it.
    pub base_model: Option<String>,
    tensors: Box<dyn TensorSource>,
    parts: Parts,
}

impl AdapterSource {
    /// What it adds, by the modules' Hugging Face names (`model.layers.0.self_attn.q_proj`), sorted.
    pub fn parts(&self) -> impl Iterator<Item = (&str, LowRank<'_>)> {
        self.parts.iter().filter_map(|(module, part)| Some((module.as_str(), part.view(self.tensors.as_ref())?)))
    }

    /// An adapter of PEFT from its settings and its weights; `config_path` only names the settings in errors.
    pub fn from_peft(
        config_path: &Path,
        settings: &[u8],
        weights_path: &Path,
        weights: SafetensorsFile,
        config: &ModelConfig,
    ) -> Result<AdapterSource> {
        peft::read(config_path, settings, weights_path, weights, config)
    }

    /// An adapter in an open GGUF file; `path` only names it in errors.
    pub fn from_gguf(path: &Path, file: GgufFile, config: &ModelConfig) -> Result<AdapterSource> {
        gguf::read(path, file, config)
    }
}

/// Opens an adapter for a model of this configuration: a PEFT folder, the safetensors file in it, or a GGUF file.
pub fn read_adapter(path: &Path, config: &ModelConfig) -> Result<AdapterSource> {
    let metadata =
        std::fs::metadata(path).map_err(|error| Error::Io { path: path.to_owned(), reason: error.to_string() })?;
    let source = if metadata.is_dir() {
        read_folder(path, &path.join(WEIGHTS), config)?
    } else if has_extension(path, "safetensors") {
        read_folder(path.parent().unwrap_or(Path::new("")), path, config)?
    } else if metadata.is_file() && starts_with(path, b"GGUF")? {
        // By content, as stores of other programs name files by their digest.
        AdapterSource::from_gguf(path, GgufFile::open(path)?, config)?
    } else {
        return Err(format_error(path, "expected the folder of a PEFT adapter or a GGUF adapter".into()));
    };
    Ok(AdapterSource { path: path.to_owned(), ..source })
}

fn read_folder(folder: &Path, weights: &Path, config: &ModelConfig) -> Result<AdapterSource> {
    let config_path = folder.join(CONFIG);
    let settings = json::read_if_there(&config_path)?.ok_or_else(|| {
        let reason = "missing: a PEFT adapter needs this file beside its weights".into();
        Error::Io { path: config_path.clone(), reason }
    })?;
    if !weights.exists() && folder.join(PICKLE).exists() {
        let reason = "pickled weights are not read, as they can run code".into();
        return Err(refused(&folder.join(PICKLE), reason, "save it again with safe_serialization=True"));
    }
    AdapterSource::from_peft(&config_path, &settings, weights, SafetensorsFile::open(weights)?, config)
}

/// A sound adapter that cannot be used as it is.
fn refused(path: &Path, reason: String, hint: &'static str) -> Error {
    Error::Adapter { path: path.to_owned(), reason, hint }
}
