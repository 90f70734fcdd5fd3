//! Writes small GGUF files for tests, honest and otherwise: every field can be set to a lie.
use synapse_kernels::DType;

#[derive(Clone)]
pub struct Writer {
    pub magic: [u8; 4],
    pub version: u32,
    pub tensor_count: Option<u64>,
    pub entry_count: Option<u64>,
    pub alignment: usize,
    pub entries: Vec<Vec<u8>>,
    pub tensors: Vec<Tensor>,
}

#[derive(Clone)]
pub struct Tensor {
    pub name: Vec<u8>,
    /// Innermost first, as in the file.
    pub dimensions: Vec<u64>,
    pub kind: u32,
    /// `None`: right behind the tensor before it.
    pub offset: Option<u64>,
    pub data: Vec<u8>,
}

pub fn text(value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [&(value.len() as u64).to_le_bytes(), value].concat()
}

pub fn u32_value(value: u32) -> Vec<u8> {
    [4u32.to_le_bytes(), value.to_le_bytes()].concat()
}

pub fn f32_value(value: f32) -> Vec<u8> {
    [6u32.to_le_bytes(), value.to_le_bytes()].concat()
}

pub fn text_value(value: impl AsRef<[u8]>) -> Vec<u8> {
    [8u32.to_le_bytes().to_vec(), text(value)].concat()
}

/// An array of elements of type `kind`, already written.
pub fn array_value(kind: u32, elements: &[Vec<u8>]) -> Vec<u8> {
    let head = [&9u32.to_le_bytes()[..], &kind.to_le_bytes(), &(elements.len() as u64).to_le_bytes()].concat();
    [head, elements.concat()].concat()
}

impl Writer {
    pub fn empty() -> Writer {
        Writer {
            magic: *b"GGUF",
            version: 3,
            tensor_count: None,
            entry_count: None,
            alignment: 32,
            entries: vec![],
            tensors: vec![],
        }
    }

    /// A sound two-layer model of width 32 with 4 heads over 2 and 6 tokens.
    pub fn model(architecture: &str) -> Writer {
        let mut writer = Writer::empty();
        writer.set("general.architecture", text_value(architecture));
        let numbers = [
            ("block_count", 2),
            ("context_length", 64),
            ("embedding_length", 32),
            ("feed_forward_length", 64),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
        ];
        for (key, value) in numbers {
            writer.set(&format!("{architecture}.{key}"), u32_value(value));
        }
        writer.set(&format!("{architecture}.attention.layer_norm_rms_epsilon"), f32_value(1e-5));
        writer.set("tokenizer.ggml.model", text_value("gpt2"));
        let tokens: Vec<_> = ["a", "b", "ab", "é", "<|end|>", "<|eot|>"].into_iter().map(text).collect();
        writer.set("tokenizer.ggml.tokens", array_value(8, &tokens));
        writer.set("tokenizer.ggml.merges", array_value(8, &[text("a b")]));
        writer.set("tokenizer.ggml.eos_token_id", u32_value(4));
        writer.set("tokenizer.ggml.eot_token_id", u32_value(5));
        writer.set("tokenizer.chat_template", text_value("{{ messages }}"));
        writer.add("token_embd.weight", &[32, 6], DType::Q8_0);
        writer.add("output_norm.weight", &[32], DType::F32);
        for layer in 0..2 {
            let parts: [(&str, &[u64], DType); 9] = [
                ("attn_norm", &[32], DType::F32),
                ("ffn_norm", &[32], DType::F32),
                ("attn_q", &[32, 32], DType::Q4_1),
                ("attn_k", &[32, 16], DType::Q4_0),
                ("attn_v", &[32, 16], DType::Q5_1),
                ("attn_output", &[32, 32], DType::F16),
                ("ffn_gate", &[32, 64], DType::IQ4_NL),
                ("ffn_up", &[32, 64], DType::BF16),
                ("ffn_down", &[64, 32], DType::Q5_0),
            ];
            for (part, dimensions, dtype) in parts {
                writer.add(&format!("blk.{layer}.{part}.weight"), dimensions, dtype);
            }
        }
        writer
    }

    /// Adds a metadata entry, or replaces it.
    pub fn set(&mut self, key: &str, value: Vec<u8>) {
        let start = text(key);
        self.entries.retain(|entry| !entry.starts_with(&start));
        self.entries.push([start, value].concat());
    }

    pub fn remove(&mut self, key: &str) {
        self.entries.retain(|entry| !entry.starts_with(&text(key)));
    }

    pub fn add(&mut self, name: &str, dimensions: &[u64], dtype: DType) {
        let shape: Vec<usize> = dimensions.iter().rev().map(|&size| size as usize).collect();
        let bytes = crate::files::limits::tensor_bytes(dtype, &shape).unwrap();
        let kind = super::header::DTYPES.iter().find(|(_, known)| *known == dtype).unwrap().0;
        // 0x3c as the high byte of every f16 and bf16 keeps all numbers finite.
        let data = vec![0x3c; bytes];
        self.tensors.push(Tensor { name: name.into(), dimensions: dimensions.to_vec(), kind, offset: None, data });
    }

    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|tensor| tensor.name == name.as_bytes()).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.entry_count.unwrap_or(self.entries.len() as u64).to_le_bytes());
        out.extend(self.entries.concat());
        let mut data = Vec::new();
        for tensor in &self.tensors {
            out.extend(text(&tensor.name));
            out.extend((tensor.dimensions.len() as u32).to_le_bytes());
            out.extend(tensor.dimensions.iter().flat_map(|size| size.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.data);
            data.resize(data.len().next_multiple_of(self.alignment), 0);
        }
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(data);
        out
    }
}
