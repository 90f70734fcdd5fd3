//! Forward passes, one file per model family. Never imports the scheduler.
#[cfg(test)]
mod account;
#[cfg(test)]
mod adapted;
mod attention;
mod builder;
mod config;
#[cfg(test)]
mod invariants;
mod organelles;
mod output;
mod qwen2;
#[cfg(test)]
mod reference;
mod rope;
mod rows;
mod symbio;
mod symbio_mixer;
#[cfg(test)]
mod symbio_reference;
#[cfg(test)]
pub(crate) mod testing;
mod weights;

pub use config::{Family, ModelConfig, RopeScaling};
pub use organelles::{Gate, Organelle, Organelles};
pub use qwen2::Qwen2;
pub use symbio::Symbio;
pub use weights::{MatrixSpec, Role, VectorSpec, Weights};

use crate::{
    Error, Result,
    backends::{Backend, KvType, MAX_HEAD_DIM},
    batch::{Limits, Model},
};

/// What the user decides about a model's state, as opposed to what its files say.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The most positions a sequence may have.
    pub context_length: usize,
    /// KV pages per layer.
    pub pages: usize,
    /// Number format of keys and values.
    pub kv_type: KvType,
}

impl Settings {
    /// Of a model of this shape; `slides` as [`Limits::slides`].
    fn limits(&self, config: &ModelConfig, slides: bool) -> Limits {
        let ModelConfig { vocab_size, hidden_size, .. } = *config;
        Limits { vocab_size, hidden_size, context_length: self.context_length, slides, page_count: self.pages }
    }
}

/// Builds the model that a configuration describes.
pub fn build<B: Backend + 'static>(
    config: &ModelConfig,
    settings: Settings,
    backend: B,
    weights: &dyn Weights,
) -> Result<Box<dyn Model>> {
    check(config)?;
    match config.family {
        Family::Qwen2 | Family::Llama => Ok(Box::new(Qwen2::new(config, settings, backend, weights)?)),
        Family::Symbio => Ok(Box::new(Symbio::new(config, settings, backend, weights)?)),
    }
}

