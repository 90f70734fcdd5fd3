//! What was learnt, as JSON and back, exactly. Trusts nothing that comes in.
use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{
    HebbianBias, MOST_TIES, Settings, check_name, refusal,
    region::{Region, one_line},
};
use crate::{Error, Result};

const FORMAT: &str = "synapse-feedback";
const VERSION: u32 = 1;
const LARGEST_BYTES: usize = 64 << 20;

#[derive(Serialize)]
struct Written<'a> {
    format: &'a str,
    version: u32,
    space: &'a str,
    dimensions: usize,
    regions: &'a [Region],
}

/// What says whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "version")]
    _version: u32,
    space: String,
    dimensions: usize,
    regions: Vec<Region>,
}

impl HebbianBias {
    /// Everything, as text.
    pub fn to_json(&self) -> Result<String> {
        let Self { space, dimensions, regions, .. } = self;
        let written = Written { format: FORMAT, version: VERSION, space, dimensions: *dimensions, regions };
        serde_json::to_string(&written).map_err(|error| Error::Internal(format!("feedback as JSON: {error}")))
    }

    /// The same with what `text` holds instead of its own regions, which must be of the same space and sound in every number. Feedback
    /// from the future counts as from `now`.
    pub fn with_json(&self, text: &str, now: u64) -> Result<Self> {
        if text.len() > LARGEST_BYTES {
            return Err(fault(format!("expected at most {LARGEST_BYTES} bytes, found {}", text.len())));
        }
        let head: Head = parse(text)?;
        if head.format != FORMAT || head.version != VERSION {
            let found = format!("`{}` version {}", one_line(&head.format), head.version);
            return Err(fault(format!("expected `{FORMAT}` version {VERSION}, found {found}")));
        }
        let read: Read = parse(text)?;
        if (read.space.as_str(), read.dimensions) != (self.space.as_str(), self.dimensions) {
            let (wanted, found) = (&self.space, one_line(&read.space));
            let sizes = format!("({} dimensions) and was learnt in `{found}` ({})", self.dimensions, read.dimensions);
            return Err(fault(format!("expected feedback for the coordinator `{wanted}` {sizes}")));
        }
        let mut regions = read.regions;
        self.check(&regions)?;
        regions.sort_by_key(|region| region.id);
        for region in &mut regions {
            region.created = region.created.min(now);
            region.updated = region.updated.min(now);
        }
        Ok(Self { regions, ..self.clone() })
    }

    fn check(&self, regions: &[Region]) -> Result<()> {
        if regions.len() > self.settings.most_regions {
            return Err(fault(format!(
                "expected at most {} regions, found {}",
                self.settings.most_regions,
                regions.len()
            )));
        }
        let ids: HashSet<u64> = regions.iter().map(|region| region.id).collect();
        if ids.len() < regions.len() {
            return Err(fault("two regions have the same id".to_owned()));
        }
        regions.iter().try_for_each(|region| {
            check_region(region, self.dimensions, &self.settings)
                .map_err(|reason| fault(format!("region {}: {reason}", region.id)))
        })
    }
}

fn check_region(region: &Region, dimensions: usize, settings: &Settings) -> std::result::Result<(), String> {
    // A region that can no longer be counted on must not be born after it.
    if region.id >= u64::MAX / 2 {
        return Err("the id is too large".to_owned());
    }
    if region.center.len() != dimensions {
        return Err(format!("`center`: expected {dimensions} numbers, found {}", region.center.len()));
    }
    let length = region.center.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    if !(0.999..=1.001).contains(&length) {
        return Err(format!("`center`: expected length 1, found {length}"));
    }
    if region.label != one_line(&region.label) {
        return Err("`label`: expected one short line".to_owned());
    }
    if !(1..=MOST_TIES).contains(&region.ties.len()) {
        return Err(format!("`ties`: expected 1 to {MOST_TIES}, found {}", region.ties.len()));
    }
    let names: HashSet<&str> = region.ties.iter().map(|tie| tie.specialist.as_str()).collect();
    if names.len() < region.ties.len() {
        return Err("`ties`: a specialist stands there twice".to_owned());
    }
    for tie in &region.ties {
        check_name(&tie.specialist).map_err(|error| error.to_string())?;
        if !(-settings.bound..=settings.bound).contains(&tie.bias) {
            return Err(format!("`bias`: expected -{0} to {0}, found {1}", settings.bound, tie.bias));
        }
    }
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| fault(error.to_string()))
}

fn fault(reason: String) -> Error {
    refusal("feedback", reason)
}
