//! Weights of files to codes and scales, or to f32: the definition of what a block means. Knows no kernel and no repacked layout.
//!
//! Every quantized format is read as the same thing, a [`NativeGroup`]; the arithmetic on top of it is written once, here.
mod float;
mod iq4;
mod k_quants;
mod legacy;

use half::f16;

use crate::DType;

pub(crate) use float::e4m3;
pub use iq4::IQ4_VALUES;

/// Values in one group.
pub const GROUP_VALUES: usize = 32;

/// 32 consecutive weights of one row as numbers: `value = d * (code - offset) + m`, with [`offset`] fixed per format.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// Unsigned codes, in the order of the row.
    pub codes: [u8; GROUP_VALUES],
    /// Scale of the first and of the second 16 values.
    pub d: [f32; 2],
    /// Added to the first and to the second 16 values; `-0.0`, which adds nothing bit for bit, where the format has none.
    pub m: [f32; 2],
}

/// The same 32 weights with the bits of the file: `value = d * scale * (code - offset) - dmin * min`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NativeGroup {
    /// Unsigned codes, in the order of the row.
    pub codes: [u8; GROUP_VALUES],
    /// The block's scale.
    pub d: f16,
    /// The block's scale of minima; 0 where the format has none.
    pub dmin: f16,
    /// Integer scale of the first and of the second 16 values; 1 in formats with one scale per block.
    pub scale: [i32; 2],
    /// Integer minimum of the first and of the second 16 values; -1 where the block holds a plain addend (Q4_1, Q5_1).
    pub min: [i32; 2],
}

impl From<NativeGroup> for Group {
    /// Exact: a product of an 11-bit and an at most 8-bit mantissa always fits f32.
    fn from(native: NativeGroup) -> Group {
        let (d, dmin) = (native.d.to_f32(), native.dmin.to_f32());
        Group {
            codes: native.codes,
            d: native.scale.map(|scale| d * scale as f32),
            m: native.min.map(|min| -(dmin * min as f32)),
        }
    }
}

/// What is subtracted from the codes of a format; 0 for formats without codes.
pub const fn offset(dtype: DType) -> i32 {
    use DType::*;
    match dtype {
        F32 | F16 | BF16 | F8_E4M3 | Q4_1 | Q5_1 | Q2_K | Q4_K | Q5_K => 0,
        Q3_K => 4,
        Q4_0 => 8,
        Q5_0 => 16,
        Q6_K => 32,
        Q8_0 | IQ4_NL | IQ4_XS => 128,
    }
}

/// Group `group` (of 32 values) of a row of blocks, with the scales as the file has them.
///
/// # Panics
/// If `dtype` is a float format or the row has no such group.
#[inline]
pub fn native_group(dtype: DType, row: &[u8], group: usize) -> NativeGroup {
    let groups = dtype.block_values() / GROUP_VALUES;
    assert!(groups > 0, "{dtype:?} is not quantized");
    let block = &row[group / groups * dtype.block_bytes()..][..dtype.block_bytes()];
    let group = group % groups;
    match dtype {
        DType::Q4_0 => legacy::q4_0(block),
        DType::Q4_1 => legacy::q4_1(block),
        DType::Q5_0 => legacy::q5_0(block),
        DType::Q5_1 => legacy::q5_1(block),
        DType::Q8_0 => legacy::q8_0(block),
        DType::Q2_K => k_quants::q2(block, group),
        DType::Q3_K => k_quants::q3(block, group),
        DType::Q4_K => k_quants::q4(block, group),
        DType::Q5_K => k_quants::q5(block, group),
        DType::Q6_K => k_quants::q6(block, group),
        DType::IQ4_NL => iq4::nl(block),
        DType::IQ4_XS => iq4::xs(block, group),
        DType::F32 | DType::F16 | DType::BF16 | DType::F8_E4M3 => unreachable!("checked above"),
    }
}

/// Group `group` (of 32 values) of a row of blocks.
///
/// # Panics
/// If `dtype` is a float format or the row has no such group.
#[inline]
pub fn decode_group(dtype: DType, row: &[u8], group: usize) -> Group {
    native_group(dtype, row, group).into()
}