/// What the forward passes rely on, whatever a reader let through.
fn check(config: &ModelConfig) -> Result<()> {
    let fault = |what: String| Err(Error::Model(what));
    let ModelConfig { heads, kv_heads, head_dim, .. } = *config;
    if [config.vocab_size, config.hidden_size, config.intermediate_size, config.layers].contains(&0) {
        return fault("the configuration has a size of zero".into());
    }
    config.check_organelles().or_else(fault)?;
    if !config.has_attention() {
        return Ok(());
    }
    if heads == 0 || kv_heads == 0 {
        return fault("the configuration has no attention heads".into());
    }
    if heads % kv_heads != 0 {
        return fault(format!("num_attention_heads: expected a multiple of {kv_heads} KV heads, found {heads}"));
    }
    if head_dim == 0 || head_dim % 2 != 0 || head_dim > MAX_HEAD_DIM {
        return fault(format!("head_dim: expected an even number up to {MAX_HEAD_DIM}, found {head_dim}"));
    }
    match &config.rope_scaling {
        RopeScaling::Factors(factors) if factors.len() != head_dim / 2 => {
            fault(format!("rope_freqs.weight: expected {} values, found {}", head_dim / 2, factors.len()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use synapse_kernels::Format;

    use super::{testing::*, *};
    use crate::{
        backends::Null,
        batch::{Batch, Segment, Want},
    };

    const SETTINGS: Settings = Settings { context_length: 100, pages: 8, kv_type: KvType::F16 };

    fn null_model(config: &ModelConfig) -> Qwen2<Null> {
        Qwen2::new(config, SETTINGS, Null::default(), &TestWeights::new(config, Format::F32)).unwrap()
    }

    #[test]
    fn a_model_asks_once_for_every_tensor_of_its_checkpoint() {
        let fused = symbio_with(|organelles| organelles.donor_size = Some(24));
        let tied = ModelConfig { tied_head: true, o_bias: true, ..config() };
        for config in [config(), tied, qwen2_config(), symbio_config(), fused] {
            let weights = TestWeights::new(&config, Format::F32);
            build(&config, SETTINGS, Null::default(), &weights).unwrap();
            let asked = weights.asked.into_inner();
            assert_eq!(asked.len(), weights.tensors.len());
            assert_eq!(asked.into_iter().collect::<BTreeSet<_>>(), weights.tensors.into_keys().collect());
        }
    }

    #[test]
    fn every_operation_of_a_pass_has_the_shape_it_should() {
        let config = ModelConfig { layers: 1, ..config() };
        let mut model = null_model(&config);
        let segments = vec![
            segment(&text(1, 20, 101), 0..20, &[0, 1], Want::AllLogits),
            segment(&text(2, 3, 101), 2..3, &[2], Want::LastLogits),
            segment(&text(3, 4, 101), 0..4, &[3], Want::Hidden),
        ];
        let outputs = model.forward(&Batch { segments }).unwrap();
        assert_eq!(outputs.iter().map(|o| o.logits.len() / 101).collect::<Vec<_>>(), [20, 1, 0]);
        assert_eq!(outputs.iter().map(|o| o.hidden.len() / 52).collect::<Vec<_>>(), [0, 0, 4]);
        let layer = [
            ("norm_project", (25, 30)),
            ("norm_project", (25, 10)),
            ("norm_project", (25, 10)),
            ("rope_and_store", (25, 30)),
            ("attend", (25, 52)),
            ("gated_ffn", (25, 52)),
        ];
        let head = [("gather", (21, 52)), ("norm_project", (21, 101)), ("gather", (4, 52)), ("norm", (4, 52))];
        let expected: Vec<_> = [("embed", (25, 52))].into_iter().chain(layer).chain(head).collect();
        assert_eq!(model.backend.calls, expected);
    }

    #[test]
    fn a_batch_that_cannot_run_is_refused_before_anything_runs() {
        let mut model = null_model(&config());
        let good = segment(&text(1, 20, 101), 0..20, &[0, 1], Want::LastLogits);
        let mut refused = |change: &dyn Fn(&mut Segment)| {
            let mut bad = good.clone();
            change(&mut bad);
            let error = model.forward(&Batch { segments: vec![good.clone(), bad] }).unwrap_err().to_string();
            assert!(model.backend.calls.is_empty());
            error
        };
        assert!(refused(&|bad| bad.tokens.clear()).contains("segment 1: no tokens"));
        assert!(refused(&|bad| bad.tokens[3] = 101).contains("token 101 is outside the vocabulary of 101"));
        assert!(refused(&|bad| bad.start = 81).contains("position 101 is beyond the context of 100"));
        assert!(refused(&|bad| bad.start = usize::MAX).contains("beyond the context"));
        assert!(refused(&|bad| bad.start = 13).contains("2 pages of 16 tokens do not cover 33 positions"));
        assert!(refused(&|bad| bad.pages[1] = 8).contains("page 8 is outside the 8 pages"));
    }

    #[test]
    fn a_configuration_that_cannot_run_is_refused_by_name() {
        let refused = |config: ModelConfig| {
            let weights = TestWeights::new(&config, Format::F32);
            build(&config, SETTINGS, Null::default(), &weights).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(refused(ModelConfig { kv_heads: 2, ..config() }).contains("num_attention_heads"));
        assert!(refused(ModelConfig { head_dim: 9, ..config() }).contains("head_dim: expected an even number"));
        assert!(refused(ModelConfig { head_dim: 2 * MAX_HEAD_DIM, ..config() }).contains("head_dim"));
        assert!(refused(ModelConfig { layers: 0, ..config() }).contains("size of zero"));
        let rope_scaling = RopeScaling::Factors(vec![1.0; 4]);
        assert!(refused(ModelConfig { rope_scaling, ..config() }).contains("expected 5 values, found 4"));
        assert_eq!(refused(config()), "");
    }
}
