//! Causal convolutions and Monarch matrices over one vector of channels of one sequence. Knows no threads.
//!
//! Sums go from the oldest input to the newest in four chains, by the token's place in its page, whoever else is computed beside them;
//! so a chunk, a whole prompt and token after token give the same bits. A Monarch matrix is never realised. What a page keeps for it
//! depends on whole pages only:
//! - Julia: `U[m] = sum over i of L2[m, i, n] u[i]` of page n, once its last token is there; later pages read it.
//! - Torch: `P[j] = sum over pages i < m of L2[m, i, j] u[16 i + j]` of page m, as its first token comes.
//!
//! Either way a token costs at most some 50 multiply-adds a channel, and 256 tokens 16 times less than the dense matrix.
use crate::{
    PAGE_TOKENS,
    mixer::{Factors, MonarchLayout},
    simd::{LANES, Simd},
};

/// Sums of a row, to hide the latency of the multiply-add.
const CHAINS: usize = 4;
/// Rows whose convolutions share what is loaded.
const ROWS: usize = 4;

/// One vector of channels of some consecutive rows of one sequence.
pub(crate) struct Strip<'a> {
    /// `lags` vectors.
    pub kernel: *const f32,
    pub lags: usize,
    pub monarch: Option<Factors>,
    /// This vector's part of page 0, and values from one page to the next.
    pub window: *mut f32,
    pub page: usize,
    pub pages: &'a [u32],
    /// Position of the first row, and how many rows.
    pub start: usize,
    pub rows: usize,
    /// The first row's vector in the input and in the output, and values from one row to the next.
    pub input: *const f32,
    pub output: *mut f32,
    pub width: usize,
}

impl Strip<'_> {
    /// The inputs of a page; what a Monarch matrix keeps follows.
    fn inputs(&self, page: usize) -> *mut f32 {
        self.window.wrapping_add(self.pages[page] as usize * self.page)
    }

    fn kept(&self, page: usize) -> *mut f32 {
        self.inputs(page).wrapping_add(PAGE_TOKENS * LANES)
    }
}

/// Keeps the inputs of all rows, then adds to each output what its row and those before it come to.
///
/// # Safety
/// As [`Simd`]. Pointers must be to what their fields say; pages must cover all positions and belong to nobody else, with what earlier
/// rows kept in them; with Monarch factors, positions are below [`crate::mixer::MONARCH_WINDOW`].
#[inline(always)]
pub(crate) unsafe fn mix<S: Simd>(strip: &Strip) {
    // SAFETY: as the caller vouches.
    unsafe {
        for row in 0..strip.rows {
            let position = strip.start + row;
            let slot = strip.inputs(position / PAGE_TOKENS).add(position % PAGE_TOKENS * LANES);
            S::store(S::load(strip.input.add(row * strip.width)), slot);
        }
        let end = strip.start + strip.rows;
        let mut position = strip.start;
        while position < end {
            let page = position / PAGE_TOKENS;
            let stop = end.min((page + 1) * PAGE_TOKENS);
            if let Some(factors) = &strip.monarch {
                open_page::<S>(strip, factors, page, position);
            }
            while position < stop {
                position += match stop - position >= ROWS && strip.lags >= position + ROWS {
                    true => some_rows::<S, ROWS>(strip, position),
                    false => some_rows::<S, 1>(strip, position),
                };
            }
            if let Some(factors) = &strip.monarch {
                close_page::<S>(strip, factors, page, stop);
            }
        }
    }
}

/// `R` rows of one page from `position` on; more than one only if the kernel reaches back to the first token. Returns `R`.
#[inline(always)]
unsafe fn some_rows<S: Simd, const R: usize>(strip: &Strip, position: usize) -> usize {
    // SAFETY: as the caller of `mix` vouches.
    unsafe {
        let convolved = convolve::<S, R>(strip, position);
        for (r, mut y) in convolved.into_iter().enumerate() {
            if let Some(factors) = &strip.monarch {
                y = S::fma(S::load(factors.gain), monarch::<S>(strip, factors, position + r), y);
            }
            let out = strip.output.add((position + r - strip.start) * strip.width);
            S::store(S::add(S::load(out), y), out);
        }
        R
    }
}

/// `sum over l of kernel[l] u[t - l]` for `R` rows t.
#[inline(always)]
unsafe fn convolve<S: Simd, const R: usize>(strip: &Strip, position: usize) -> [S::F32; R] {
    // SAFETY: as the caller of `mix` vouches.
    unsafe {
        let mut sums = [[S::splat(0.0); CHAINS]; R];
        let first = (position + 1).saturating_sub(strip.lags);
        // Inputs that all rows see, page by page, in whole turns of the chains where possible.
        let mut past = first;
        while past <= position {
            let inputs = strip.inputs(past / PAGE_TOKENS);
            let stop = (position + 1).min((past / PAGE_TOKENS + 1) * PAGE_TOKENS);
            while past < stop {
                if past.is_multiple_of(CHAINS) && past + CHAINS <= stop {
                    for chain in 0..CHAINS {
                        step::<S, R>(strip, inputs, past + chain, position, chain, &mut sums);
                    }
                    past += CHAINS;
                } else {
                    // One at a time, with the chain's number known to the compiler.
                    match past % CHAINS {
                        0 => step::<S, R>(strip, inputs, past, position, 0, &mut sums),
                        1 => step::<S, R>(strip, inputs, past, position, 1, &mut sums),
                        2 => step::<S, R>(strip, inputs, past, position, 2, &mut sums),
                        _ => step::<S, R>(strip, inputs, past, position, 3, &mut sums),
                    }
                    past += 1;
                }
            }
        }
        for r in 1..R {
            for past in position + 1..=position + r {
                let input = S::load(strip.inputs(past / PAGE_TOKENS).add(past % PAGE_TOKENS * LANES));
                let weight = S::load(strip.kernel.add((position + r - past) * LANES));
                let chain = past % CHAINS;
                sums[r][chain] = S::fma(weight, input, sums[r][chain]);
            }
        }
        sums.map(|[a, b, c, d]| S::add(S::add(a, b), S::add(c, d)))
    }
}

