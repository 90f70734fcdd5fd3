//! From an adapter on disk to one that fits a model: finds the site of each part and packs it. Knows neither how adapters are laid
//! out in files nor who asks for them.
use std::{collections::HashMap, path::Path, sync::Arc};

use rayon::prelude::*;
use synapse_kernels::{Format, Matrix};

use super::gather::gather;
use crate::{
    Error, Result,
    adapter::{Adapter, LowRank, Origin, Site},
    architectures::ModelConfig,
    files::adapters::{self, AdapterMatrix, read_adapter},
};

/// Loads an adapter for a model of this configuration and these sites. Floats keep their bits.
///
/// # Errors
/// As the readers say; [`Error::Adapter`] for a part that the model has no place for.
pub fn load_adapter(path: &Path, config: &ModelConfig, sites: &[Site]) -> Result<Arc<Adapter>> {
    let refused = |reason: String| Error::Adapter { path: path.to_owned(), reason, hint: OTHER_BASE };
    if sites.is_empty() {
        return Err(refused("models of this family take no adapters".into()));
    }
    let source = read_adapter(path, config)?;
    let mut found: HashMap<&str, adapters::LowRank> = source.parts().collect();
    let mut placed = Vec::new();
    for site in sites {
        let part = found.remove(site.name.as_str());
        if let Some(part) = &part {
            check(site, part).map_err(refused)?;
        }
        placed.push(part);
    }
    if let Some(stranger) = found.keys().min() {
        return Err(refused(format!("`{stranger}` is no part of this model that adapters can add to")));
    }
    let mut parts: Vec<Option<LowRank>> = placed.par_iter().map(|part| part.as_ref().map(pack)).collect();
    gather(&mut parts.iter_mut().flatten().flat_map(|part| [&mut part.down, &mut part.up]).collect::<Vec<_>>())?;
    let origin = Origin { path: source.path.clone(), format: source.format, base_model: source.base_model.clone() };
    Ok(Arc::new(Adapter::new(parts, source.invocation_tokens.clone(), origin)))
}

const OTHER_BASE: &str = "use it with the base model it was trained on";

fn check(Site { name, shape: (out, input) }: &Site, part: &adapters::LowRank) -> std::result::Result<(), String> {
    let (down, up) = (part.a.shape(), part.b.shape());
    match (down.1, up.0) == (*input, *out) {
        true => Ok(()),
        false => {
            Err(format!("`{name}` maps {input} to {out} features in this model, {} to {} in the adapter", down.1, up.0))
        }
    }
}

fn pack(part: &adapters::LowRank) -> LowRank {
    let matrix = |matrix: &AdapterMatrix| {
        let (rows, cols) = matrix.shape();
        match matrix.dtype().block_values() {
            1 => Matrix::pack_blocks(matrix.dtype(), rows, cols, |row| matrix.row_bytes(row)),
            _ => Matrix::pack_f32(Format::F32, rows, cols, |row, out| matrix.row(row, out)),
        }
    };
    LowRank { down: matrix(&part.a), up: matrix(&part.b), scale: part.scale }
}
