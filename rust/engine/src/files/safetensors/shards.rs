//! A folder's `model.safetensors`, or the parts that `model.safetensors.index.json` lists, as one source of tensors.
use std::{
    collections::BTreeMap,
    path::{Component, Path},
};

use serde::Deserialize;

use super::SafetensorsFile;
use crate::{
    Error, Result,
    files::{
        TensorSource, TensorView,
        json::{self, UniqueMap},
    },
};

pub(crate) const SINGLE: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";

pub(crate) struct Shards {
    files: Vec<SafetensorsFile>,
    /// Tensor to place in `files`.
    owners: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: UniqueMap<String>,
}

impl Shards {
    /// Opens every shard that the index names and checks that each tensor is where the index says.
    pub fn open(folder: &Path) -> Result<Shards> {
        let path = folder.join(INDEX);
        let bytes = json::read_if_there(&path)?
            .ok_or_else(|| Error::Io { path: path.clone(), reason: "the file is missing".into() })?;
        let index: Index = json::parse(&path, &bytes)?;
        let fault = |reason| Error::Format { path: path.clone(), reason };
        let mut shards = Shards { files: Vec::new(), owners: BTreeMap::new() };
        let mut opened: BTreeMap<String, usize> = BTreeMap::new();
        for (tensor, name) in index.weight_map.0 {
            if !is_plain_name(&name) {
                return Err(fault(format!(
                    "tensor `{tensor}`: shard `{name}` is not the name of a file in this folder"
                )));
            }
            let owner = match opened.get(&name) {
                Some(&owner) => owner,
                None => {
                    shards.files.push(SafetensorsFile::open(&folder.join(&name))?);
                    opened.insert(name.clone(), shards.files.len() - 1);
                    shards.files.len() - 1
                }
            };
            if shards.files[owner].tensor(&tensor).is_none() {
                return Err(fault(format!("tensor `{tensor}` is not in `{name}`, where the index says it is")));
            }
            shards.owners.insert(tensor, owner);
        }
        Ok(shards)
    }
}

/// One path component without a separator of any platform: a shard never lies outside the folder.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let plain = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    plain && !name.contains(['/', '\\', ':', '\0'])
}

impl TensorSource for Shards {
    fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.files[*self.owners.get(name)?].tensor(name)
    }

    fn names(&self) -> Vec<&str> {
        self.owners.keys().map(String::as_str).collect()
    }
}
