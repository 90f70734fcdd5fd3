//! Layout of quantized weights in memory: tiles of 16 rows, groups of 32 columns. Knows no arithmetic on activations.
//!
//! A tile is a sequence of spans; a span is a header and up to [`Scales::SPAN`] groups; a group is its scales and then its
//! codes. Chunk `c` of a group's codes are the columns `4c..4c + 4` of all 16 rows: the operand of one dot product.
mod codes;
mod scales;

use std::marker::PhantomData;

use crate::{
    decode::{GROUP_VALUES, NativeGroup},
    simd::{LANES, Simd},
};
pub use codes::{Bits2, Bits3, Byte, Codebook, Codes, Nibble, NibbleAnd1, NibbleAnd2};
use scales::Header;
pub use scales::{
    ByRow, ByRowMin, PerGroup, PerGroupMin, RowScale, Scales, Super, SuperHalves, SuperHalvesMin, SuperMin, Values,
};

/// Thirty-two consecutive weights of one row: `d * scale * (code - offset) - dmin * min`.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub codes: [u8; GROUP_VALUES],
    pub d: f32,
    pub dmin: f32,
    pub scale: [i32; 2],
    pub min: [i32; 2],
}

impl Group {
    /// What pads a tile: contributes nothing.
    pub const ZERO: Group = Group { codes: [0; GROUP_VALUES], d: 0.0, dmin: 0.0, scale: [0; 2], min: [0; 2] };
}

impl From<NativeGroup> for Group {
    fn from(native: NativeGroup) -> Self {
        let NativeGroup { codes, d, dmin, scale, min } = native;
        Self { codes, d: d.to_f32(), dmin: dmin.to_f32(), scale, min }
    }
}

/// A packed quantized format: how its codes lie and how its scales lie.
pub struct Layout<C, K>(PhantomData<(C, K)>);

/// [`Layout`] as kernels see it.
pub trait Packed {
    type Codes: Codes;
    type Scales: Scales;
    /// Bytes of one group.
    const GROUP_BYTES: usize = Self::Scales::BYTES + Self::Codes::BYTES;
    /// `log2` of what is subtracted from the codes; `None` where the scales bring a minimum instead.
    const OFFSET_BITS: Option<u32> = if Self::Scales::MINS { None } else { Some(Self::Codes::BITS - 1) };

    /// Bytes of a tile of `groups` groups.
    fn tile_bytes(groups: usize) -> usize {
        groups * Self::GROUP_BYTES + groups.div_ceil(Self::Scales::SPAN) * Self::Scales::HEADER_BYTES
    }

    /// Writes a tile; `group(row, index)` gives the weights.
    fn pack_tile(groups: usize, group: impl Fn(usize, usize) -> Group, mut out: &mut [u8]) {
        for index in 0..groups {
            let rows: [Group; LANES] = std::array::from_fn(|row| group(row, index));
            if index.is_multiple_of(Self::Scales::SPAN) {
                let (header, rest) = out.split_at_mut(Self::Scales::HEADER_BYTES);
                Self::Scales::pack_header(&rows, header);
                out = rest;
            }
            let (bytes, rest) = out.split_at_mut(Self::GROUP_BYTES);
            let (scales, codes) = bytes.split_at_mut(Self::Scales::BYTES);
            Self::Scales::pack(&rows, scales);
            Self::Codes::pack(&rows, codes);
            out = rest;
        }
    }
}

impl<C: Codes, K: Scales> Packed for Layout<C, K> {
    type Codes = C;
    type Scales = K;
}

/// Steps through the groups of a tile.
pub struct Walk<S: Simd, P: Packed> {
    at: *const u8,
    header: Header<S>,
    layout: PhantomData<P>,
}

impl<S: Simd, P: Packed> Walk<S, P> {
    /// # Safety
    /// As [`Simd`]; `tile` must point to [`Packed::tile_bytes`] bytes.
    #[inline(always)]
    pub unsafe fn new(tile: *const u8) -> Self {
        // SAFETY: every tile starts with a header, be it an empty one.
        Self { at: tile, header: unsafe { P::Scales::header(tile) }, layout: PhantomData }
    }

    /// Where the next group, or the header before it, lies.
    pub fn at(&self) -> *const u8 {
        self.at
    }

    /// Scales and codes of group `index`; to be called with 0, 1, 2, ...
    ///
    /// # Safety
    /// As [`Walk::new`]; `index` must be below the tile's number of groups.
    #[inline(always)]
    pub unsafe fn next(&mut self, index: usize) -> (Values<S>, *const u8) {
        // SAFETY: the walk covers exactly the bytes that `tile_bytes` counts.
        unsafe {
            if index.is_multiple_of(P::Scales::SPAN) {
                self.header = P::Scales::header(self.at);
                self.at = self.at.add(P::Scales::HEADER_BYTES);
            }
            let group = self.at;
            self.at = group.add(P::GROUP_BYTES);
            (P::Scales::values(self.header, group), group.add(P::Scales::BYTES))
        }
    }
}

/// Calls a generic function with the layout of a quantized format as its first type argument.
macro_rules! with_layout {
    ($format:expr, $float:expr, $layout:ident => $body:expr) => {{
        use $crate::{DType, Format, packed::*};
        macro_rules! with {
            ($codes:ty, $scales:ty) => {{
                type $layout = Layout<$codes, $scales>;
                $body
            }};
        }
        match $format {
            Format::Q8 | Format::Ggml(DType::Q8_0) => with!(Byte, PerGroup),
            Format::Q6 => with!(NibbleAnd2, ByRow),
            Format::Q4 => with!(Nibble, ByRowMin),
            Format::Ggml(DType::Q4_0) => with!(Nibble, PerGroup),
            Format::Ggml(DType::Q4_1) => with!(Nibble, PerGroupMin),
            Format::Ggml(DType::Q5_0) => with!(NibbleAnd1, PerGroup),
            Format::Ggml(DType::Q5_1) => with!(NibbleAnd1, PerGroupMin),
            Format::Ggml(DType::Q2_K) => with!(Bits2, SuperHalvesMin),
            Format::Ggml(DType::Q3_K) => with!(Bits3, SuperHalves),
            Format::Ggml(DType::Q4_K) => with!(Nibble, SuperMin),
            Format::Ggml(DType::Q5_K) => with!(NibbleAnd1, SuperMin),
            Format::Ggml(DType::Q6_K) => with!(NibbleAnd2, SuperHalves),
            Format::Ggml(DType::IQ4_NL) => with!(Codebook, PerGroup),
            Format::Ggml(DType::IQ4_XS) => with!(Codebook, Super),
            Format::F32 | Format::F16 | Format::BF16 => $float,
            Format::Ggml(DType::F32 | DType::F16 | DType::BF16 | DType::F8_E4M3) => $float,
        }
    }};
}
pub(crate) use with_layout;
