//! SymbioSLM, SymbioGPT, VocabFusion and MonarchSLM: layers that mix the sequence with organelles, weighed by a gate that does not
//! depend on the input. Gate and skip scales are folded into the organelles' weights. Knows no number and no file.
use super::{
    ModelConfig, Organelle, Organelles, Role, Settings, Weights,
    attention::{Attention, Projected},
    builder::Builder,
    output::Output,
    rope, rows,
    symbio_mixer::gain_of,
};
use crate::{
    Error, Result,
    backends::{Backend, GatedFfn, KvShape, LayerNorm, Linear, Norm, Rope},
    batch::{Batch, Limits, Model, SegmentOutput},
    clock::{Clock, Operation},
};

/// Of PyTorch's LayerNorm.
const JUNCTION_EPS: f32 = 1e-5;

/// A decoder whose layers have organelles where others have attention.
pub struct Symbio<B: Backend> {
    backend: B,
    limits: Limits,
    embed: Linear<B>, // tok_emb (vocab, hidden), or donor (vocab, donor); the head as well
    junction: Option<Junction<B>>,
    layers: Vec<Layer<B>>,
    output: Output<B>, // ln_f (hidden), out_proj (donor, hidden)
    heads: Option<Heads<B>>,
    x: B::Buffer,
    normed: B::Buffer,
}

/// What all attention layers share.
struct Heads<B: Backend> {
    rope: Rope<B>,
    projected: Projected<B>,
}

/// From a donor's embedding to the residual stream: `silu(norm(proj(e)))`.
struct Junction<B: Backend> {
    proj: Linear<B>, // junction.proj (hidden, donor)
    norm: LayerNorm<B>,
    embedded: B::Buffer,
}

struct Layer<B: Backend> {
    norm: Norm<B>, // ln1 (hidden)
    mixing: Option<Mixing<B>>,
    attention: Option<Attention<B>>, // organelle_modules.attention.{wq,wk,wv,wo}
    ffn: GatedFfn<B>,                // ln2, ffn.w1, ffn.v, ffn.w2
}

/// Convolutions and Monarch matrices.
struct Mixing<B: Backend> {
    mixer: B::Mixer,
    window: B::Window,
}

impl<B: Backend> Heads<B> {
    fn new(backend: &mut B, config: &ModelConfig, settings: Settings) -> Result<Self> {
        let (cos, sin) = rope::tables(config, settings.context_length);
        let width = config.heads * config.head_dim;
        let rope = Rope { cos: backend.vector(cos)?, sin: backend.vector(sin)? };
        Ok(Self { rope, projected: Projected::new(backend, width, width)? })
    }
}

impl<B: Backend> Symbio<B> {
    /// Takes the weights onto the backend. A missing or misshapen tensor is [`crate::Error::Model`].
    pub fn new(config: &ModelConfig, settings: Settings, backend: B, weights: &dyn Weights) -> Result<Self> {
        let Some(organelles) = &config.organelles else {
            return Err(Error::Model("the configuration names no organelles".into()));
        };
        let mut build = Builder::new(backend, weights, config);
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let (table, embedding) = match organelles.donor_size {
            None => ("tok_emb", hidden),
            Some(donor) => ("donor", donor),
        };
        let embed = build.linear(table, (vocab, embedding), Role::Vocabulary, false)?;
        let junction = organelles.donor_size.map(|donor| build.junction(donor)).transpose()?;
        let layers =
            (0..config.layers).map(|index| build.symbio_layer(index, organelles, settings)).collect::<Result<_>>()?;
        let norm = build.norm("ln_f")?;
        let projection = match organelles.donor_size {
            None => None,
            Some(donor) => Some(build.linear("out_proj", (donor, hidden), Role::Plain, false)?),
        };
        let mut backend = build.backend;
        let limits = settings.limits(config, true);
        let output = Output::new(&mut backend, (hidden, embedding, vocab), norm, projection, None)?;
        let heads = config.has_attention().then(|| Heads::new(&mut backend, config, settings)).transpose()?;
        let (x, normed) = (backend.buffer(hidden)?, backend.buffer(hidden)?);
        Ok(Self { backend, limits, embed, junction, layers, output, heads, x, normed })
    }
}

