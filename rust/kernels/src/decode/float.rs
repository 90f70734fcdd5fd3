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