/// The values of a row (or of several that lie one after the other), any format. Equal bit for bit to `gguf.quants.dequantize`,
/// and F8_E4M3 to PyTorch's `float8_e4m3fn`.
///
/// # Panics
/// If `row` and `out` do not hold the same whole number of blocks.
pub fn dequantize(dtype: DType, row: &[u8], out: &mut [f32]) {
    assert_eq!(dtype.row_bytes(out.len()), Some(row.len()), "{} values of {dtype:?}", out.len());
    match dtype {
        DType::F32 => float::f32(row, out),
        DType::F16 => float::f16(row, out),
        DType::BF16 => float::bf16(row, out),
        DType::F8_E4M3 => float::f8_e4m3(row, out),
        _ => {
            for (index, values) in out.chunks_exact_mut(GROUP_VALUES).enumerate() {
                group_values(&decode_group(dtype, row, index), offset(dtype), values);
            }
        }
    }
}

/// The order of operations is part of the format: product first, rounded, then the sum. Never a fused multiply-add.
#[inline]
fn group_values(group: &Group, offset: i32, out: &mut [f32]) {
    for (half, values) in out.chunks_exact_mut(GROUP_VALUES / 2).enumerate() {
        let (d, m) = (group.d[half], group.m[half]);
        for (value, &code) in values.iter_mut().zip(&group.codes[half * GROUP_VALUES / 2..]) {
            *value = d * (i32::from(code) - offset) as f32 + m;
        }
    }
}

/// The f16 at byte `at` of a block.
fn half_at(block: &[u8], at: usize) -> f16 {
    f16::from_le_bytes([block[at], block[at + 1]])
}

/// Codes of 16 bytes: the low nibbles are the first 16 values, the high nibbles the second.
fn nibbles(bytes: &[u8]) -> [u8; GROUP_VALUES] {
    let mut codes = [0; GROUP_VALUES];
    for (index, &byte) in bytes[..GROUP_VALUES / 2].iter().enumerate() {
        codes[index] = byte & 15;
        codes[index + GROUP_VALUES / 2] = byte >> 4;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks and their values as the `gguf` package and PyTorch compute them; see tests/goldens/dequantize.py.
    fn golden(dtype: DType) -> (Vec<u8>, Vec<u32>) {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens/dequantize");
        let bytes = std::fs::read(format!("{root}/{dtype:?}.bin")).unwrap();
        let blocks = bytes.len() / (dtype.block_bytes() + 4 * dtype.block_values());
        assert!(blocks >= 4);
        let (blocks, values) = bytes.split_at(blocks * dtype.block_bytes());
        (blocks.to_vec(), values.chunks_exact(4).map(|v| u32::from_le_bytes(v.try_into().unwrap())).collect())
    }

    #[test]
    fn every_format_equals_its_reference_bit_for_bit() {
        for dtype in DType::ALL {
            let (blocks, expected) = golden(dtype);
            let mut values = vec![0.0; expected.len()];
            dequantize(dtype, &blocks, &mut values);
            for (index, (value, &expected)) in values.iter().zip(&expected).enumerate() {
                let wanted = f32::from_bits(expected);
                assert_eq!(value.to_bits(), expected, "{dtype:?}[{index}]: {value} instead of {wanted}");
            }
        }
    }

    #[test]
    fn any_bytes_decode_without_panic_and_codes_stay_in_range() {
        let bits = |dtype| match dtype {
            DType::Q2_K => 2,
            DType::Q3_K => 3,
            DType::Q4_0 | DType::Q4_1 | DType::Q4_K => 4,
            DType::Q5_0 | DType::Q5_1 | DType::Q5_K => 5,
            DType::Q6_K => 6,
            _ => 8,
        };
        for dtype in DType::ALL.into_iter().filter(|dtype| dtype.block_values() > 1) {
            for byte in [0, 0x55, 0xaa, 0xff] {
                let block = vec![byte; dtype.block_bytes()];
                for group in 0..dtype.block_values() / GROUP_VALUES {
                    let group = decode_group(dtype, &block, group);
                    assert!(group.codes.iter().all(|&code| u32::from(code) < 1 << bits(dtype)), "{dtype:?}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "33 values")]
    fn a_broken_row_is_a_caller_bug() {
        dequantize(DType::Q4_0, &[0; 18], &mut [0.0; 33]);
    }
}