/// One input's part in `R` rows.
#[inline(always)]
unsafe fn step<S: Simd, const R: usize>(
    strip: &Strip,
    inputs: *const f32,
    past: usize,
    position: usize,
    chain: usize,
    sums: &mut [[S::F32; CHAINS]; R],
) {
    // SAFETY: as the caller of `mix` vouches; every row is less than `lags` after `past`.
    unsafe {
        let input = S::load(inputs.add(past % PAGE_TOKENS * LANES));
        for (r, sums) in sums.iter_mut().enumerate() {
            let weight = S::load(strip.kernel.add((position + r - past) * LANES));
            sums[chain] = S::fma(weight, input, sums[chain]);
        }
    }
}

/// What a page keeps from the pages before it, if its first token has just come.
#[inline(always)]
unsafe fn open_page<S: Simd>(strip: &Strip, factors: &Factors, page: usize, position: usize) {
    if factors.layout != MonarchLayout::Torch || !position.is_multiple_of(PAGE_TOKENS) {
        return;
    }
    // SAFETY: as the caller of `mix` vouches.
    unsafe {
        for j in 0..PAGE_TOKENS {
            let mut sum = S::splat(0.0);
            for i in 0..page {
                let factor = S::splat(*factors.l2.add(at(page, i, j)));
                sum = S::fma(factor, S::load(strip.inputs(i).add(j * LANES)), sum);
            }
            S::store(sum, strip.kept(page).add(j * LANES));
        }
    }
}

/// What a page keeps for those after it, if its last token has just come.
#[inline(always)]
unsafe fn close_page<S: Simd>(strip: &Strip, factors: &Factors, page: usize, end: usize) {
    if factors.layout != MonarchLayout::Julia || !end.is_multiple_of(PAGE_TOKENS) {
        return;
    }
    // SAFETY: as the caller of `mix` vouches.
    unsafe {
        for m in 0..PAGE_TOKENS {
            let mut sum = S::splat(0.0);
            for i in 0..PAGE_TOKENS {
                let factor = S::splat(*factors.l2.add(at(m, i, page)));
                sum = S::fma(factor, S::load(strip.inputs(page).add(i * LANES)), sum);
            }
            S::store(sum, strip.kept(page).add(m * LANES));
        }
    }
}

/// `sum over s <= t of M[t, s] u[s]`.
#[inline(always)]
unsafe fn monarch<S: Simd>(strip: &Strip, factors: &Factors, position: usize) -> S::F32 {
    let (page, slot) = (position / PAGE_TOKENS, position % PAGE_TOKENS);
    // SAFETY: as the caller of `mix` vouches.
    unsafe {
        match factors.layout {
            MonarchLayout::Torch => torch::<S>(strip, factors, page, slot),
            MonarchLayout::Julia => julia::<S>(strip, factors, page, slot),
        }
    }
}

/// `sum over j of L1[slot, j, page] (P[j] + [j <= slot] L2[page, page, j] u[j])`.
#[inline(always)]
unsafe fn torch<S: Simd>(strip: &Strip, factors: &Factors, page: usize, slot: usize) -> S::F32 {
    // SAFETY: as the caller of `mix` vouches.
    unsafe {
        let (inputs, kept) = (strip.inputs(page), strip.kept(page));
        let mut sums = [S::splat(0.0); 2];
        for j in 0..PAGE_TOKENS {
            let mut inner = S::load(kept.add(j * LANES));
            if j <= slot {
                let factor = S::splat(*factors.l2.add(at(page, page, j)));
                inner = S::fma(factor, S::load(inputs.add(j * LANES)), inner);
            }
            sums[j % 2] = S::fma(S::splat(*factors.l1.add(at(slot, j, page))), inner, sums[j % 2]);
        }
        S::add(sums[0], sums[1])
    }
}

/// `sum over pages j before this of L1[page, j, slot] U_j[slot] + L1[page, page, slot] * sum over i <= slot of L2[slot, i, page] u[i]`.
#[inline(always)]
unsafe fn julia<S: Simd>(strip: &Strip, factors: &Factors, page: usize, slot: usize) -> S::F32 {
    // SAFETY: as the caller of `mix` vouches.
    unsafe {
        let mut before = S::splat(0.0);
        for j in 0..page {
            let factor = S::splat(*factors.l1.add(at(page, j, slot)));
            before = S::fma(factor, S::load(strip.kept(j).add(slot * LANES)), before);
        }
        let (inputs, mut here) = (strip.inputs(page), S::splat(0.0));
        for i in 0..=slot {
            let factor = S::splat(*factors.l2.add(at(slot, i, page)));
            here = S::fma(factor, S::load(inputs.add(i * LANES)), here);
        }
        S::fma(S::splat(*factors.l1.add(at(page, page, slot))), here, before)
    }
}

/// Place of `[a, b, c]` in one side of a Monarch matrix.
#[inline(always)]
fn at(a: usize, b: usize, c: usize) -> usize {
    (a * PAGE_TOKENS + b) * PAGE_TOKENS + c
}
