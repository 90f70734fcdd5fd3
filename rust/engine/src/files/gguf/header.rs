//! A GGUF file's header: metadata and tensor table, every number of it checked. Knows no architecture.
//! Format: the GGUF specification of ggml, versions 2 and 3, little-endian.
use std::{collections::HashMap, path::Path};

use synapse_kernels::DType;

use super::cursor::{Cursor, Value, ValueKind};
use crate::{Error, Result, files::limits};

const MAX_DIMENSIONS: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;
/// Fewest bytes of a metadata entry (key length, type, one byte) and of a tensor entry (name length, dimensions, type, offset).
const LEAST_ENTRY: usize = 13;
const LEAST_TENSOR: usize = 32;

/// An entry of the tensor table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// GGUF's name.
    pub name: String,
    /// Number format.
    pub dtype: DType,
    /// Outermost dimension first (the file has them the other way round).
    pub shape: Vec<usize>,
    /// From the start of the file.
    pub(super) start: usize,
    pub(super) bytes: usize,
}

pub(super) struct Header {
    pub version: u32,
    pub metadata: Vec<(String, Value)>,
    pub keys: HashMap<String, usize>,
    pub tensors: Vec<TensorInfo>,
    pub names: HashMap<String, usize>,
}

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Header> {
    let mut cursor = Cursor { path, bytes, at: 0 };
    let version = version(&mut cursor)?;
    let tensor_count = cursor.count(LEAST_TENSOR, "tensor count")?;
    let entry_count = cursor.count(LEAST_ENTRY, "metadata count")?;
    let (metadata, keys) = metadata(&mut cursor, entry_count)?;
    let alignment = alignment(&cursor, keys.get("general.alignment").map(|&index| &metadata[index].1))?;
    let (mut tensors, names) = tensor_table(&mut cursor, tensor_count)?;
    place(&cursor, &mut tensors, alignment)?;
    Ok(Header { version, metadata, keys, tensors, names })
}

fn version(cursor: &mut Cursor) -> Result<u32> {
    let magic = cursor.take(4, "GGUF magic")?;
    if magic != b"GGUF" {
        return Err(
            cursor.fault(format!("expected a GGUF file, found one that starts with `{}`", magic.escape_ascii()))
        );
    }
    match cursor.u32("GGUF version")? {
        version @ 2..=3 => Ok(version),
        swapped if matches!(swapped.swap_bytes(), 2 | 3) => {
            Err(cursor.fault("a big-endian GGUF file; only little-endian ones are read".into()))
        }
        other => Err(cursor.fault(format!("GGUF version {other}; versions 2 and 3 are read"))),
    }
}

type Indexed<T> = (Vec<T>, HashMap<String, usize>);

fn metadata(cursor: &mut Cursor, count: usize) -> Result<Indexed<(String, Value)>> {
    let (mut entries, mut keys) = (Vec::new(), HashMap::new());
    for index in 0..count {
        let key = cursor.text(&format!("metadata key {index}"))?;
        let kind = cursor.kind(key)?;
        let value = cursor.value(kind, key)?;
        if keys.insert(key.to_owned(), index).is_some() {
            return Err(cursor.fault(format!("metadata key `{key}` appears twice")));
        }
        entries.push((key.to_owned(), value));
    }
    Ok((entries, keys))
}

fn alignment(cursor: &Cursor, value: Option<&Value>) -> Result<u64> {
    match value {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::Unsigned(alignment)) if alignment.is_power_of_two() => Ok(alignment),
        Some(other) => Err(cursor.fault(format!("`general.alignment`: expected a power of two, found {other:?}"))),
    }
}

/// The table as written: `start` is still relative to the data section.
fn tensor_table(cursor: &mut Cursor, count: usize) -> Result<Indexed<TensorInfo>> {
    let (mut tensors, mut names) = (Vec::new(), HashMap::new());
    for index in 0..count {
        let tensor = tensor_info(cursor, index)?;
        if names.insert(tensor.name.clone(), index).is_some() {
            return Err(cursor.fault(format!("tensor `{}` appears twice", tensor.name)));
        }
        tensors.push(tensor);
    }
    Ok((tensors, names))
}

