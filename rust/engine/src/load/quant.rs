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
    /// 4 bits in groups of 32; embedding and head get 6.
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
            Quant::Q4 if role == Role::Vocabulary => Format::Q6,
            Quant::Q4 => Format::Q4,
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
            assert_eq!(Quant::F16.format(false, found, Role::Rotary { heads: 2 }), Format::F16);
        }
        assert_eq!(Quant::None.format(true, DType::Q4_1, Role::Plain), Format::F32);
        assert_eq!(Quant::None.format(false, DType::BF16, Role::Plain), Format::BF16);
    }

    /// The promise of q4: at most 5 bits per weight over all weights, embedding and norms included, on SmolLM2-135M.
    #[test]
    fn q4_takes_at_most_five_bits_on_smollm2() {
        let layer = [(576, 576), (192, 576), (192, 576), (576, 576), (1536, 576), (1536, 576), (576, 1536)];
        let layers = layer.iter().cycle().take(30 * layer.len()).map(|&shape| (shape, Role::Plain));
        let (mut bytes, mut weights) = (0, 0);
        for ((rows, cols), role) in layers.chain([((49_152, 576), Role::Vocabulary)]) {
            bytes += Matrix::packed_bytes(Quant::Q4.format(false, DType::BF16, role), rows, cols).unwrap();
            weights += rows * cols;
        }
        let norms = (2 * 30 + 1) * 576;
        let bits = 8.0 * (bytes + norms * size_of::<f32>()) as f64 / (weights + norms) as f64;
        assert!(bits <= 5.0, "{bits}");
    }

    #[test]
    fn names_round_trip() {
        for quant in Quant::ALL {
            assert_eq!(Quant::from_name(quant.name()), Some(quant));
        }
        assert_eq!(Quant::from_name("q5"), None);
    }
}
