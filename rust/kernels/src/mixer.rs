//! What mixes a sequence without attention: causal convolutions and Monarch matrices, channel by channel, and the pages of past
//! inputs that they read. Knows layouts, not arithmetic, and not who owns a page.
use crate::{PAGE_TOKENS, bytes::AlignedBytes, simd::LANES};

/// Values of one side of a Monarch matrix: 16 blocks of 16 by 16.
pub const MONARCH_VALUES: usize = PAGE_TOKENS * PAGE_TOKENS * PAGE_TOKENS;
/// Positions that a Monarch matrix covers.
pub const MONARCH_WINDOW: usize = PAGE_TOKENS * PAGE_TOKENS;
/// Values of one vector of channels in a page.
const STRIP: usize = PAGE_TOKENS * LANES;

/// How a Monarch matrix of 256 by 256 is read out of `L1[n, j, m]` and `L2[m, i, j]`, 16 each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MonarchLayout {
    /// `M[16 m + n, 16 i + j] = L1[n, j, m] L2[m, i, j]`: m and i number the pages.
    Torch,
    /// `M[16 n + m, 16 j + i] = L1[n, j, m] L2[m, i, j]`: n and j number the pages.
    Julia,
}

/// A causal Monarch matrix for each group of channels: `y[t] = gain * sum over s <= t of M[t, s] u[s]`.
#[derive(Debug, Clone)]
pub struct Monarch {
    /// How the factors are read.
    pub layout: MonarchLayout,
    /// `L1` and `L2` of each group, row-major.
    pub heads: Vec<[Vec<f32>; 2]>,
    /// One per channel.
    pub gain: Vec<f32>,
}

/// The weights of [`crate::Cpu::mix`], arranged for it.
pub struct Mixer {
    pub(crate) channels: usize,
    pub(crate) lags: usize,
    /// For each vector of channels: its lags, the newest first.
    kernel: AlignedBytes,
    monarch: Option<Monarch>,
}

impl Mixer {
    /// `y[t, c] = sum over l of kernel[l, c] u[t - l, c]`, plus what the Monarch matrices give; `kernel` is row-major.
    ///
    /// # Errors
    /// Sizes that do not fit each other, or groups of channels that are no whole vectors of 16.
    pub fn new(channels: usize, kernel: &[f32], monarch: Option<Monarch>) -> Result<Self, String> {
        if channels == 0 || !channels.is_multiple_of(LANES) {
            return Err(format!("expected a multiple of {LANES} channels, found {channels}"));
        }
        if !kernel.len().is_multiple_of(channels) {
            return Err(format!("a kernel of {} values for {channels} channels", kernel.len()));
        }
        if let Some(monarch) = &monarch {
            check(monarch, channels)?;
        }
        let lags = kernel.len() / channels;
        let mut arranged = AlignedBytes::zeroed(size_of_val(kernel));
        let values: &mut [f32] = bytemuck::cast_slice_mut(arranged.as_mut());
        for (index, to) in values.chunks_exact_mut(LANES).enumerate() {
            let (strip, lag) = (index / lags, index % lags);
            to.copy_from_slice(&kernel[lag * channels + strip * LANES..][..LANES]);
        }
        Ok(Self { channels, lags, kernel: arranged, monarch })
    }

    /// Channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Whether there are Monarch matrices.
    pub fn has_monarch(&self) -> bool {
        self.monarch.is_some()
    }

    /// Bytes of the weights that `positions` positions need.
    pub fn bytes(&self, positions: usize) -> usize {
        let monarch = self.monarch.as_ref().map_or(0, |m| 2 * m.heads.len() * MONARCH_VALUES + m.gain.len());
        (self.lags.min(positions) * self.channels + monarch) * size_of::<f32>()
    }

    pub(crate) fn kernel(&self, strip: usize) -> *const f32 {
        self.kernel.as_ref()[strip * self.lags * LANES * size_of::<f32>()..].as_ptr().cast()
    }

    pub(crate) fn monarch(&self, strip: usize) -> Option<Factors> {
        self.monarch.as_ref().map(|monarch| {
            let head = strip * LANES / (self.channels / monarch.heads.len());
            Factors {
                layout: monarch.layout,
                l1: monarch.heads[head][0].as_ptr(),
                l2: monarch.heads[head][1].as_ptr(),
                gain: monarch.gain[strip * LANES..].as_ptr(),
            }
        })
    }
}

fn check(monarch: &Monarch, channels: usize) -> Result<(), String> {
    let heads = monarch.heads.len();
    if heads == 0 || !channels.is_multiple_of(heads * LANES) {
        return Err(format!("{heads} Monarch heads: expected {channels} channels in groups of a multiple of {LANES}"));
    }
    if monarch.gain.len() != channels {
        return Err(format!("{} gains for {channels} channels", monarch.gain.len()));
    }
    match monarch.heads.iter().flatten().find(|side| side.len() != MONARCH_VALUES) {
        Some(side) => {
            Err(format!("a side of a Monarch matrix: expected {MONARCH_VALUES} values, found {}", side.len()))
        }
        None => Ok(()),
    }
}

/// The Monarch matrix of one vector of channels.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    pub layout: MonarchLayout,
    /// [`MONARCH_VALUES`] each.
    pub l1: *const f32,
    pub l2: *const f32,
    /// A vector.
    pub gain: *const f32,
}

/// What the pages of a [`WindowLayer`] hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowShape {
    /// Channels, a multiple of 16.
    pub channels: usize,
    /// Room for what a Monarch matrix keeps of each page.
    pub monarch: bool,
}

impl WindowShape {
    /// Values of one vector of channels in a page.
    pub(crate) fn strip(&self) -> usize {
        if self.monarch { 2 * STRIP } else { STRIP }
    }

    /// Bytes of one page.
    pub fn page_bytes(&self) -> usize {
        self.channels.div_ceil(LANES) * self.strip() * size_of::<f32>()
    }
}

/// Past inputs of one layer, in pages of 16 tokens. A page holds, for each vector of channels: the inputs, `(16 tokens, 16
/// channels)`; then, of the same size, what a Monarch matrix keeps of this page (see [`crate::mixing`]).
pub struct WindowLayer {
    shape: WindowShape,
    pages: usize,
    bytes: AlignedBytes,
}

impl WindowLayer {
    /// `pages` zeroed pages. Pages never written cost no memory.
    pub fn new(shape: WindowShape, pages: usize) -> Self {
        Self { shape, pages, bytes: AlignedBytes::zeroed(shape.page_bytes() * pages) }
    }

    /// The shape.
    pub fn shape(&self) -> WindowShape {
        self.shape
    }

    /// Number of pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut()
    }
}