impl<B: Backend> Model for Symbio<B> {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<SegmentOutput>> {
        rows::check(batch, self)?;
        let Self { backend, embed, junction, layers, output, heads, x, normed, .. } = self;
        let pass = backend.begin(batch)?;
        match junction {
            None => backend.embed(&pass, &embed.weight, x)?,
            Some(Junction { proj, norm, embedded }) => {
                backend.embed(&pass, &embed.weight, embedded)?;
                backend.project(Operation::Rest, embedded, proj, x)?;
                backend.layer_norm_silu(x, norm)?;
            }
        }
        for Layer { norm, mixing, attention, ffn } in layers {
            // All organelles read the same input, so it is taken before any of them adds to x.
            if mixing.is_some() {
                backend.norm(x, norm, normed)?;
            }
            if let (Some(attention), Some(Heads { rope, projected })) = (attention, heads.as_mut()) {
                attention.run(backend, &pass, (norm, rope), projected, x)?;
            }
            if let Some(Mixing { mixer, window }) = mixing {
                backend.mix(&pass, normed, mixer, window, x)?;
            }
            backend.gated_ffn(ffn, x)?;
        }
        output.run(backend, embed, batch, x)
    }

    fn clock(&self) -> Option<&Clock> {
        self.backend.clock()
    }
}

impl<B: Backend> Builder<'_, B> {
    fn junction(&mut self, donor: usize) -> Result<Junction<B>> {
        let hidden = self.config.hidden_size;
        let proj = self.linear("junction.proj", (hidden, donor), Role::Plain, false)?;
        let [weight, bias] =
            ["weight", "bias"].map(|part| self.values(&format!("junction.norm.{part}"), &[hidden], Role::Plain));
        let norm =
            LayerNorm { weight: self.backend.vector(weight?)?, bias: self.backend.vector(bias?)?, eps: JUNCTION_EPS };
        Ok(Junction { proj, norm, embedded: self.backend.buffer(donor)? })
    }

    fn symbio_layer(&mut self, index: usize, organelles: &Organelles, settings: Settings) -> Result<Layer<B>> {
        let block = format!("blocks.{index}");
        let gains = self.gains(organelles, index)?;
        let attention = match gain_of(&gains, Organelle::Attention) {
            Some(gain) => Some(self.symbio_attention(&block, gain, settings)?),
            None => None,
        };
        let mixing = match self.config.window(index) {
            Some(shape) => {
                let mixer = self.mixer(organelles, index, &gains)?;
                let window = self.backend.window(shape, settings.pages)?;
                Some(Mixing { mixer: self.backend.mixer(mixer)?, window })
            }
            None => None,
        };
        let scale = self.skip_scale(organelles, index, 2)?;
        Ok(Layer { norm: self.norm(&format!("{block}.ln1"))?, mixing, attention, ffn: self.symbio_ffn(&block, scale)? })
    }

    fn symbio_attention(&mut self, block: &str, gain: &[f32], settings: Settings) -> Result<Attention<B>> {
        let ModelConfig { heads, head_dim, hidden_size: hidden, .. } = *self.config;
        let width = heads * head_dim;
        let name = |part: &str| format!("{block}.seq_mixer.organelle_modules.attention.{part}");
        let shape = KvShape { kv_heads: heads, head_dim, kv_type: settings.kv_type };
        Ok(Attention {
            q: self.linear(&name("wq"), (width, hidden), Role::Plain, false)?,
            k: self.linear(&name("wk"), (width, hidden), Role::Plain, false)?,
            v: self.linear(&name("wv"), (width, hidden), Role::Plain, false)?,
            o: self.scaled_linear(&name("wo"), (hidden, width), gain)?,
            kv: self.backend.kv(shape, settings.pages)?,
        })
    }

    fn symbio_ffn(&mut self, block: &str, scale: f32) -> Result<GatedFfn<B>> {
        let ModelConfig { hidden_size: hidden, intermediate_size: inner, .. } = *self.config;
        Ok(GatedFfn {
            norm: self.norm(&format!("{block}.ln2"))?,
            gate: self.linear(&format!("{block}.ffn.w1"), (inner, hidden), Role::Plain, false)?,
            up: self.linear(&format!("{block}.ffn.v"), (inner, hidden), Role::Plain, false)?,
            down: self.scaled_linear(&format!("{block}.ffn.w2"), (hidden, inner), &vec![scale; hidden])?,
        })
    }
}
