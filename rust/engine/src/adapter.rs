//! LoRA adapters as a pass meets them: low-rank additions to a model's linear maps, for some of its rows. Knows no file, no name
//! that a user gives, and no arithmetic.
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use synapse_kernels::Matrix;

use crate::batch::TokenId;

/// A linear map of a model that adapters can add to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The module's Hugging Face name, such as `model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// `(out_features, in_features)`.
    pub shape: (usize, usize),
}

/// A site's place in its model's list.
pub type SiteId = usize;

/// `y += scale * up (down x)`: LoRA (Hu et al. 2021).
#[derive(Debug, Clone)]
pub struct LowRank {
    /// `(rank, in_features)`.
    pub down: Matrix,
    /// `(out_features, rank)`.
    pub up: Matrix,
    /// `alpha / rank`, or `alpha / sqrt(rank)` (rsLoRA, Kalajdzievski 2023).
    pub scale: f32,
}

/// Names an adapter for as long as the process lives; one that replaces another has a new one.
pub type Generation = u64;

/// Where an adapter came from, for people to read.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// File or folder.
    pub path: PathBuf,
    /// `"peft"` or `"gguf"`.
    pub format: &'static str,
    /// The base model, as the adapter's maker called it.
    pub base_model: Option<String>,
}

/// An adapter that fits a model. Whoever computes with it holds it, so that it can be replaced at any time.
#[derive(Debug)]
pub struct Adapter {
    /// Unique in this process.
    pub generation: Generation,
    /// One per site, where it adds something.
    pub parts: Vec<Option<LowRank>>,
    /// Tokens from whose last occurrence in the prompt it counts (aLoRA, Greenewald et al. 2025); if empty it always counts.
    pub invocation: Vec<TokenId>,
    /// See there.
    pub origin: Origin,
}

impl Adapter {
    /// Of a new generation.
    pub fn new(parts: Vec<Option<LowRank>>, invocation: Vec<TokenId>, origin: Origin) -> Self {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        Self { generation: GENERATIONS.fetch_add(1, Ordering::Relaxed), parts, invocation, origin }
    }

    /// What it adds at a site.
    pub fn part(&self, site: SiteId) -> Option<&LowRank> {
        self.parts.get(site)?.as_ref()
    }

    /// The highest rank of its parts.
    pub fn rank(&self) -> Option<usize> {
        self.parts.iter().flatten().map(|part| part.down.rows()).max()
    }

    /// Bytes of its matrices.
    pub fn bytes(&self) -> usize {
        self.parts.iter().flatten().map(|part| part.down.bytes().len() + part.up.bytes().len()).sum()
    }

    /// Position from which it counts in a sequence with this prompt; nothing if it does not.
    pub fn invoked(&self, prompt: &[TokenId]) -> Option<usize> {
        if self.invocation.is_empty() {
            return Some(0);
        }
        prompt.windows(self.invocation.len()).rposition(|window| window == self.invocation)
    }
}

/// An adapter in a sequence.
#[derive(Debug, Clone)]
pub struct Part {
    /// The adapter.
    pub adapter: Arc<Adapter>,
    /// Multiplies what it adds.
    pub weight: f32,
    /// Position from which on it counts.
    pub from: usize,
}

/// What a sequence computes with beside the model's own weights; rows are added in the order of the parts.
pub type Blend = Arc<[Part]>;

/// Position from which on a blend changes anything.
pub fn begin(blend: &[Part]) -> usize {
    blend.iter().map(|part| part.from).min().unwrap_or(usize::MAX)
}

/// The same for blends that compute the same, and for no others.
pub fn digest(blend: &[Part]) -> u64 {
    let mut hasher = DefaultHasher::new();
    blend.iter().for_each(|part| (part.adapter.generation, part.weight.to_bits(), part.from).hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_invoked_by_the_last_occurrence_of_its_tokens() {
        let adapter = |invocation: &[TokenId]| Adapter::new(Vec::new(), invocation.into(), Origin::default());
        assert_eq!(adapter(&[]).invoked(&[1, 2]), Some(0));
        assert_eq!(adapter(&[7, 8]).invoked(&[7, 8, 1, 7, 8, 2]), Some(3));
        assert_eq!(adapter(&[7, 8]).invoked(&[8, 7]), None);
        assert_eq!(adapter(&[7, 8]).invoked(&[7]), None);
    }

    #[test]
    fn blends_differ_by_adapter_weight_order_and_place() {
        let adapters = [(); 2].map(|()| Arc::new(Adapter::new(Vec::new(), Vec::new(), Origin::default())));
        let part = |index: usize, weight, from| Part { adapter: Arc::clone(&adapters[index]), weight, from };
        let blends = [
            vec![part(0, 1.0, 0)],
            vec![part(1, 1.0, 0)],
            vec![part(0, 0.5, 0)],
            vec![part(0, 1.0, 3)],
            vec![part(0, 1.0, 0), part(1, 1.0, 0)],
            vec![part(1, 1.0, 0), part(0, 1.0, 0)],
        ];
        let digests: std::collections::BTreeSet<u64> = blends.iter().map(|blend| digest(blend)).collect();
        assert_eq!(digests.len(), blends.len());
        assert_eq!(digest(&[part(0, 1.0, 0)]), digest(&blends[0]));
    }
}
