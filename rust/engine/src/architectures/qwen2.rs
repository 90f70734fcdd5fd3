//! Qwen2, Qwen2.5 and the Llama family: they differ by biases, tying and rotary settings. Knows no number and no file.
use super::{
    ModelConfig, Role, Settings, Weights,
    attention::{Attention, Projected},
    builder::Builder,
    output::Output,
    rope, rows,
};
use crate::{
    Result,
    adapter::Site,
    backends::{Backend, GatedFfn, KvShape, Linear, Norm, Rope},
    batch::{Batch, Limits, Model, SegmentOutput},
    clock::Clock,
};

/// A decoder-only transformer with grouped-query attention and a gated feed-forward network.
pub struct Qwen2<B: Backend> {
    pub(super) backend: B,
    limits: Limits,
    sites: Vec<Site>,
    embed: Linear<B>, // model.embed_tokens (vocab, hidden); also the head if that is tied
    layers: Vec<Layer<B>>,
    output: Output<B>, // model.norm (hidden), lm_head (vocab, hidden)
    rope: Rope<B>,
    x: B::Buffer,
    projected: Projected<B>,
}

struct Layer<B: Backend> {
    norm: Norm<B>,           // input_layernorm (hidden)
    attention: Attention<B>, // self_attn.{q,k,v,o}_proj
    ffn: GatedFfn<B>,        // post_attention_layernorm, mlp.gate_proj, mlp.up_proj, mlp.down_proj
}

impl<B: Backend> Qwen2<B> {
    /// Takes the weights onto the backend. A missing or misshapen tensor is [`crate::Error::Model`].
    pub fn new(config: &ModelConfig, settings: Settings, backend: B, weights: &dyn Weights) -> Result<Self> {
        let mut build = Builder::new(backend, weights, config);
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let embed = build.linear("model.embed_tokens", (vocab, hidden), Role::Vocabulary, false)?;
        let layers = (0..config.layers).map(|index| build.layer(index, settings)).collect::<Result<_>>()?;
        let norm = build.norm("model.norm")?;
        let head = match config.tied_head {
            true => None,
            false => Some(build.linear("lm_head", (vocab, hidden), Role::Vocabulary, false)?),
        };
        let (cos, sin) = rope::tables(config, settings.context_length);
        let (mut backend, sites) = (build.backend, build.sites);
        let rope = Rope { cos: backend.vector(cos)?, sin: backend.vector(sin)? };
        let limits = settings.limits(config, false);
        let output = Output::new(&mut backend, (hidden, hidden, vocab), norm, None, head)?;
        let (q_width, kv_width) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let projected = Projected::new(&mut backend, q_width, kv_width)?;
        let x = backend.buffer(hidden)?;
        Ok(Self { backend, limits, sites, embed, layers, output, rope, x, projected })
    }
}

impl<B: Backend> Model for Qwen2<B> {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<SegmentOutput>> {
        rows::check(batch, self)?;
        let Self { backend, embed, layers, output, rope, x, projected, .. } = self;
        let pass = backend.begin(batch)?;
        backend.embed(&pass, &embed.weight, x)?;
        for Layer { norm, attention, ffn } in layers {
            attention.run(backend, &pass, (norm, rope), projected, x)?;
            backend.gated_ffn(ffn, x)?;
        }
        output.run(backend, embed, batch, x)
    }

    fn sites(&self) -> &[Site] {
        &self.sites
    }

    fn clock(&self) -> Option<&Clock> {
        self.backend.clock()
    }
}

impl<B: Backend> Builder<'_, B> {
    fn layer(&mut self, index: usize, settings: Settings) -> Result<Layer<B>> {
        let ModelConfig { heads, kv_heads, head_dim, hidden_size: hidden, qkv_bias, .. } = *self.config;
        let (q_width, kv_width) = (heads * head_dim, kv_heads * head_dim);
        let (q_role, k_role) = (Role::Rotary { heads }, Role::Rotary { heads: kv_heads });
        let v_role = Role::Value { shared: kv_heads < heads };
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let shape = KvShape { kv_heads, head_dim, kv_type: settings.kv_type };
        let norm = self.norm(&name("input_layernorm"))?;
        let attention = Attention {
            q: self.adaptable(&name("self_attn.q_proj"), (q_width, hidden), q_role, qkv_bias)?,
            k: self.adaptable(&name("self_attn.k_proj"), (kv_width, hidden), k_role, qkv_bias)?,
            v: self.adaptable(&name("self_attn.v_proj"), (kv_width, hidden), v_role, qkv_bias)?,
            o: self.adaptable(&name("self_attn.o_proj"), (hidden, q_width), Role::Plain, self.config.o_bias)?,
            kv: self.backend.kv(shape, settings.pages)?,
        };
        Ok(Layer { norm, attention, ffn: self.ffn(name)? })
    }

    fn ffn(&mut self, name: impl Fn(&str) -> String) -> Result<GatedFfn<B>> {
        let ModelConfig { hidden_size: hidden, intermediate_size: inner, .. } = *self.config;
        Ok(GatedFfn {
            norm: self.norm(&name("post_attention_layernorm"))?,
            gate: self.adaptable(&name("mlp.gate_proj"), (inner, hidden), Role::Plain, false)?,
            up: self.adaptable(&name("mlp.up_proj"), (inner, hidden), Role::Plain, false)?,
            down: self.adaptable(&name("mlp.down_proj"), (hidden, inner), Role::Plain, false)?,
        })
    }
}
