//! Number formats of packed matrices. Knows their names, not their layout.
use std::fmt;

use crate::DType;

/// How a packed matrix holds its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    BF16,
    /// Ours: signed 8 bits, one f16 scale per 32 columns (8.5 bits per weight).
    Q8,
    /// Ours: signed 6 bits, an 8-bit scale per 32 columns over an f16 per row (6.25 bits per weight).
    Q6,
    /// Ours: 4 bits, asymmetric; an 8-bit scale and minimum per 32 columns over an f16 per row (4.5 bits per weight).
    Q4,
    /// A GGUF format, bits kept. The float formats are spelled above, never so.
    Ggml(DType),
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 18] = {
        use DType::*;
        let ggml = [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS];
        let mut all = [Format::F32; 18];
        let ours = [Format::F32, Format::F16, Format::BF16, Format::Q8, Format::Q6, Format::Q4];
        let mut i = 0;
        while i < 18 {
            all[i] = if i < 6 { ours[i] } else { Format::Ggml(ggml[i - 6]) };
            i += 1;
        }
        all
    };

    /// The packed format that keeps every value of a file's format: its bits, but for `F8_E4M3`, which becomes f16.
    pub fn keeping(dtype: DType) -> Format {
        match dtype {
            DType::F32 => Format::F32,
            DType::F16 | DType::F8_E4M3 => Format::F16,
            DType::BF16 => Format::BF16,
            quantized => Format::Ggml(quantized),
        }
    }

    /// The name in packed files and messages, such as `q8` or `Q4_K`.
    pub fn name(self) -> &'static str {
        match self {
            Format::F32 => "f32",
            Format::F16 => "f16",
            Format::BF16 => "bf16",
            Format::Q8 => "q8",
            Format::Q6 => "q6",
            Format::Q4 => "q4",
            Format::Ggml(dtype) => dtype.name(),
        }
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Whether activations are used as f32; otherwise they are quantized to 8 bits with a scale per 16 columns.
    pub fn is_float(self) -> bool {
        matches!(self, Format::F32 | Format::F16 | Format::BF16)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
