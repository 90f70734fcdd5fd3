//! Tiny models with random weights, for tests. Lists names and shapes on its own, so that a model that asks for others fails.
use std::{cell::RefCell, collections::BTreeMap};

use synapse_kernels::{DType, Format, Matrix, MonarchLayout};

use super::{
    Family, Gate, MatrixSpec, ModelConfig, Organelle, Organelles, RopeScaling, Settings, VectorSpec, Weights, build,
};
use crate::{
    Result,
    backends::{Cpu, KvType},
    batch::{Batch, Model, PAGE_TOKENS, PageId, Segment, TokenId, Want},
};

/// A Llama of odd sizes; tests change what they are about.
pub fn config() -> ModelConfig {
    ModelConfig {
        family: Family::Llama,
        vocab_size: 101,
        hidden_size: 52,
        intermediate_size: 75,
        layers: 2,
        heads: 3,
        kv_heads: 1,
        head_dim: 10,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        context_length: 200,
        tied_head: false,
        qkv_bias: false,
        o_bias: false,
        organelles: None,
    }
}

/// A Qwen2 whose rows are whole blocks of every GGUF format; seven query heads share a KV head.
pub fn qwen2_config() -> ModelConfig {
    ModelConfig {
        family: Family::Qwen2,
        hidden_size: 256,
        intermediate_size: 512,
        heads: 14,
        kv_heads: 2,
        head_dim: 128,
        norm_eps: 1e-6,
        rope_theta: 1_000_000.0,
        tied_head: true,
        qkv_bias: true,
        ..config()
    }
}

/// A SymbioGPT with every organelle in its first layer and fewer in its second.
pub fn symbio_config() -> ModelConfig {
    use Organelle::{Attention, CausalConv, LongConv, Monarch};
    ModelConfig {
        family: Family::Symbio,
        hidden_size: 64,
        kv_heads: 3,
        norm_eps: 1e-6,
        context_length: 256,
        tied_head: true,
        organelles: Some(Organelles {
            layers: vec![vec![CausalConv, Monarch, LongConv, Attention], vec![LongConv, CausalConv]],
            gate: Gate::Softmax { temperature: true },
            conv_taps: 4,
            monarch_heads: 2,
            monarch_layout: MonarchLayout::Torch,
            skip_scales: true,
            donor_size: None,
        }),
        ..config()
    }
}

/// [`symbio_config`] with other mixers.
pub fn symbio_with(change: impl Fn(&mut Organelles)) -> ModelConfig {
    let mut config = symbio_config();
    config.organelles.as_mut().into_iter().for_each(change);
    if !config.has_attention() {
        (config.heads, config.kv_heads, config.head_dim) = (0, 0, 0);
    }
    config
}

/// Numbers that look random and are the same every time.
pub fn noise(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        // SplitMix64 (Steele et al. 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// Tensors of a checkpoint: name to shape and values.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Every tensor of a model of this shape.
pub fn tensors(config: &ModelConfig) -> Tensors {
    let shapes = match &config.organelles {
        None => transformer_shapes(config),
        Some(organelles) => symbio_shapes(config, organelles),
    };
    shapes.into_iter().enumerate().map(|(seed, (name, shape))| (name, random(seed as u64, shape))).collect()
}

fn symbio_shapes(config: &ModelConfig, organelles: &Organelles) -> Vec<(String, Vec<usize>)> {
    let ModelConfig { hidden_size: hidden, intermediate_size: inner, vocab_size: vocab, .. } = *config;
    let width = config.heads * config.head_dim;
    let mut shapes = vec![("ln_f.weight".to_owned(), vec![hidden])];
    let mut whole = |name: &str, shape: &[usize]| shapes.push((name.to_owned(), shape.to_vec()));
    match organelles.donor_size {
        None => whole("tok_emb.weight", &[vocab, hidden]),
        Some(donor) => {
            whole("donor.weight", &[vocab, donor]);
            whole("junction.proj.weight", &[hidden, donor]);
            whole("junction.norm.weight", &[hidden]);
            whole("junction.norm.bias", &[hidden]);
            whole("out_proj.weight", &[donor, hidden]);
        }
    }
    for (layer, present) in organelles.layers.iter().enumerate() {
        let mut add = |name: &str, shape: &[usize]| shapes.push((format!("blocks.{layer}.{name}"), shape.to_vec()));
        let module = |name: &str| format!("seq_mixer.organelle_modules.{name}");
        for organelle in present {
            match organelle {
                Organelle::CausalConv => add(&module("causal_conv.weight"), &[hidden, 1, organelles.conv_taps]),
                Organelle::LongConv => add(&module("long_conv.kernel"), &[hidden, 1, config.context_length]),
                Organelle::Monarch => {
                    for head in 0..organelles.monarch_heads {
                        add(&module(&format!("monarch.{head}.L1")), &[16; 3]);
                        add(&module(&format!("monarch.{head}.L2")), &[16; 3]);
                    }
                }
                Organelle::Attention => {
                    for name in ["wq", "wk", "wv"] {
                        add(&module(&format!("attention.{name}.weight")), &[width, hidden]);
                    }
                    add(&module("attention.wo.weight"), &[hidden, width]);
                }
            }
        }
        match organelles.gate {
            Gate::Sigmoid => add("seq_mixer.gate.weight", &[hidden]),
            Gate::Softmax { temperature } => {
                add("seq_mixer.gate.logits", &[present.len(), hidden]);
                if temperature {
                    add("seq_mixer.gate.temperature", &[1]);
                }
            }
        }
        if organelles.skip_scales {
            add("skip1.scale", &[1]);
            add("skip2.scale", &[1]);
        }
        for (name, shape) in
            [("ln1", &[hidden][..]), ("ln2", &[hidden]), ("ffn.w1", &[inner, hidden]), ("ffn.v", &[inner, hidden])]
        {
            add(&format!("{name}.weight"), shape);
        }
        add("ffn.w2.weight", &[hidden, inner]);
    }
    shapes
}

fn transformer_shapes(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let ModelConfig { hidden_size: hidden, intermediate_size: inner, vocab_size: vocab, head_dim, .. } = *config;
    let (q, kv) = (config.heads * head_dim, config.kv_heads * head_dim);
    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![vocab, hidden])];
    shapes.push(("model.norm.weight".into(), vec![hidden]));
    if !config.tied_head {
        shapes.push(("lm_head.weight".into(), vec![vocab, hidden]));
    }
    for layer in 0..config.layers {
        let mut add =
            |name: &str, shape: &[usize]| shapes.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
        add("input_layernorm.weight", &[hidden]);
        add("post_attention_layernorm.weight", &[hidden]);
        for (name, rows, cols, bias) in [
            ("self_attn.q_proj", q, hidden, config.qkv_bias),
            ("self_attn.k_proj", kv, hidden, config.qkv_bias),
            ("self_attn.v_proj", kv, hidden, config.qkv_bias),
            ("self_attn.o_proj", hidden, q, config.o_bias),
            ("mlp.gate_proj", inner, hidden, false),
            ("mlp.up_proj", inner, hidden, false),
            ("mlp.down_proj", hidden, inner, false),
        ] {
            add(&format!("{name}.weight"), &[rows, cols]);
            if bias {
                add(&format!("{name}.bias"), &[rows]);
            }
        }
    }
    shapes
}

