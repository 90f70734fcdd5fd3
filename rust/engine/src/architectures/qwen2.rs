//! Qwen2, Qwen2.5 and the Llama family: they differ by biases, tying and rotary settings. Knows no number and no file.
use super::{
    ModelConfig, Role, Settings, Weights,
    builder::Builder,
    rope,
    rows::{check, wanted_hidden, wanted_logits},
};
use crate::{
    Result,
    backends::{Backend, GatedFfn, KvShape, Linear, Norm, Rope},
    batch::{Batch, Model, SegmentOutput},
    clock::{Clock, Operation},
};

/// Rows that go through the output head at once: bounds the memory of logits, and is enough to keep the head busy.
const HEAD_ROWS: usize = 64;

/// A decoder-only transformer with grouped-query attention and a gated feed-forward network.
pub struct Qwen2<B: Backend> {
    pub(super) backend: B,
    vocab_size: usize,
    hidden_size: usize,
    settings: Settings,
    embed: Linear<B>, // model.embed_tokens (vocab, hidden); also the head if that is tied
    layers: Vec<Layer<B>>,
    norm: Norm<B>,           // model.norm (hidden)
    head: Option<Linear<B>>, // lm_head (vocab, hidden)
    rope: Rope<B>,
    buffers: Buffers<B>,
}

struct Layer<B: Backend> {
    input_norm: Norm<B>, // input_layernorm (hidden)
    q: Linear<B>,        // self_attn.q_proj (heads * head_dim, hidden)
    k: Linear<B>,        // self_attn.k_proj (kv_heads * head_dim, hidden)
    v: Linear<B>,        // self_attn.v_proj (kv_heads * head_dim, hidden)
    o: Linear<B>,        // self_attn.o_proj (hidden, heads * head_dim)
    ffn: GatedFfn<B>,    // post_attention_layernorm, mlp.gate_proj, mlp.up_proj, mlp.down_proj
    kv: B::Kv,
}

struct Buffers<B: Backend> {
    x: B::Buffer,
    q: B::Buffer,
    k: B::Buffer,
    v: B::Buffer,
    wanted: B::Buffer,
    normed: B::Buffer,
    logits: B::Buffer,
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
        let rope = Rope { cos: build.backend.vector(cos)?, sin: build.backend.vector(sin)? };
        let buffers = build.buffers()?;
        let backend = build.backend;
        Ok(Self { backend, vocab_size: vocab, hidden_size: hidden, settings, embed, layers, norm, head, rope, buffers })
    }

    /// Runs all layers; leaves the residual stream in `buffers.x`.
    fn run_layers(&mut self, batch: &Batch) -> Result<()> {
        let Self { backend, embed, layers, rope, buffers: Buffers { x, q, k, v, .. }, .. } = self;
        let pass = backend.begin(batch)?;
        backend.embed(&pass, &embed.weight, x)?;
        for layer in layers {
            let projections = [(&layer.q, &mut *q), (&layer.k, &mut *k), (&layer.v, &mut *v)];
            backend.norm_project(Operation::Qkv, x, &layer.input_norm, projections)?;
            backend.rope_and_store(&pass, rope, (&mut *q, &mut *k, &*v), &mut layer.kv)?;
            backend.attend(&pass, q, &layer.kv, &layer.o, x)?;
            backend.gated_ffn(&layer.ffn, x)?;
        }
        Ok(())
    }

    /// Final norm and output head, for the rows whose logits are wanted.
    fn head(&mut self, batch: &Batch, outputs: &mut [SegmentOutput]) -> Result<()> {
        let Self { backend, norm, embed, head, buffers: Buffers { x, wanted, logits, .. }, .. } = self;
        let head = head.as_ref().unwrap_or(embed);
        for wish in wanted_logits(batch).chunks(HEAD_ROWS) {
            backend.gather(x, wish, wanted)?;
            backend.norm_project(Operation::Head, wanted, norm, [(head, &mut *logits)])?;
            backend.read(logits, |row, values| outputs[wish[row].segment].logits.extend_from_slice(values))?;
        }
        Ok(())
    }

    /// Final norm, for the rows whose hidden state is wanted.
    fn hidden(&mut self, batch: &Batch, outputs: &mut [SegmentOutput]) -> Result<()> {
        let Self { backend, norm, buffers: Buffers { x, wanted, normed, .. }, .. } = self;
        for wish in wanted_hidden(batch).chunks(HEAD_ROWS) {
            backend.gather(x, wish, wanted)?;
            backend.norm(wanted, norm, normed)?;
            backend.read(normed, |row, values| outputs[wish[row].segment].hidden.extend_from_slice(values))?;
        }
        Ok(())
    }
}

impl<B: Backend> Model for Qwen2<B> {
    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn context_length(&self) -> usize {
        self.settings.context_length
    }

    fn page_count(&self) -> usize {
        self.settings.pages
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<SegmentOutput>> {
        check(batch, self)?;
        self.run_layers(batch)?;
        let mut outputs = vec![SegmentOutput::default(); batch.segments.len()];
        self.head(batch, &mut outputs)?;
        self.hidden(batch, &mut outputs)?;
        Ok(outputs)
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
        Ok(Layer {
            input_norm: self.norm(&name("input_layernorm"))?,
            q: self.linear(&name("self_attn.q_proj"), (q_width, hidden), q_role, qkv_bias)?,
            k: self.linear(&name("self_attn.k_proj"), (kv_width, hidden), k_role, qkv_bias)?,
            v: self.linear(&name("self_attn.v_proj"), (kv_width, hidden), v_role, qkv_bias)?,
            o: self.linear(&name("self_attn.o_proj"), (hidden, q_width), Role::Plain, self.config.o_bias)?,
            ffn: self.ffn(name)?,
            kv: self.backend.kv(shape, settings.pages)?,
        })
    }

    fn ffn(&mut self, name: impl Fn(&str) -> String) -> Result<GatedFfn<B>> {
        let ModelConfig { hidden_size: hidden, intermediate_size: inner, .. } = *self.config;
        Ok(GatedFfn {
            norm: self.norm(&name("post_attention_layernorm"))?,
            gate: self.linear(&name("mlp.gate_proj"), (inner, hidden), Role::Plain, false)?,
            up: self.linear(&name("mlp.up_proj"), (inner, hidden), Role::Plain, false)?,
            down: self.linear(&name("mlp.down_proj"), (hidden, inner), Role::Plain, false)?,
        })
    }

    fn buffers(&mut self) -> Result<Buffers<B>> {
        let ModelConfig { heads, kv_heads, head_dim, hidden_size, vocab_size, .. } = *self.config;
        let mut buffer = |features| self.backend.buffer(features);
        Ok(Buffers {
            x: buffer(hidden_size)?,
            q: buffer(heads * head_dim)?,
            k: buffer(kv_heads * head_dim)?,
            v: buffer(kv_heads * head_dim)?,
            wanted: buffer(hidden_size)?,
            normed: buffer(hidden_size)?,
            logits: buffer(vocab_size)?,
        })
    }
}
