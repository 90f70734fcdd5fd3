//! safetensors files, single and sharded, as named tensors. Knows no configuration.
//!
//! The header is read here and not by the `safetensors` crate, whose errors do not name the tensor and which lets the last of two
//! equal names win.
mod header;
mod shards;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use header::TensorInfo;
pub(super) use shards::{INDEX, SINGLE, Shards};

use super::{
    TensorSource, TensorView,
    mmap::{self, Bytes},
};
use crate::Result;

/// One open safetensors file, its header checked.
pub struct SafetensorsFile {
    bytes: Bytes,
    /// Sorted by name.
    tensors: Vec<TensorInfo>,
}

impl SafetensorsFile {
    /// Maps a file and reads its header.
    pub fn open(path: &Path) -> Result<SafetensorsFile> {
        SafetensorsFile::new(path, mmap::map(path)?)
    }

    /// Reads a file that is in memory; `path` only names it in errors.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<SafetensorsFile> {
        SafetensorsFile::new(path, Bytes::Owned(bytes))
    }

    fn new(path: &Path, bytes: Bytes) -> Result<SafetensorsFile> {
        let tensors = header::parse(path, &bytes)?;
        Ok(SafetensorsFile { bytes, tensors })
    }

    /// The tensor table, sorted by name.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }
}

impl TensorSource for SafetensorsFile {
    fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        let index = self.tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()?;
        let tensor = &self.tensors[index];
        Some(TensorView { dtype: tensor.dtype, shape: &tensor.shape, data: &self.bytes[tensor.bytes.clone()] })
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str()).collect()
    }
}
