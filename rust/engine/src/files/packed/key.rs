//! What a packed file was made from, and where it lies.
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use sha2::{Digest, Sha256};

use super::super::Checkpoint;
use crate::{Error, Result};

/// Bytes read at each end of a file.
const END: u64 = 1 << 20;
/// Between a source's name and the name of its packed file; readers of models skip files that have it.
const INFIX: &str = ".synapse-";

/// Identifies the source and the way it is packed.
#[derive(Debug, Clone)]
pub struct Key {
    source: PathBuf,
    quant: &'static str,
    digest: String,
}

impl Key {
    /// Reads size, time of change and both ends of the model's files. Reading all of a 15 GB model would take longer than
    /// loading it, and whatever rewrites a model changes its size, its time or its header; `synapse verify` reads all of it.
    pub fn of(checkpoint: &Checkpoint, quant: &'static str) -> Result<Self> {
        let source = &checkpoint.path;
        let mut hash = Sha256::new();
        // The configuration decides which tensors are packed.
        hash.update(format!("{quant} {} {:?}", checkpoint.interleaved_rope, checkpoint.config));
        for path in files(source)? {
            add(&mut hash, &path).map_err(|error| Error::Io { path, reason: error.to_string() })?;
        }
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { source: source.to_owned(), quant, digest })
    }

    /// A key that was not computed.
    #[cfg(test)]
    pub fn for_test(source: &Path, digest: &str) -> Self {
        Self { source: source.to_owned(), quant: "q4", digest: digest.to_owned() }
    }

    /// Hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where the packed file may be, best first: beside the model, then in `cache`.
    pub fn places(&self, cache: Option<PathBuf>) -> Vec<PathBuf> {
        let suffix = format!("{INFIX}{}.safetensors", self.quant);
        let beside = match self.source.is_dir() {
            true => self.source.join(format!("model{suffix}")),
            false => with_suffix(&self.source, &suffix),
        };
        let cached = cache.map(|folder| folder.join(format!("{}{suffix}", &self.digest[..32])));
        std::iter::once(beside).chain(cached).collect()
    }
}

/// The user's cache folder for packed files.
pub fn cache_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(caches.join("synapse").join("packed"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The files that hold a model's weights: itself, or those in its folder.
fn files(source: &Path) -> Result<Vec<PathBuf>> {
    if !source.is_dir() {
        return Ok(vec![source.to_owned()]);
    }
    let io = |error: std::io::Error| Error::Io { path: source.to_owned(), reason: error.to_string() };
    let mut paths = Vec::new();
    for entry in fs::read_dir(source).map_err(io)? {
        paths.extend(Some(entry.map_err(io)?.path()).filter(|path| holds_weights(path)));
    }
    paths.sort();
    Ok(paths)
}

fn holds_weights(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".safetensors") && !name.contains(INFIX)
}

fn add(hash: &mut Sha256, path: &Path) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
    hash.update(metadata.len().to_le_bytes());
    hash.update(changed.as_nanos().to_le_bytes());
    let mut ends = Vec::new();
    file.by_ref().take(END).read_to_end(&mut ends)?;
    file.seek(SeekFrom::Start(metadata.len().saturating_sub(END)))?;
    file.take(END).read_to_end(&mut ends)?;
    hash.update(&ends);
    Ok(())
}
