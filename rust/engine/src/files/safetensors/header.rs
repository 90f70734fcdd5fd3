//! A safetensors header: JSON behind an 8-byte length, then the tensors without gap or overlap. Trusts none of it.
//! Format: the safetensors format description, which also asks for the checks made here.
use std::{ops::Range, path::Path};

use serde::Deserialize;
use serde_json::value::RawValue;
use synapse_kernels::DType;

use crate::{
    Error, Result,
    files::{
        json::{self, UniqueMap},
        limits,
    },
};

const LENGTH_BYTES: usize = 8;
/// The format's own limit.
const MOST_HEADER_BYTES: u64 = 100_000_000;

/// An entry of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Hugging Face's name.
    pub name: String,
    /// Number format.
    pub dtype: DType,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// From the start of the file.
    pub(super) bytes: Range<usize>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// The tensors, sorted by name.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<TensorInfo>> {
    let fault = |reason| Error::Format { path: path.to_owned(), reason };
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| {
        fault(format!("a safetensors file starts with {LENGTH_BYTES} bytes of length, this one has {}", bytes.len()))
    })?;
    let length = u64::from_le_bytes(*length);
    let fits = usize::try_from(length).ok().filter(|_| length <= MOST_HEADER_BYTES);
    let (header, data) = fits.and_then(|length| rest.split_at_checked(length)).ok_or_else(|| {
        let room = rest.len().min(MOST_HEADER_BYTES as usize);
        fault(format!("header length: expected at most {room}, found {length}"))
    })?;
    let UniqueMap(entries) = json::parse::<UniqueMap<&RawValue>>(path, header)?;
    let mut tensors = Vec::new();
    for (name, entry) in entries.into_iter().filter(|(name, _)| name != "__metadata__") {
        tensors.push(tensor_info(name, entry).map_err(|wrong| wrong.at(path))?);
    }
    check_cover(&tensors, data.len()).map_err(fault)?;
    for tensor in &mut tensors {
        let start = bytes.len() - data.len();
        tensor.bytes = start + tensor.bytes.start..start + tensor.bytes.end;
    }
    Ok(tensors)
}

/// What is wrong with one entry.
enum Wrong {
    Format(String),
    Unsupported(String),
}

impl Wrong {
    fn at(self, path: &Path) -> Error {
        match self {
            Wrong::Format(reason) => Error::Format { path: path.to_owned(), reason },
            Wrong::Unsupported(reason) => Error::Model(reason),
        }
    }
}

/// `bytes` still counts from the start of the data.
fn tensor_info(name: String, entry: &RawValue) -> std::result::Result<TensorInfo, Wrong> {
    let entry: Entry =
        serde_json::from_str(entry.get()).map_err(|error| Wrong::Format(format!("tensor `{name}`: {error}")))?;
    let dtype = match entry.dtype.as_str() {
        "F32" => DType::F32,
        "F16" => DType::F16,
        "BF16" => DType::BF16,
        "F8_E4M3" => DType::F8_E4M3,
        other => {
            return Err(Wrong::Unsupported(format!(
                "tensor `{name}`: expected dtype F32, F16, BF16 or F8_E4M3, found {other}"
            )));
        }
    };
    let (shape, (start, end)) = (entry.shape, entry.data_offsets);
    let wanted = limits::tensor_bytes(dtype, &shape)
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| Wrong::Format(format!("tensor `{name}`: shape {shape:?} is empty or overflows")))?;
    match end.checked_sub(start) {
        Some(found) if found == wanted => Ok(TensorInfo { name, dtype, shape, bytes: start..end }),
        _ => Err(Wrong::Format(format!(
            "tensor `{name}`: {dtype:?} of shape {shape:?} takes {wanted} bytes, but its offsets are {start} and {end}"
        ))),
    }
}

/// The tensors must fill the data exactly: no gap to hide something in, no overlap, no end past the file's.
fn check_cover(tensors: &[TensorInfo], data: usize) -> std::result::Result<(), String> {
    let mut by_start: Vec<_> = tensors.iter().collect();
    by_start.sort_by_key(|tensor| tensor.bytes.start);
    let mut covered = 0;
    for tensor in by_start {
        let (name, Range { start, end }) = (&tensor.name, tensor.bytes.clone());
        if start != covered {
            let what = if start < covered { "overlaps the tensor before it" } else { "leaves a gap before it" };
            return Err(format!("tensor `{name}` {what}: expected offset {covered}, found {start}"));
        }
        if end > data {
            return Err(format!("tensor `{name}` ends at {end}, but the file holds {data} bytes of data"));
        }
        covered = end;
    }
    if covered != data { Err(format!("tensors take {covered} bytes, but the file holds {data}")) } else { Ok(()) }
}
