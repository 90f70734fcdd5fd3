//! The bytes of a model file, mapped into memory. Knows no format; the only `unsafe` of the readers.
use std::{fs::File, ops::Deref, path::Path};

use crate::{Error, Result};

/// A whole file: mapped, or in memory (tests, fuzzing).
pub(super) enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// Maps a regular file. Anything else (a pipe would block for ever) is refused.
pub(super) fn map(path: &Path) -> Result<Bytes> {
    let io = |error: std::io::Error| Error::Io { path: path.to_owned(), reason: error.to_string() };
    let metadata = std::fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(Error::Io { path: path.to_owned(), reason: "not a regular file".into() });
    }
    if metadata.len() == 0 {
        return Err(Error::Format { path: path.to_owned(), reason: "the file is empty".into() });
    }
    let file = File::open(path).map_err(io)?;
    // SAFETY: the map is read-only and private to this process. The bytes may only change if another program writes into the
    // file in place; our own tools replace model files by renaming. Every value read is plain bytes, valid whatever they are.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
    Ok(Bytes::Mapped(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_with_content_are_mapped() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(map(&folder.path().join("absent")), Err(Error::Io { .. })));
        assert!(matches!(map(folder.path()), Err(Error::Io { .. })));
        let path = folder.path().join("file");
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(map(&path), Err(Error::Format { .. })));
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(&map(&path).unwrap()[..], b"abc");
    }
}
