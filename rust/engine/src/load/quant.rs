//! Which number format each weight gets.
use synapse_kernels::{DType, Format};

use crate::architectures::Role;

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quant {
    /// GGUF keeps its bits; safetensors become [`Quant::Q8`].
    Auto,
    /// 8 bits in groups of 32.
    Q8,
    /// 4 bits in groups of 32; embedding, head and shared values get 6.
    Q4,
    /// Half precision.
    F16,
    /// As exact as the file: floats keep their bits, quantized blocks become f32.
    None,
}

impl Quant {
    /// All of them.
    pub const ALL: [Quant; 5] = [Quant::Auto, Quant::Q8, Quant::Q4, Quant::F16, Quant::None];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Quant::Auto => "auto",
            Quant::Q8 => "q8",
            Quant::Q4 => "q4",
            Quant::F16 => "f16",
            Quant::None => "none",
        }
    }

    /// The option of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quant| quant.name() == name)
    }

    /// The format of a matrix that the file holds as `found`; `native` files bring their own quantization.
    pub fn format(self, native: bool, found: DType, role: Role) -> Format {
        match self {
            Quant::Auto if native => Format::keeping(found),
            Quant::Auto | Quant::Q8 => Format::Q8,
            Quant::Q4 => match role {
                Role::Vocabulary | Role::Value { shared: true } => Format::Q6,
                Role::Plain | Role::Rotary { .. } | Role::Value { shared: false } => Format::Q4,
            },
            Quant::F16 => Format::F16,
            Quant::None if found.block_values() > 1 => Format::F32,
            Quant::None => Format::keeping(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use synapse_kernels::Matrix;

    use super::*;

    #[test]
    fn auto_keeps_native_bits_and_packs_floats_to_eight() {
        let auto = |native, found| Quant::Auto.format(native, found, Role::Plain);
        assert_eq!(auto(true, DType::Q4_K), Format::Ggml(DType::Q4_K));
        assert_eq!(auto(true, DType::F16), Format::F16);
        assert_eq!(auto(false, DType::BF16), Format::Q8);
    }

    #[test]
    fn an_explicit_choice_holds_for_every_file() {
        for found in DType::ALL {
            assert_eq!(Quant::Q8.format(true, found, Role::Plain), Format::Q8);
            assert_eq!(Quant::Q4.format(true, found, Role::Plain), Format::Q4);
            assert_eq!(Quant::Q4.format(false, found, Role::Vocabulary), Format::Q6);
            assert_eq!(Quant::Q4.format(false, found, Role::Value { shared: true }), Format::Q6);
            assert_eq!(Quant::Q4.format(false, found, Role::Value { shared: false }), Format::Q4);
            assert_eq!(Quant::F16.format(false, found, Role::Rotary { heads: 2 }), Format::F16);
        }
        assert_eq!(Quant::None.format(true, DType::Q4_1, Role::Plain), Format::F32);
        assert_eq!(Quant::None.format(false, DType::BF16, Role::Plain), Format::BF16);
    }

    /// The promise of q4: on models with tied heads, not more bits than llama.cpp spends on Q4_0: 4.5 on layers, and on the
    /// head those of Q6_K, or of Q8_0 where rows are no multiple of 256.
    #[test]
    fn q4_takes_no_more_bits_than_q4_0() {
        // Layers, hidden, q, kv, ffn and vocabulary of SmolLM2 135M and 360M, Qwen2.5 0.5B, 1.5B and 3B.
        let models = [
            [30, 576, 576, 192, 1536, 49_152],
            [32, 960, 960, 320, 2560, 49_152],
            [24, 896, 896, 128, 4864, 151_936],
            [28, 1536, 1536, 256, 8960, 151_936],
            [36, 2048, 2048, 256, 11_008, 151_936],
        ];
        for [layers, hidden, q, kv, ffn, vocabulary] in models {
            let plain = [(q, hidden), (kv, hidden), (hidden, q), (ffn, hidden), (ffn, hidden), (hidden, ffn)];
            let value = ((kv, hidden), Role::Value { shared: true });
            let layer = plain.map(|shape| (shape, Role::Plain)).into_iter().chain([value]);
            let ours = |((rows, cols), role)| {
                Matrix::packed_bytes(Quant::Q4.format(false, DType::BF16, role), rows, cols).unwrap()
            };
            let head = if hidden % 256 == 0 { DType::Q6_K } else { DType::Q8_0 };
            let theirs = layer.clone().map(|((rows, cols), _)| rows * DType::Q4_0.row_bytes(cols).unwrap());
            let theirs = layers * theirs.sum::<usize>() + vocabulary * head.row_bytes(hidden).unwrap();
            let ours = layers * layer.map(ours).sum::<usize>() + ours(((vocabulary, hidden), Role::Vocabulary));
            assert!(ours <= theirs, "hidden size {hidden}: {ours} bytes, {theirs} in Q4_0");
        }
    }

    #[test]
    fn names_round_trip() {
        for quant in Quant::ALL {
            assert_eq!(Quant::from_name(quant.name()), Some(quant));
        }
        assert_eq!(Quant::from_name("q5"), None);
    }
}
