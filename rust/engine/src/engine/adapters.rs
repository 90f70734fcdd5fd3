//! Adapters by name: put in, replaced and taken out while requests run. A request holds what it began with. Knows no file and no
//! pass.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    Error, Result,
    adapter::{Adapter, Blend, Part, Site},
    batch::TokenId,
};

/// Adapters that one request may add up.
const MAX_PARTS: usize = 8;
/// Beyond this a weight is a mistake.
const MAX_WEIGHT: f32 = 100.0;
const MAX_NAME_BYTES: usize = 128;

/// How much of adapters an engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdapterLimits {
    /// Adapters at a time.
    pub count: usize,
    /// Highest rank.
    pub rank: usize,
    /// Bytes of all together.
    pub bytes: u64,
}

impl Default for AdapterLimits {
    fn default() -> Self {
        Self { count: 64, rank: 256, bytes: 4 << 30 }
    }
}

/// The adapters of an engine; clones are the same.
#[derive(Clone)]
pub struct Adapters {
    sites: Arc<[Site]>,
    limits: AdapterLimits,
    named: Arc<Mutex<BTreeMap<String, Arc<Adapter>>>>,
}

impl Adapters {
    /// None yet, for a model with these sites.
    pub fn new(sites: &[Site], limits: AdapterLimits) -> Self {
        Self { sites: sites.into(), limits, named: Arc::default() }
    }

    /// Where adapters can add to the model.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// Puts in an adapter, in the place of one of the same name.
    ///
    /// # Errors
    /// [`Error::Request`] names the limit that it exceeds, and `max_adapters` or `max_adapter_bytes` if others take up the room; nothing
    /// changes then.
    pub fn insert(&self, name: &str, adapter: Arc<Adapter>) -> Result<()> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(refused("name", format!("expected 1 to {MAX_NAME_BYTES} bytes, found {}", name.len())));
        }
        let AdapterLimits { count, rank, bytes } = self.limits;
        if let Some(found) = adapter.rank().filter(|found| *found > rank) {
            return Err(refused("adapters", format!("{name}: expected a rank of at most {rank}, found {found}")));
        }
        let own = adapter.bytes() as u64;
        if own > bytes {
            return Err(refused(
                "adapters",
                format!("{name}: adapters may have {bytes} bytes, this one alone has {own}"),
            ));
        }
        let mut named = self.lock();
        let others = || named.iter().filter(|(other, _)| *other != name).map(|(_, adapter)| adapter);
        if others().count() >= count {
            return Err(refused(
                "max_adapters",
                format!("{name}: {count} adapters are loaded, the most allowed; unload one"),
            ));
        }
        let held: u64 = others().map(|adapter| adapter.bytes() as u64).sum();
        let wanted = held + own;
        if wanted > bytes {
            let reason =
                format!("{name}: all adapters together may have {bytes} bytes, with this one {wanted}; unload one");
            return Err(refused("max_adapter_bytes", reason));
        }
        named.insert(name.to_owned(), adapter);
        Ok(())
    }

    /// Takes out an adapter.
    ///
    /// # Errors
    /// [`Error::Request`] if there is none of this name.
    pub fn remove(&self, name: &str) -> Result<()> {
        let mut named = self.lock();
        match named.remove(name) {
            Some(_) => Ok(()),
            None => Err(unknown(name, &named)),
        }
    }

    /// All, by name.
    pub fn list(&self) -> Vec<(String, Arc<Adapter>)> {
        self.lock().iter().map(|(name, adapter)| (name.clone(), Arc::clone(adapter))).collect()
    }

    /// What a request with this prompt computes with. An adapter that the prompt does not invoke is left out.
    ///
    /// # Errors
    /// [`Error::Request`] for a name or weight that cannot be used.
    pub fn blend(&self, wanted: &[(String, f32)], prompt: &[TokenId]) -> Result<Option<Blend>> {
        if wanted.is_empty() {
            return Ok(None);
        }
        if wanted.len() > MAX_PARTS {
            return Err(refused("adapters", format!("expected at most {MAX_PARTS}, found {}", wanted.len())));
        }
        let named = self.lock();
        let mut parts = Vec::new();
        for (name, weight) in wanted {
            let adapter = named.get(name).ok_or_else(|| unknown(name, &named))?;
            if weight.is_nan() || weight.abs() > MAX_WEIGHT {
                let reason = format!("{name}: expected a weight from -{MAX_WEIGHT} to {MAX_WEIGHT}, found {weight}");
                return Err(refused("adapters", reason));
            }
            let from = adapter.invoked(prompt);
            parts.extend(from.map(|from| Part { adapter: Arc::clone(adapter), weight: *weight, from }));
        }
        Ok((!parts.is_empty()).then(|| parts.into()))
    }

    /// What the lock protects is whole after every statement, so a poisoned one means nothing.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Adapter>>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(name: &str, named: &BTreeMap<String, Arc<Adapter>>) -> Error {
    let known: Vec<&str> = named.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "none is loaded".into() } else { format!("loaded: {}", known.join(", ")) };
    refused("adapters", format!("there is no adapter {name:?}; {known}"))
}

fn refused(param: &str, reason: String) -> Error {
    Error::Request { param: param.into(), reason }
}
