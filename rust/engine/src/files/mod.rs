//! Readers of model files. Trusts nothing in them; knows nothing of arithmetic.
pub mod adapters;
mod checkpoint;
pub mod gguf;
pub mod hugging_face;
mod json;
mod limits;
mod mmap;
pub mod packed;
pub mod safetensors;

use std::{
    io::Read,
    path::{Path, PathBuf},
};

pub use checkpoint::{Checkpoint, GenerationDefaults, GgufTokenizer, TensorSource, TensorView, TokenizerSource};

use crate::{Error, Result};

/// Opens a model: a GGUF file, a safetensors file with its configuration beside it, or a folder that holds safetensors weights or
/// exactly one GGUF file.
pub fn open(path: &Path) -> Result<Checkpoint> {
    let metadata =
        std::fs::metadata(path).map_err(|error| Error::Io { path: path.to_owned(), reason: error.to_string() })?;
    if metadata.is_dir() {
        return open_folder(path);
    }
    if has_extension(path, "safetensors") {
        return hugging_face::open_file(path);
    }
    // By content, not by name: stores of other programs name files by their digest.
    match metadata.is_file() && starts_with(path, b"GGUF")? || has_extension(path, "gguf") {
        true => gguf::GgufFile::open(path)?.checkpoint(),
        false => Err(format_error(path, "expected a GGUF or safetensors file or a folder with one".into())),
    }
}

fn open_folder(folder: &Path) -> Result<Checkpoint> {
    if hugging_face::has_weights(folder) {
        return hugging_face::open_folder(folder);
    }
    match gguf_files(folder)?.as_slice() {
        [one] => gguf::GgufFile::open(one)?.checkpoint(),
        [] => {
            let wanted = "model.safetensors, model.safetensors.index.json or a .gguf file";
            Err(format_error(folder, format!("expected {wanted} in this folder, found none")))
        }
        several => {
            let names: Vec<_> = several.iter().filter_map(|path| path.file_name()?.to_str()).collect();
            Err(format_error(folder, format!("several GGUF files ({}); name the one to open", names.join(", "))))
        }
    }
}

fn gguf_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |error: std::io::Error| Error::Io { path: folder.to_owned(), reason: error.to_string() };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        found.extend(Some(entry.map_err(io)?.path()).filter(|path| has_extension(path, "gguf")));
    }
    found.sort();
    Ok(found)
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

fn starts_with(path: &Path, magic: &[u8; 4]) -> Result<bool> {
    let io = |error: std::io::Error| Error::Io { path: path.to_owned(), reason: error.to_string() };
    let mut start = Vec::new();
    std::fs::File::open(path).map_err(io)?.take(4).read_to_end(&mut start).map_err(io)?;
    Ok(start == magic)
}

fn format_error(path: &Path, reason: String) -> Error {
    Error::Format { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::{gguf::writer::Writer, *};

    #[test]
    fn a_gguf_file_is_known_by_content_and_found_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let digest = folder.path().join("sha256-0123");
        std::fs::write(&digest, Writer::model("llama").bytes()).unwrap();
        assert_eq!(open(&digest).unwrap().format, "gguf");
        std::fs::rename(&digest, folder.path().join("model.GGUF")).unwrap();
        assert_eq!(open(folder.path()).unwrap().path, folder.path().join("model.GGUF"));
    }

    #[test]
    fn folders_without_one_model_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| open(path).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message(folder.path()).contains("expected model.safetensors"));
        for name in ["a.gguf", "b.gguf"] {
            std::fs::write(folder.path().join(name), Writer::model("llama").bytes()).unwrap();
        }
        assert!(message(folder.path()).contains("a.gguf, b.gguf"));
        std::fs::write(folder.path().join("notes.txt"), "GGU").unwrap();
        assert!(message(&folder.path().join("notes.txt")).contains("expected a GGUF or safetensors file"));
        assert!(matches!(open(&folder.path().join("absent")), Err(Error::Io { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_not_a_model() {
        assert!(matches!(open(Path::new("/dev/zero")), Err(Error::Format { .. })));
    }
}