fn tensor_info(cursor: &mut Cursor, index: usize) -> Result<TensorInfo> {
    let name = cursor.text(&format!("name of tensor {index}"))?;
    let dimensions = cursor.u32(name)?;
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        let wanted = format!("1 to {MAX_DIMENSIONS} dimensions");
        return Err(cursor.fault(format!("tensor `{name}`: expected {wanted}, found {dimensions}")));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let size = cursor.u64(name)?;
        let fits = usize::try_from(size).ok().filter(|&size| size > 0);
        shape.push(fits.ok_or_else(|| cursor.fault(format!("tensor `{name}`: a dimension of size {size}")))?);
    }
    shape.reverse();
    let dtype = dtype(cursor, name)?;
    let bytes = limits::tensor_bytes(dtype, &shape)
        .ok_or_else(|| cursor.fault(format!("tensor `{name}`: shape {shape:?} is impossible for {dtype:?}")))?;
    let offset = cursor.u64(name)?;
    let start = usize::try_from(offset)
        .map_err(|_| cursor.fault(format!("tensor `{name}`: offset {offset} is past the end of the file")))?;
    Ok(TensorInfo { name: name.to_owned(), dtype, shape, start, bytes })
}

/// Makes `start` count from the file's start and checks that tensors are aligned, inside the file and apart from each other.
fn place(cursor: &Cursor, tensors: &mut [TensorInfo], alignment: u64) -> Result<()> {
    let size = cursor.bytes.len();
    let data = (cursor.at as u64).checked_next_multiple_of(alignment).and_then(|at| usize::try_from(at).ok());
    for tensor in tensors.iter_mut() {
        let name = &tensor.name;
        if !(tensor.start as u64).is_multiple_of(alignment) {
            let offset = tensor.start;
            return Err(cursor.fault(format!("tensor `{name}`: offset {offset} is not a multiple of {alignment}")));
        }
        let start = data.and_then(|data| data.checked_add(tensor.start));
        let end = start.and_then(|start| start.checked_add(tensor.bytes)).filter(|&end| end <= size);
        let (Some(start), Some(_)) = (start, end) else {
            let (offset, bytes) = (tensor.start, tensor.bytes);
            let reason = format!("tensor `{name}`: {bytes} bytes at offset {offset} of the data reach past the end");
            return Err(cursor.fault(format!("{reason} of the file ({size} bytes)")));
        };
        tensor.start = start;
    }
    let mut by_start: Vec<_> = tensors.iter().collect();
    by_start.sort_by_key(|tensor| tensor.start);
    match by_start.windows(2).find(|pair| pair[0].start + pair[0].bytes > pair[1].start) {
        Some(pair) => Err(cursor.fault(format!("tensors `{}` and `{}` overlap", pair[0].name, pair[1].name))),
        None => Ok(()),
    }
}

fn dtype(cursor: &mut Cursor, tensor: &str) -> Result<DType> {
    let code = cursor.u32(tensor)?;
    DTYPES.iter().find(|(known, _)| *known == code).map(|&(_, dtype)| dtype).ok_or_else(|| {
        match UNSUPPORTED.iter().find(|(known, _)| *known == code) {
            Some((_, name)) => {
                let known: Vec<_> = DTYPES.iter().map(|(_, dtype)| dtype.name()).collect();
                Error::Model(format!(
                    "tensor `{tensor}` has type {name}; types that can be loaded: {}",
                    known.join(", ")
                ))
            }
            None => cursor.fault(format!("tensor `{tensor}`: no type has the number {code}")),
        }
    })
}

pub(super) const DTYPES: [(u32, DType); 15] = [
    (0, DType::F32),
    (1, DType::F16),
    (2, DType::Q4_0),
    (3, DType::Q4_1),
    (6, DType::Q5_0),
    (7, DType::Q5_1),
    (8, DType::Q8_0),
    (10, DType::Q2_K),
    (11, DType::Q3_K),
    (12, DType::Q4_K),
    (13, DType::Q5_K),
    (14, DType::Q6_K),
    (20, DType::IQ4_NL),
    (23, DType::IQ4_XS),
    (30, DType::BF16),
];

/// Types of other programs' files that are refused by name.
const UNSUPPORTED: [(u32, &str); 19] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];

impl Header {
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).map(|&index| &self.metadata[index].1)
    }
}

/// What the array's element type would be called in an error.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Array(span) if span.kind == ValueKind::Array => format!("{} arrays", span.count),
        Value::Array(span) => format!("an array of {} {:?}", span.count, span.kind),
        Value::Text(text) if text.chars().count() > 40 => format!("a text of {} bytes", text.len()),
        other => format!("{other:?}"),
    }
}
