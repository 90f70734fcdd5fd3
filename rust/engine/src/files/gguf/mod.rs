//! GGUF files: header, metadata, tensors by GGUF's own names, and the step to a [`Checkpoint`]. Knows no arithmetic.
mod config;
mod cursor;
mod header;
mod metadata;
mod names;
mod rows;
mod tensors;
mod tokenizer;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) mod writer;

use std::path::{Path, PathBuf};

pub use cursor::{ArraySpan, Value, ValueKind};
pub use header::TensorInfo;
pub(super) use names::hugging_face;
pub(crate) use rows::interleaved;

use super::{
    Checkpoint, GenerationDefaults, TensorView, TokenizerSource, limits,
    mmap::{self, Bytes},
};
use crate::{Result, architectures::Family};

/// An open GGUF file, its header checked. Holds any GGUF file, also of models that this engine does not run.
pub struct GgufFile {
    path: PathBuf,
    bytes: Bytes,
    header: header::Header,
}

impl GgufFile {
    /// Maps a file and reads its header.
    pub fn open(path: &Path) -> Result<GgufFile> {
        GgufFile::new(path, mmap::map(path)?)
    }

    /// Reads a file that is in memory; `path` only names it in errors.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<GgufFile> {
        GgufFile::new(path, Bytes::Owned(bytes))
    }

    fn new(path: &Path, bytes: Bytes) -> Result<GgufFile> {
        let header = header::parse(path, &bytes)?;
        Ok(GgufFile { path: path.to_owned(), bytes, header })
    }

    /// Version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// Keys and values in the order of the file.
    pub fn metadata(&self) -> &[(String, Value)] {
        &self.header.metadata
    }

    /// The tensor table in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.header.tensors
    }

    /// A tensor by its GGUF name (`blk.0.attn_q.weight`).
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.header.names.get(name).map(|&index| self.view(index))
    }

    fn view(&self, index: usize) -> TensorView<'_> {
        let tensor = &self.header.tensors[index];
        let data = &self.bytes[tensor.start..tensor.start + tensor.bytes];
        TensorView { dtype: tensor.dtype, shape: &tensor.shape, data }
    }

    /// The model in the file, if it is of a family that this engine runs.
    pub fn checkpoint(self) -> Result<Checkpoint> {
        let config = config::read(&self)?;
        let tokenizer = tokenizer::read(&self, config.vocab_size)?;
        let generation = GenerationDefaults {
            eos: tokenizer::end_tokens(&self, tokenizer.tokens.len())?,
            temperature: self.float("general.sampling.temp")?,
            top_k: self.integer("general.sampling.top_k")?,
            top_p: self.float("general.sampling.top_p")?,
            repetition_penalty: self.float("general.sampling.penalty_repeat")?,
        };
        limits::check_generation(&self.path, &generation)?;
        Ok(Checkpoint {
            path: self.path.clone(),
            format: "gguf",
            interleaved_rope: config.family == Family::Llama,
            chat_template: self.text("tokenizer.chat_template")?.map(str::to_owned),
            tokenizer: TokenizerSource::Gguf(tokenizer),
            generation,
            tensors: Box::new(tensors::GgufTensors::new(self, config.layers)?),
            config,
        })
    }
}
