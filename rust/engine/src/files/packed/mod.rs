//! The packed file: weights as the kernels want them, written once and mapped into memory on every later start. It is a
//! safetensors file (Hugging Face) that no one but this module reads; it can be deleted at any time. Trusts nothing in it.
//!
//! Matrices are `U8` tensors padded to 64 bytes, then come the vectors as `F32`. `__metadata__` says what it was made from
//! and, for each tensor, its format, shape and checksum.
mod checksum;
mod key;
#[cfg(test)]
mod tests;
mod write;

pub use key::{Key, cache_folder};
pub use write::write;

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::prelude::*;
use safetensors::SafeTensors;
use synapse_kernels::{Bytes, Format, Matrix};

use super::mmap;
use crate::{
    Error, Result,
    architectures::{MatrixSpec, VectorSpec, Weights},
};

/// Changes whenever the bytes of any packed format change.
const LAYOUT: &str = "2";
const LAYOUT_KEY: &str = "synapse.layout";
const SOURCE_KEY: &str = "synapse.source";
const ALIGNMENT: usize = 64;

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

/// A packed file, checked and mapped.
pub struct PackedFile {
    path: PathBuf,
    map: Arc<mmap::Bytes>,
    tensors: HashMap<String, Entry>,
}

/// What `__metadata__` says of one tensor, and where its bytes are in the file.
struct Entry {
    record: Record,
    bytes: Range<usize>,
}

/// `FORMAT ROWS COLS CHECKSUM`.
#[derive(Debug, PartialEq)]
struct Record {
    kind: Kind,
    rows: usize,
    cols: usize,
    checksum: u64,
}

/// What a tensor is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Matrix(Format),
    /// One row of `f32`.
    Vector,
}

const VECTOR: &str = "vector";

impl Record {
    /// Bytes of the tensor, without padding; `None` if the shape is absurd.
    fn bytes(&self) -> Option<usize> {
        match self.kind {
            Kind::Vector => (self.rows == 1).then_some(self.cols.checked_mul(size_of::<f32>())?),
            Kind::Matrix(format) => Matrix::packed_bytes(format, self.rows, self.cols),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let record = Self {
            kind: match words.next()? {
                VECTOR => Kind::Vector,
                format => Kind::Matrix(Format::from_name(format)?),
            },
            rows: words.next()?.parse().ok()?,
            cols: words.next()?.parse().ok()?,
            checksum: u64::from_str_radix(words.next()?, 16).ok()?,
        };
        words.next().is_none().then_some(record)
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, rows, cols, checksum } = self;
        let kind = match kind {
            Kind::Vector => VECTOR,
            Kind::Matrix(format) => format.name(),
        };
        write!(f, "{kind} {rows} {cols} {checksum:016x}")
    }
}

impl PackedFile {
    /// Maps a packed file and checks every byte of it. `Ok(None)` if there is none; [`Error::Format`] if it was made from
    /// something else than `key` or is damaged.
    pub fn open(path: &Path, key: &Key) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let map = mmap::map(path)?;
        let tensors = read(&map, key).map_err(|reason| Error::Format { path: path.to_owned(), reason })?;
        Ok(Some(Self { path: path.to_owned(), map: Arc::new(map), tensors }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn fault(&self, name: &str, reason: impl std::fmt::Display) -> Error {
        Error::Format { path: self.path.clone(), reason: format!("tensor `{name}`: {reason}") }
    }

    fn entry(&self, name: &str, shape: (usize, usize)) -> Result<&Entry> {
        let entry = self.tensors.get(name).ok_or_else(|| self.fault(name, "missing"))?;
        let found = (entry.record.rows, entry.record.cols);
        match found == shape {
            true => Ok(entry),
            false => Err(self.fault(name, format_args!("expected {shape:?}, found {found:?}"))),
        }
    }
}

/// Checks the whole file; says what is wrong with it.
fn read(map: &[u8], key: &Key) -> std::result::Result<HashMap<String, Entry>, String> {
    let (header, metadata) = SafeTensors::read_metadata(map).map_err(|error| error.to_string())?;
    let data = header + size_of::<u64>();
    if map.len() - data != metadata.data_len() {
        return Err(format!("expected {} bytes of tensors, found {}", metadata.data_len(), map.len() - data));
    }
    let records = metadata.metadata().as_ref().ok_or("it has no metadata")?;
    if records.get(LAYOUT_KEY).is_none_or(|layout| layout != LAYOUT) {
        return Err("it has the layout of another version".into());
    }
    if records.get(SOURCE_KEY).is_none_or(|source| source != key.digest()) {
        return Err("the model it was made from has changed".into());
    }
    let names = metadata.offset_keys();
    let entries = names.into_par_iter().map(|name| {
        let record = records.get(&name).and_then(|text| Record::parse(text));
        let record = record.ok_or_else(|| format!("tensor `{name}` has no valid record"))?;
        let (start, end) = metadata.info(&name).map(|info| info.data_offsets).unwrap_or_default();
        let bytes = data + start..data + end;
        check(&record, &map[bytes.clone()]).map_err(|reason| format!("tensor `{name}`: {reason}"))?;
        Ok((name, Entry { record, bytes }))
    });
    entries.collect()
}

fn check(record: &Record, bytes: &[u8]) -> std::result::Result<(), String> {
    let expected = match (record.kind, record.bytes()) {
        (Kind::Vector, Some(len)) => len,
        (Kind::Matrix(_), Some(len)) => padded(len),
        (_, None) => return Err(format!("the shape ({}, {}) is absurd", record.rows, record.cols)),
    };
    if bytes.len() != expected {
        return Err(format!("expected {expected} bytes, found {}", bytes.len()));
    }
    match record.checksum == checksum::of(bytes) {
        true => Ok(()),
        false => Err("the checksum does not match".into()),
    }
}

/// Lets matrices keep the map alive.
impl AsRef<[u8]> for mmap::Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Weights for PackedFile {
    fn matrix(&self, spec: &MatrixSpec<'_>) -> Result<Matrix> {
        let Entry { record, bytes } = self.entry(spec.name, spec.shape)?;
        let Kind::Matrix(format) = record.kind else {
            return Err(self.fault(spec.name, "expected a matrix, found a vector"));
        };
        let range = bytes.start..bytes.start + record.bytes().unwrap_or_default();
        let bytes = Bytes::from_owner(self.map.clone(), range).ok_or_else(|| self.fault(spec.name, "truncated"))?;
        Matrix::from_packed(format, record.rows, record.cols, bytes).map_err(|reason| self.fault(spec.name, reason))
    }

    fn vector(&self, spec: &VectorSpec<'_>) -> Result<Vec<f32>> {
        let Entry { record, bytes } = self.entry(spec.name, (1, spec.len()))?;
        if record.kind != Kind::Vector {
            return Err(self.fault(spec.name, "expected a vector, found a matrix"));
        }
        let (values, _) = self.map[bytes.clone()].as_chunks();
        Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
    }
}
