//! Keys and values of one layer, in pages of 16 tokens. Knows layout and number format, not who owns a page.
//!
//! A page holds, for each KV head: keys transposed, `(head_dim, 16)`, so that one vector is one dimension of 16 tokens; then
//! values, `(16, head_dim)` with rows padded to whole vectors; then, for q8, the 16 scales of the keys and of the values.
use half::{f16, slice::HalfFloatSliceExt};

use crate::{PAGE_TOKENS, bytes::AlignedBytes, simd::LANES};

/// Number format of cached keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvType {
    /// 32-bit floats.
    F32,
    /// IEEE half precision.
    F16,
    /// 8 bits with one f32 scale per token and head.
    Q8,
}

impl KvType {
    /// Bytes of one number.
    pub const fn bytes(self) -> usize {
        match self {
            KvType::F32 => 4,
            KvType::F16 => 2,
            KvType::Q8 => 1,
        }
    }
}

/// What a layer's cache looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Number format.
    pub kv_type: KvType,
}

impl KvShape {
    /// Head width rounded up to whole vectors.
    pub fn padded_dim(&self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }

    /// Where the values of a head begin, after its keys.
    pub fn values_at(&self) -> usize {
        self.head_dim * PAGE_TOKENS * self.kv_type.bytes()
    }

    /// Where the scales of a head begin.
    pub fn scales_at(&self) -> usize {
        self.values_at() + PAGE_TOKENS * self.padded_dim() * self.kv_type.bytes()
    }

    /// Bytes of one head in one page.
    pub fn head_bytes(&self) -> usize {
        let scales = if self.kv_type == KvType::Q8 { 2 * PAGE_TOKENS * 4 } else { 0 };
        self.scales_at() + scales
    }

    /// Bytes of one page.
    pub fn page_bytes(&self) -> usize {
        self.kv_heads * self.head_bytes()
    }
}

/// The pages of one layer.
pub struct KvLayer {
    shape: KvShape,
    pages: usize,
    bytes: AlignedBytes,
}

impl KvLayer {
    /// `pages` zeroed pages. Pages never written cost no memory.
    pub fn new(shape: KvShape, pages: usize) -> Self {
        Self { shape, pages, bytes: AlignedBytes::zeroed(shape.page_bytes() * pages) }
    }

    /// The shape.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// Number of pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut()
    }
}

/// Writes one token's key and value of one head into `head`, the head's bytes in a page.
pub(crate) fn store(shape: &KvShape, head: &mut [u8], slot: usize, key: &[f32], value: &[f32]) {
    let (keys, rest) = head.split_at_mut(shape.values_at());
    let (values, scales) = rest.split_at_mut(shape.scales_at() - shape.values_at());
    let row = slot * shape.padded_dim();
    match shape.kv_type {
        KvType::F32 => {
            scatter(bytemuck::cast_slice_mut(keys), slot, key.iter().copied());
            bytemuck::cast_slice_mut(values)[row..row + value.len()].copy_from_slice(value);
        }
        KvType::F16 => {
            let mut halves = [f16::ZERO; MAX_HEAD_DIM];
            halves[..key.len()].convert_from_f32_slice(key);
            scatter(bytemuck::cast_slice_mut(keys), slot, halves[..key.len()].iter().copied());
            bytemuck::cast_slice_mut::<u8, f16>(values)[row..row + value.len()].convert_from_f32_slice(value);
        }
        KvType::Q8 => {
            let (key_scales, value_scales) = bytemuck::cast_slice_mut::<u8, f32>(scales).split_at_mut(PAGE_TOKENS);
            let (key_scale, value_scale) = (scale_of(key), scale_of(value));
            scatter(bytemuck::cast_slice_mut(keys), slot, key.iter().map(|&x| code(x, key_scale)));
            for (to, &x) in bytemuck::cast_slice_mut::<u8, i8>(values)[row..].iter_mut().zip(value) {
                *to = code(x, value_scale);
            }
            (key_scales[slot], value_scales[slot]) = (key_scale, value_scale);
        }
    }
}

/// The widest head: what `store` converts at a time.
pub const MAX_HEAD_DIM: usize = 256;

fn scatter<T>(keys: &mut [T], slot: usize, key: impl Iterator<Item = T>) {
    keys.iter_mut().skip(slot).step_by(PAGE_TOKENS).zip(key).for_each(|(to, x)| *to = x);
}

fn scale_of(values: &[f32]) -> f32 {
    values.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 127.0
}

fn code(value: f32, scale: f32) -> i8 {
    if scale > 0.0 { (value / scale).round_ties_even() as i8 } else { 0 }
}
