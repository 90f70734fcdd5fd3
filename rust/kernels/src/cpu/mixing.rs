//! Mixing of sequences without attention over a batch of segments, on all threads: channels do not meet, so each thread has its own.
use super::{AttentionSegment, Cpu};
use crate::{
    PAGE_TOKENS,
    mixer::{MONARCH_WINDOW, Mixer, WindowLayer},
    mixing::Strip,
    simd::LANES,
};

/// Rows times positions below which one thread is faster than two.
const WORK_WORTH_SPLITTING: usize = 64;

/// Where the pages of a layer, the inputs and the outputs begin; every (segment, vector of channels) has its own part of each.
struct Places {
    window: *mut f32,
    input: *const f32,
    output: *mut f32,
}

// SAFETY: `Cpu::mix` gives each part to one thread.
unsafe impl Sync for Places {}

impl Cpu {
    /// Keeps the rows of `input` in the window, then `output += mixer(window)`, row by row; both are (rows, channels).
    ///
    /// # Panics
    /// If sizes do not fit, a page does not exist, or a Monarch matrix does not reach a position.
    pub fn mix(
        &self,
        mixer: &Mixer,
        segments: &[AttentionSegment],
        input: &[f32],
        window: &mut WindowLayer,
        output: &mut [f32],
    ) {
        let (channels, shape) = (mixer.channels(), window.shape());
        assert!(shape.channels == channels && (shape.monarch || !mixer.has_monarch()), "a window for other weights");
        let rows = check(segments, mixer, window.pages());
        assert!(input.len() == rows * channels && output.len() == input.len(), "rows of input and output");
        let strips = channels / LANES;
        let places = Places {
            window: window.bytes_mut().as_mut_ptr().cast(),
            input: input.as_ptr(),
            output: output.as_mut_ptr(),
        };
        let run = |index: usize| {
            let (segment, strip) = (&segments[index / strips], index % strips);
            let places = &places;
            let first = segment.row * channels + strip * LANES;
            let strip = Strip {
                kernel: mixer.kernel(strip),
                lags: mixer.lags,
                monarch: mixer.monarch(strip),
                window: places.window.wrapping_add(strip * shape.strip()),
                page: strips * shape.strip(),
                pages: segment.pages,
                start: segment.start,
                rows: segment.rows,
                input: places.input.wrapping_add(first),
                output: places.output.wrapping_add(first),
                width: channels,
            };
            // SAFETY: `check` has seen to it that all pages exist and cover the rows; segments have their own pages up to what is shared
            // and not written again with other values, and strips their own channels in everything.
            unsafe { self.set.mix(&strip) };
        };
        let work: usize = segments.iter().map(|s| (s.start + s.rows) * s.rows).sum();
        self.for_each(segments.len() * strips, work >= WORK_WORTH_SPLITTING, &run);
    }

    /// `silu(layer_norm(x))` of each row in place (Ba et al. 2016); rows are `weight.len()` long.
    pub fn layer_norm_silu(&self, x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
        assert_eq!(weight.len(), bias.len(), "weight and bias of a layer norm");
        x.chunks_exact_mut(weight.len()).for_each(|row| self.set.layer_norm_silu(row, weight, bias, eps));
    }
}

/// Returns the number of rows.
fn check(segments: &[AttentionSegment], mixer: &Mixer, pages: usize) -> usize {
    let mut rows = 0;
    for segment in segments {
        assert_eq!(segment.row, rows, "segments follow one another");
        let end = segment.start + segment.rows;
        assert!(segment.pages.len() >= end.div_ceil(PAGE_TOKENS), "{} pages for {end} tokens", segment.pages.len());
        assert!(segment.pages.iter().all(|&page| (page as usize) < pages), "a page that does not exist");
        assert!(!mixer.has_monarch() || end <= MONARCH_WINDOW, "position {end} of {MONARCH_WINDOW}");
        rows += segment.rows;
    }
    rows
}
