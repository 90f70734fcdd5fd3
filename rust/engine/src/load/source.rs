//! Where the weights come from this time: the packed file if it is good, else the checkpoint, which then leaves a packed file.
use std::path::{Path, PathBuf};

use super::{Quant, pack::Packer};
use crate::{
    Error, Result,
    architectures::{self, Settings, Weights},
    backends::{KvType, Null},
    batch::PAGE_TOKENS,
    files::{
        Checkpoint,
        packed::{self, Key, PackedFile},
    },
};

/// One of the two.
pub enum Source<'a> {
    Packed(PackedFile),
    Checkpoint(Packer<'a>),
}

impl<'a> Source<'a> {
    /// Leaves packed files alone.
    pub fn without_packed_file(checkpoint: &'a Checkpoint, quant: Quant) -> Self {
        Source::Checkpoint(Packer::new(checkpoint, quant))
    }

    /// Uses the packed file beside the model or in `cache`. Never fails for want of one; says in `notices` why there is none.
    pub fn open(
        checkpoint: &'a Checkpoint,
        quant: Quant,
        cache: Option<PathBuf>,
        notices: &mut Vec<String>,
    ) -> Result<Self> {
        let packer = Packer::new(checkpoint, quant);
        let key = Key::of(checkpoint, quant.name())?;
        let places = key.places(cache);
        if let Some(packed) = find(&places, &key, notices) {
            return Ok(Source::Packed(packed));
        }
        Ok(match create(&places, &key, checkpoint, &packer, notices)? {
            Some(packed) => Source::Packed(packed),
            None => Source::Checkpoint(packer),
        })
    }

    /// The weights.
    pub fn weights(&self) -> &dyn Weights {
        match self {
            Source::Packed(packed) => packed,
            Source::Checkpoint(packer) => packer,
        }
    }

    /// The packed file, if that is where they come from.
    pub fn packed_file(&self) -> Option<PathBuf> {
        match self {
            Source::Packed(packed) => Some(packed.path().to_owned()),
            Source::Checkpoint(_) => None,
        }
    }
}

fn find(places: &[PathBuf], key: &Key, notices: &mut Vec<String>) -> Option<PackedFile> {
    for place in places {
        match PackedFile::open(place, key) {
            Ok(Some(packed)) => return Some(packed),
            Ok(None) => {}
            Err(error) => notices.push(format!("the packed file is made anew: {error}")),
        }
    }
    None
}

/// Writes the packed file at the first place where that works. A fault of the checkpoint itself is an error.
fn create(
    places: &[PathBuf],
    key: &Key,
    checkpoint: &Checkpoint,
    packer: &Packer<'_>,
    notices: &mut Vec<String>,
) -> Result<Option<PackedFile>> {
    let mut faults = Vec::new();
    for place in places {
        match write(place, key, checkpoint, packer).and_then(|()| PackedFile::open(place, key)) {
            Ok(Some(packed)) => return Ok(Some(packed)),
            Ok(None) => {}
            Err(error @ (Error::Io { .. } | Error::Format { .. })) => faults.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    notices.push(format!("no packed file could be written, so every start is slower: {}", faults.join("; ")));
    Ok(None)
}

/// Builds the model on the null backend: the packed file then holds exactly what the model asks for, one tensor in memory at a time.
fn write(place: &Path, key: &Key, checkpoint: &Checkpoint, packer: &Packer<'_>) -> Result<()> {
    let settings = Settings { context_length: PAGE_TOKENS, pages: 1, kv_type: KvType::F16 };
    packed::write(place, key, checkpoint.tensors.names().len(), packer, |weights| {
        architectures::build(&checkpoint.config, settings, Null::default(), weights).map(drop)
    })
}