/// Norms lie around 1; matrices keep the size of what they multiply; biases are large enough to matter.
fn random(seed: u64, shape: Vec<usize>) -> (Vec<usize>, Vec<f32>) {
    let (centre, width) = match shape[..] {
        [_, cols] => (0.0, (3.0 / cols as f32).sqrt()),
        // Kernels of convolutions and sides of Monarch matrices.
        [_, _, values] => (0.0, (3.0 / values as f32).sqrt()),
        _ => (if seed.is_multiple_of(2) { 1.0 } else { 0.9 }, 0.5),
    };
    let uniform = |bits: u64| (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
    let values = noise(seed).take(shape.iter().product()).map(|bits| centre + width * uniform(bits)).collect();
    (shape, values)
}

/// Tensors packed to one format. GGUF formats get random blocks instead of the values.
pub struct TestWeights {
    pub tensors: Tensors,
    pub format: Format,
    /// Names asked for.
    pub asked: RefCell<Vec<String>>,
}

impl TestWeights {
    pub fn new(config: &ModelConfig, format: Format) -> Self {
        Self { tensors: tensors(config), format, asked: RefCell::default() }
    }

    fn values(&self, name: &str, shape: &[usize]) -> &[f32] {
        self.asked.borrow_mut().push(name.to_owned());
        let (found, values) = self.tensors.get(name).unwrap_or_else(|| panic!("no tensor {name}"));
        assert_eq!(found, shape, "{name}");
        values
    }
}

/// Blocks whose every byte is below 0x30, which makes every f16 in them small, positive and finite.
fn blocks(seed: u64, dtype: DType, rows: usize, cols: usize) -> Vec<u8> {
    let bytes = rows * dtype.row_bytes(cols).unwrap();
    noise(seed).take(bytes).map(|bits| (bits % 0x30) as u8).collect()
}

impl Weights for TestWeights {
    fn matrix(&self, spec: &MatrixSpec<'_>) -> Result<Matrix> {
        let (rows, cols) = spec.shape;
        let values = self.values(spec.name, &[rows, cols]);
        if let Format::Ggml(dtype) = self.format {
            let blocks = blocks(spec.name.len() as u64, dtype, rows, cols);
            let row_bytes = blocks.len() / rows;
            return Ok(Matrix::pack_blocks(dtype, rows, cols, |row| &blocks[row * row_bytes..][..row_bytes]));
        }
        let row = |row: usize, out: &mut [f32]| {
            let scale = spec.row_scale.map_or(1.0, |scale| scale[row]);
            out.iter_mut().zip(&values[row * cols..]).for_each(|(to, value)| *to = scale * value);
        };
        Ok(Matrix::pack_f32(self.format, rows, cols, row))
    }

    fn vector(&self, spec: &VectorSpec<'_>) -> Result<Vec<f32>> {
        Ok(self.values(spec.name, spec.shape).to_vec())
    }
}

/// A model on the CPU with 64 pages.
pub fn model(config: &ModelConfig, format: Format, kv_type: KvType, threads: usize) -> Box<dyn Model> {
    let settings = Settings { context_length: config.context_length, pages: 64, kv_type };
    build(config, settings, Cpu::new(threads), &TestWeights::new(config, format)).unwrap()
}

/// `len` tokens of a vocabulary.
pub fn text(seed: u64, len: usize, vocab_size: usize) -> Vec<TokenId> {
    noise(seed).take(len).map(|bits| (bits % vocab_size as u64) as TokenId).collect()
}

/// Tokens `range` of a text whose pages are the ones given.
pub fn segment(text: &[TokenId], range: std::ops::Range<usize>, pages: &[PageId], want: Want) -> Segment {
    let pages = pages[..range.end.div_ceil(PAGE_TOKENS)].to_vec();
    Segment { tokens: text[range.clone()].to_vec(), start: range.start, pages, want, blend: None }
}

/// One segment on its own, as its logits.
pub fn run(model: &mut dyn Model, segment: Segment) -> Vec<f32> {
    let outputs = model.forward(&Batch { segments: vec![segment] }).unwrap();
    outputs.into_iter().next().unwrap().logits
}
