//! What mixes the sequence in each layer of the Symbiogenesis family, and how the parts are weighed. Knows shapes, no numbers.
use synapse_kernels::{MONARCH_WINDOW, MonarchLayout};

use super::ModelConfig;

/// Channels that are computed together, which groups of channels must not split.
const VECTOR: usize = 16;

/// One way to mix a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Organelle {
    /// A short depthwise convolution.
    CausalConv,
    /// Monarch matrices, one for each group of channels (Dao et al. 2022), under a causal mask.
    Monarch,
    /// A depthwise convolution as long as the context.
    LongConv,
    /// Attention with rotary embedding, every head with keys and values of its own.
    Attention,
}

impl Organelle {
    /// All of them, in the order of the reference.
    pub const ALL: [Self; 4] = [Self::CausalConv, Self::Monarch, Self::LongConv, Self::Attention];

    /// The name in configurations and checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            Self::CausalConv => "causal_conv",
            Self::Monarch => "monarch",
            Self::LongConv => "long_conv",
            Self::Attention => "attention",
        }
    }
}

/// How the organelles of a layer are weighed, channel by channel; never by the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Softmax over the organelles of `logits`, divided by a learned temperature if there is one.
    Softmax {
        /// There is.
        temperature: bool,
    },
    /// A sigmoid on the sum of all (MonarchSLM).
    Sigmoid,
}

/// The mixers of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Organelles {
    /// Of each layer, in the order of its gate's rows.
    pub layers: Vec<Vec<Organelle>>,
    /// How they are weighed.
    pub gate: Gate,
    /// Taps of [`Organelle::CausalConv`].
    pub conv_taps: usize,
    /// Groups of channels with a Monarch matrix of their own.
    pub monarch_heads: usize,
    /// How the factors of Monarch matrices are read.
    pub monarch_layout: MonarchLayout,
    /// Mixer and feed-forward network are each scaled by a number before they are added to the residual stream.
    pub skip_scales: bool,
    /// Width of a frozen embedding of another model, with a junction and an output projection around the layers (VocabFusion).
    pub donor_size: Option<usize>,
}

impl Organelles {
    /// What the forward pass relies on; says what is wrong.
    pub(super) fn check(&self, config: &ModelConfig) -> Result<(), String> {
        let (hidden, context) = (config.hidden_size, config.context_length);
        if self.layers.len() != config.layers {
            return Err(format!(
                "organelles: expected a list for each of {} layers, found {}",
                config.layers,
                self.layers.len()
            ));
        }
        let repeated = |layer: &&Vec<Organelle>| (1..layer.len()).any(|at| layer[..at].contains(&layer[at]));
        if let Some(layer) = self.layers.iter().find(|layer| layer.is_empty() || repeated(layer)) {
            let names: Vec<_> = layer.iter().map(|organelle| organelle.name()).collect();
            return Err(format!(
                "organelles: expected different ones, at least one a layer, found [{}]",
                names.join(", ")
            ));
        }
        if self.donor_size == Some(0) {
            return Err("donor_hidden_size: expected at least 1, found 0".into());
        }
        if !hidden.is_multiple_of(VECTOR) && self.have(|organelle| organelle != Organelle::Attention) {
            return Err(format!("hidden_size: expected a multiple of {VECTOR}, found {hidden}"));
        }
        if self.have(|organelle| organelle == Organelle::CausalConv) && !(1..=context).contains(&self.conv_taps) {
            return Err(format!("conv_kernel_size: expected 1 to {context}, found {}", self.conv_taps));
        }
        if self.have(|organelle| organelle == Organelle::Monarch) {
            return self.check_monarch(hidden, context);
        }
        Ok(())
    }

    fn check_monarch(&self, hidden: usize, context: usize) -> Result<(), String> {
        if context != MONARCH_WINDOW {
            return Err(format!("max_position_embeddings: expected {MONARCH_WINDOW} with monarch, found {context}"));
        }
        let heads = self.monarch_heads;
        match heads > 0 && hidden.is_multiple_of(heads) && (hidden / heads).is_multiple_of(VECTOR) {
            true => Ok(()),
            false => Err(format!(
                "monarch_heads: expected to divide {hidden} channels into groups of a multiple of {VECTOR}, found {heads}"
            )),
        }
    }

    fn have(&self, kind: impl Fn(Organelle) -> bool) -> bool {
        self.layers.iter().flatten().any(|&organelle| kind(organelle))
    }
}
