//! Float formats to f32: exact, nothing is rounded.

pub(super) fn f32(row: &[u8], out: &mut [f32]) {
    for (value, bytes) in out.iter_mut().zip(row.as_chunks().0) {
        *value = f32::from_le_bytes(*bytes);
    }
}

pub(super) fn f16(row: &[u8], out: &mut [f32]) {
    for (value, bytes) in out.iter_mut().zip(row.as_chunks().0) {
        *value = half::f16::from_le_bytes(*bytes).to_f32();
    }
}

pub(super) fn bf16(row: &[u8], out: &mut [f32]) {
    for (value, bytes) in out.iter_mut().zip(row.as_chunks().0) {
        *value = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    }
}

pub(super) fn f8_e4m3(row: &[u8], out: &mut [f32]) {
    for (value, &code) in out.iter_mut().zip(row) {
        *value = e4m3(code);
    }
}

/// Sign, 4 bits of exponent (bias 7), 3 of mantissa; no infinities. Format: OCP 8-bit Floating Point Specification, revision 1.0.
pub(crate) fn e4m3(code: u8) -> f32 {
    let (exponent, mantissa) = (u32::from(code >> 3 & 15), u32::from(code & 7));
    let magnitude = match (exponent, mantissa) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa as f32 / 512.0,
        // f32's bias is 127.
        _ => f32::from_bits((exponent + 120) << 23 | mantissa << 20),
    };
    if code < 0x80 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_e4m3_code_has_the_value_of_its_fields_and_is_an_f16() {
        for code in 0..=255u8 {
            let (sign, exponent, mantissa) = (code >> 7, i32::from(code >> 3 & 15), f64::from(code & 7));
            let value = e4m3(code);
            assert_eq!(u8::from(value.is_sign_negative()), sign, "{code:#x}");
            if code & 0x7f == 0x7f {
                assert!(value.is_nan(), "{code:#x}: {value}");
                continue;
            }
            let magnitude = match exponent {
                0 => mantissa / 8.0 * 2f64.powi(-6),
                _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
            };
            assert_eq!(f64::from(value.abs()), magnitude, "{code:#x}");
            assert_eq!(f16::from_f32(value).to_f32().to_bits(), value.to_bits(), "{code:#x}");
        }
        assert_eq!([0x7e, 0x01, 0xb8].map(e4m3), [448.0, 2f32.powi(-9), -1.0]);
    }
}
