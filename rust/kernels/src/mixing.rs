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
/// Rows whose convolutions share what is loaded; as many as chains, so that a group of rows is a turn of the chains.
const ROWS: usize = CHAINS;

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
                // Four rows at a time where all of them reach back to the first token.
                let together =
                    position.is_multiple_of(ROWS) && stop - position >= ROWS && strip.lags >= position + ROWS;
                position += match together {
                    true => finish::<S, ROWS>(strip, position, convolve_together::<S>(strip, position)),
                    false => finish::<S, 1>(strip, position, [convolve::<S>(strip, position)]),
                };
            }
            if let Some(factors) = &strip.monarch {
                close_page::<S>(strip, factors, page, stop);
            }
        }
    }
}

/// Adds what `R` rows of one page come to. Returns `R`.
#[inline(always)]
unsafe fn finish<S: Simd, const R: usize>(strip: &Strip, position: usize, convolved: [S::F32; R]) -> usize {
    // SAFETY: as the caller of `mix` vouches.
    unsafe {
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

/// `sum over l of kernel[l] u[position - l]`.
#[inline(always)]
unsafe fn convolve<S: Simd>(strip: &Strip, position: usize) -> S::F32 {
    // SAFETY: as the caller of `mix` vouches.
    unsafe {
        let mut sums = [S::splat(0.0); CHAINS];
        let mut past = (position + 1).saturating_sub(strip.lags);
        while past <= position {
            let inputs = strip.inputs(past / PAGE_TOKENS);
            let stop = (position + 1).min((past / PAGE_TOKENS + 1) * PAGE_TOKENS);
            while past < stop {
                // The chain's number is known to the compiler everywhere, so that sums stay in registers.
                if past.is_multiple_of(CHAINS) && past + CHAINS <= stop {
                    for (chain, sum) in sums.iter_mut().enumerate() {
                        *sum = step::<S>(strip, inputs, past + chain, position, *sum);
                    }
                    past += CHAINS;
                    continue;
                }
                match past % CHAINS {
                    0 => sums[0] = step::<S>(strip, inputs, past, position, sums[0]),
                    1 => sums[1] = step::<S>(strip, inputs, past, position, sums[1]),
                    2 => sums[2] = step::<S>(strip, inputs, past, position, sums[2]),
                    _ => sums[3] = step::<S>(strip, inputs, past, position, sums[3]),
                }
                past += 1;
            }
        }
        S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3]))
    }
}

/// The same for [`ROWS`] rows from `position` on, a multiple of [`CHAINS`], whose kernels all reach back to the first token.
#[inline(always)]
unsafe fn convolve_together<S: Simd>(strip: &Strip, position: usize) -> [S::F32; ROWS] {
    // SAFETY: as the caller of `mix` vouches.
    unsafe {
        let mut sums = [[S::splat(0.0); CHAINS]; ROWS];
        for past in (0..position).step_by(CHAINS) {
            let inputs = strip.inputs(past / PAGE_TOKENS).add(past % PAGE_TOKENS * LANES);
            let weights = strip.kernel.add((position - past) * LANES);
            for chain in 0..CHAINS {
                let input = S::load(inputs.add(chain * LANES));
                for (r, sums) in sums.iter_mut().enumerate() {
                    sums[chain] = S::fma(S::load(weights.add(r * LANES).sub(chain * LANES)), input, sums[chain]);
                }
            }
        }
        // The rows themselves: each sees those before it.
        let inputs = strip.inputs(position / PAGE_TOKENS).add(position % PAGE_TOKENS * LANES);
        for chain in 0..CHAINS {
            let input = S::load(inputs.add(chain * LANES));
            for r in chain..ROWS {
                sums[r][chain] = S::fma(S::load(strip.kernel.add((r - chain) * LANES)), input, sums[r][chain]);
            }
        }
        sums.map(|[a, b, c, d]| S::add(S::add(a, b), S::add(c, d)))
    }
}

/// One input's part in one row.
#[inline(always)]
unsafe fn step<S: Simd>(strip: &Strip, inputs: *const f32, past: usize, position: usize, sum: S::F32) -> S::F32 {
    // SAFETY: as the caller of `mix` vouches.
    unsafe {
        let input = S::load(inputs.add(past % PAGE_TOKENS * LANES));
        S::fma(S::load(strip.kernel.add((position - past) * LANES)), input, sum)
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
