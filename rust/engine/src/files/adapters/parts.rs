//! Which tensors are the two matrices of a module: halves are collected by name, then every pair is checked. Knows no format.
use std::{collections::BTreeMap, path::Path};

use super::{AdapterMatrix, LowRank};
use crate::{
    Error, Result,
    files::{TensorSource, format_error},
};

/// Real ones are under 1024; a full update has the layer's width.
const MOST_RANK: usize = 1 << 13;
/// As wide as a feed-forward network may be.
const MOST_WIDTH: usize = 1 << 20;

/// Modules by their Hugging Face names.
pub(super) type Parts = BTreeMap<String, Part>;

/// One module's matrices, by the names of their tensors.
pub(super) struct Part {
    pub a: String,
    pub b: String,
    pub scale: f32,
    /// Of heads whose rows of `b` the file has interleaved.
    pub head_dim: Option<usize>,
}

impl Part {
    pub fn view<'a>(&self, tensors: &'a dyn TensorSource) -> Option<LowRank<'a>> {
        let a = AdapterMatrix::new(tensors.tensor(&self.a)?, None)?;
        let b = AdapterMatrix::new(tensors.tensor(&self.b)?, self.head_dim)?;
        Some(LowRank { a, b, scale: self.scale })
    }
}

/// Which of the two a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    A,
    B,
}

/// Tensor names of a module's matrices, as far as they were found.
#[derive(Default)]
pub(super) struct Halves(BTreeMap<String, [Option<String>; 2]>);

impl Halves {
    /// Takes one.
    pub fn add(&mut self, module: &str, half: Half, tensor: &str) {
        self.0.entry(module.to_owned()).or_default()[half as usize] = Some(tensor.to_owned());
    }

    /// The pairs, in order; a module that lacks one of its two is an error, and so is a file without any.
    pub fn pairs(self, path: &Path) -> Result<Vec<(String, String, String)>> {
        if self.0.is_empty() {
            return Err(format_error(path, "there are no matrices of LoRA in it".into()));
        }
        let whole = |(module, halves): (String, [Option<String>; 2])| match halves {
            [Some(a), Some(b)] => Ok((module, a, b)),
            [Some(found), None] => Err(format_error(path, format!("`{found}` has no B that belongs to it"))),
            [_, found] => {
                let found = found.unwrap_or_default();
                Err(format_error(path, format!("`{found}` has no A that belongs to it")))
            }
        };
        self.0.into_iter().map(whole).collect()
    }
}

/// Checks shapes and numbers of every part; `rank` is what the settings say of a module, if they do.
pub(super) fn check(
    path: &Path,
    tensors: &dyn TensorSource,
    parts: &Parts,
    rank: impl Fn(&str) -> Option<usize>,
) -> Result<()> {
    for (module, part) in parts {
        let sizes = |name: &str| tensors.tensor(name).map(|view| view.shape.to_vec()).unwrap_or_default();
        let pair = part.view(tensors).ok_or_else(|| {
            let (a, b) = (sizes(&part.a), sizes(&part.b));
            format_error(path, format!("`{module}`: expected two matrices, found A of {a:?} and B of {b:?}"))
        })?;
        check_shapes(module, &pair, rank(module)).map_err(|reason| format_error(path, reason))?;
        check_numbers(path, part, &pair)?;
    }
    Ok(())
}

fn check_shapes(module: &str, pair: &LowRank, expected: Option<usize>) -> std::result::Result<(), String> {
    let ((rank, width), (height, columns)) = (pair.a.shape(), pair.b.shape());
    if rank != columns {
        return Err(format!("`{module}`: A has rank {rank} (its rows), B has rank {columns} (its columns)"));
    }
    if let Some(expected) = expected.filter(|&expected| expected != rank) {
        return Err(format!("`{module}`: the settings say rank {expected}, its matrices have rank {rank}"));
    }
    match [("rank", rank, MOST_RANK), ("width", width, MOST_WIDTH), ("height", height, MOST_WIDTH)]
        .into_iter()
        .find(|&(_, size, limit)| size == 0 || size > limit)
    {
        Some((name, size, limit)) => Err(format!("`{module}`: {name}: expected 1 to {limit}, found {size}")),
        None => Ok(()),
    }
}

fn check_numbers(path: &Path, part: &Part, pair: &LowRank) -> Result<()> {
    let wrong = |what: String| Error::Format { path: path.to_owned(), reason: what };
    if !pair.scale.is_finite() {
        return Err(wrong(format!("`{}`: its factor, from alpha and rank, is {}", part.a, pair.scale)));
    }
    match [(&part.a, pair.a), (&part.b, pair.b)].into_iter().find(|(_, matrix)| !matrix.is_finite()) {
        Some((name, _)) => Err(wrong(format!("tensor `{name}` holds a number that is not finite"))),
        None => Ok(()),
    }
}
