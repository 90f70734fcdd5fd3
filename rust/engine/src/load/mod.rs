//! From a path to a model that is ready to run: opens the files, packs the weights or maps the packed file, sizes the KV
//! memory. Knows neither how files are laid out nor how a model computes.
mod adapter;
mod draft;
mod gather;
mod memory;
mod pack;
mod quant;
mod settings;
mod source;
mod tally;
#[cfg(test)]
mod tests;

pub use adapter::load_adapter;
pub use draft::load_draft;
pub use memory::total_memory;
pub use quant::Quant;

use std::path::{Path, PathBuf};

use crate::{
    Result,
    architectures::{self, ModelConfig},
    backends::{Cpu, KvType},
    batch::Model,
    files::{self, Checkpoint, GenerationDefaults, TokenizerSource},
};
use source::Source;
use tally::Tally;

/// What the user decides.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Number format of the weights.
    pub quant: Quant,
    /// Threads that compute; by default all that the system gives.
    pub threads: Option<usize>,
    /// Longest sequence, in tokens; by default what the model was trained for, as far as memory allows.
    pub context_length: Option<usize>,
    /// Number format of keys and values.
    pub kv_type: KvType,
    /// Tokens whose keys and values fit in memory; by default four contexts, as far as memory allows.
    pub kv_tokens: Option<usize>,
    /// Keep a packed file for the next start.
    pub packed_file: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            quant: Quant::Auto,
            threads: None,
            context_length: None,
            kv_type: KvType::F16,
            kv_tokens: None,
            packed_file: true,
        }
    }
}

/// A model and what came with it.
pub struct Loaded {
    /// Ready to run.
    pub model: Box<dyn Model>,
    /// What was loaded.
    pub info: ModelInfo,
    /// Where the tokenizer is.
    pub tokenizer: TokenizerSource,
    /// Jinja chat template, if the model brings one.
    pub chat_template: Option<String>,
    /// Sampling defaults and stop tokens.
    pub generation: GenerationDefaults,
}

/// What was loaded, for people to read.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// The file or folder.
    pub path: PathBuf,
    /// `"gguf"` or `"safetensors"`.
    pub format: &'static str,
    /// Shape.
    pub config: ModelConfig,
    /// What was asked for.
    pub quant: Quant,
    /// Weights in the model; a tied head counts once.
    pub parameters: u64,
    /// Bytes they take in memory, scales and padding included.
    pub weight_bytes: u64,
    /// `8 * weight_bytes / parameters`.
    pub bits_per_weight: f64,
    /// The kernel set chosen for this processor.
    pub kernels: &'static str,
    /// Threads that compute.
    pub threads: usize,
    /// The most positions a sequence may have.
    pub context_length: usize,
    /// Number format of keys and values.
    pub kv_type: KvType,
    /// Tokens whose keys and values fit in memory.
    pub kv_tokens: usize,
    /// Bytes they take when all are in use.
    pub kv_bytes: u64,
    /// The packed file that the weights are mapped from.
    pub packed_file: Option<PathBuf>,
    /// What the user should know: a packed file that was rewritten, a context that was shortened.
    pub notices: Vec<String>,
}

/// Loads a GGUF file, or a file or folder of safetensors.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Loaded> {
    load_checkpoint(files::open(path)?, options)
}

pub(crate) fn load_checkpoint(checkpoint: Checkpoint, options: &LoadOptions) -> Result<Loaded> {
    let mut notices = Vec::new();
    let config = checkpoint.config.clone();
    let settings = settings::choose(&config, options, total_memory(), &mut notices)?;
    let source = match options.packed_file {
        true => Source::open(&checkpoint, options.quant, files::packed::cache_folder(), &mut notices)?,
        false => Source::without_packed_file(&checkpoint, options.quant),
    };
    let tally = Tally::new(source.weights());
    let backend = Cpu::chosen(options.threads.unwrap_or_else(default_threads))?;
    let (kernels, threads) = (backend.kernels(), backend.threads());
    let model = architectures::build(&config, settings, backend, &tally)?;
    let info = ModelInfo {
        path: checkpoint.path.clone(),
        format: checkpoint.format,
        quant: options.quant,
        parameters: tally.parameters(),
        weight_bytes: tally.bytes(),
        bits_per_weight: 8.0 * tally.bytes() as f64 / tally.parameters() as f64,
        kernels,
        threads,
        context_length: settings.context_length,
        kv_type: settings.kv_type,
        kv_tokens: settings::tokens(settings),
        kv_bytes: settings::bytes(&config, settings),
        packed_file: source.packed_file(),
        notices,
        config,
    };
    drop(source);
    let Checkpoint { tokenizer, chat_template, generation, .. } = checkpoint;
    Ok(Loaded { model, info, tokenizer, chat_template, generation })
}

/// As many as the system gives.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |threads| threads.get())
}
