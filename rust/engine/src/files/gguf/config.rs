//! GGUF metadata to a [`ModelConfig`]. Says no, by name, to whatever the Llama and Qwen2 families do not have.
use synapse_kernels::DType;

use super::{GgufFile, names::ROPE_FACTORS};
use crate::{
    Error, Result,
    architectures::{Family, ModelConfig, RopeScaling},
    files::limits,
};

/// The keys of one architecture: `llama.block_count`, `qwen2.block_count`.
struct Keys<'a> {
    file: &'a GgufFile,
    architecture: &'a str,
}

pub(super) fn read(file: &GgufFile) -> Result<ModelConfig> {
    let architecture = file.required("general.architecture", file.text("general.architecture")?)?;
    let family = match architecture {
        "llama" => Family::Llama,
        "qwen2" => Family::Qwen2,
        other => {
            return Err(Error::Model(format!("`general.architecture` is `{other}`; `llama` and `qwen2` can be run")));
        }
    };
    let keys = Keys { file, architecture };
    keys.refuse_unsupported()?;
    let hidden_size = keys.size("embedding_length")?;
    let vocab_size = vocab_size(file, hidden_size)?;
    let layers = keys.size("block_count")?;
    let heads = keys.size("attention.head_count")?;
    let head_dim = keys.head_dim(hidden_size, heads)?;
    let config = ModelConfig {
        family,
        vocab_size,
        hidden_size,
        intermediate_size: keys.size("feed_forward_length")?,
        layers,
        heads,
        kv_heads: keys.integer("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        norm_eps: keys.float("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6),
        rope_theta: keys.float("rope.freq_base")?.unwrap_or(10_000.0),
        rope_scaling: keys.rope_scaling()?,
        context_length: keys.size("context_length")?,
        tied_head: file.tensor("output.weight").is_none(),
        qkv_bias: qkv_bias(file, layers)?,
        o_bias: has_bias(file, "attn_output", layers)?,
        organelles: None,
    };
    limits::check(&file.path, &config)?;
    Ok(config)
}

/// Rows of the embedding: the table of tokens may be shorter, never longer.
fn vocab_size(file: &GgufFile, hidden_size: usize) -> Result<usize> {
    const NAME: &str = "token_embd.weight";
    match file.tensor(NAME).map(|tensor| tensor.shape) {
        Some(&[vocab_size, width]) if width == hidden_size => Ok(vocab_size),
        Some(found) => {
            Err(file.fault(format!("tensor `{NAME}`: expected rows of {hidden_size}, found shape {found:?}")))
        }
        None => Err(file.fault(format!("tensor `{NAME}` is missing"))),
    }
}

fn qkv_bias(file: &GgufFile, layers: usize) -> Result<bool> {
    let [q, k, v] = ["attn_q", "attn_k", "attn_v"].map(|part| has_bias(file, part, layers));
    match (q?, k?, v?) {
        (q, k, v) if q == k && k == v => Ok(q),
        _ => Err(Error::Model("a bias on some of attn_q, attn_k and attn_v; this engine runs all or none".into())),
    }
}

/// Whether a projection has a bias, which every layer must agree on.
fn has_bias(file: &GgufFile, part: &str, layers: usize) -> Result<bool> {
    let suffix = format!(".{part}.bias");
    match file.tensors().iter().filter(|tensor| tensor.name.ends_with(&suffix)).count() {
        0 => Ok(false),
        count if count == layers => Ok(true),
        count => Err(Error::Model(format!("{count} of {layers} layers have a bias on {part}; expected all or none"))),
    }
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn integer(&self, name: &str) -> Result<Option<usize>> {
        self.file.integer(&self.key(name))
    }

    fn float(&self, name: &str) -> Result<Option<f32>> {
        self.file.float(&self.key(name))
    }

    fn size(&self, name: &str) -> Result<usize> {
        let key = self.key(name);
        self.file.required(&key, self.file.integer(&key)?)
    }

    fn unsupported(&self, name: &str, found: impl std::fmt::Display) -> Error {
        Error::Model(format!("`{}` is {found}, which this engine does not run", self.key(name)))
    }

    fn refuse_unsupported(&self) -> Result<()> {
        if let Some(count @ 2..) = self.file.integer("split.count")? {
            let advice = "merge the parts into one file first";
            return Err(Error::Model(format!("`split.count`: this is one of {count} parts of a model; {advice}")));
        }
        if let Some(experts @ 1..) = self.integer("expert_count")? {
            return Err(self.unsupported("expert_count", experts));
        }
        let context = self.integer("context_length")?.unwrap_or(0);
        if let Some(window @ 1..) = self.integer("attention.sliding_window")?.filter(|&window| window < context) {
            return Err(self.unsupported("attention.sliding_window", window));
        }
        for (name, wanted) in [("use_parallel_residual", false), ("attention.causal", true)] {
            if self.file.flag(&self.key(name))?.is_some_and(|found| found != wanted) {
                return Err(self.unsupported(name, !wanted));
            }
        }
        Ok(())
    }

    fn head_dim(&self, hidden_size: usize, heads: usize) -> Result<usize> {
        let head_dim = match self.integer("attention.key_length")? {
            Some(length) => length,
            None if heads > 0 && hidden_size.is_multiple_of(heads) => hidden_size / heads,
            None => return Err(self.file.fault(format!("{heads} heads do not divide a hidden size of {hidden_size}"))),
        };
        for name in ["attention.value_length", "rope.dimension_count"] {
            if let Some(found) = self.integer(name)?.filter(|&found| found != head_dim) {
                return Err(self.unsupported(name, format!("{found} with heads of {head_dim}")));
            }
        }
        Ok(head_dim)
    }

    fn rope_scaling(&self) -> Result<RopeScaling> {
        let kind_key = self.key("rope.scaling.type");
        let scaling = match self.file.text(&kind_key)? {
            None | Some("none") => RopeScaling::None,
            Some("linear") => RopeScaling::Linear { factor: self.required_float("rope.scaling.factor")? },
            Some(other) => return Err(self.unsupported("rope.scaling.type", format!("`{other}`"))),
        };
        match (self.file.tensor(ROPE_FACTORS), scaling) {
            (None, scaling) => Ok(scaling),
            (Some(factors), RopeScaling::None) if factors.dtype == DType::F32 && factors.shape.len() == 1 => {
                Ok(RopeScaling::Factors(factors.to_f32()))
            }
            (Some(_), RopeScaling::None) => {
                Err(self.file.fault(format!("tensor `{ROPE_FACTORS}`: expected one row of F32")))
            }
            (Some(_), _) => Err(self.unsupported("rope.scaling.type", format!("set beside tensor `{ROPE_FACTORS}`"))),
        }
    }

    fn required_float(&self, name: &str) -> Result<f32> {
        let key = self.key(name);
        self.file.required(&key, self.file.float(&key)?)
    }
}
