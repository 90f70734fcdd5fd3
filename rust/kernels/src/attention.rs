//! Causal attention of a few query rows over the pages of one KV head. Knows no threads and no batch.
//!
//! Online softmax (Milakov and Gimelshein 2018) over tiles of 64 keys whose borders are fixed in the sequence, so that a row's
//! result does not depend on which rows it is computed with.
#![allow(clippy::undocumented_unsafe_blocks)]
// SAFETY of every block in this file: pointers come from checked slices (see `Cpu::attention`); every page id was checked.
use crate::{
    PAGE_TOKENS,
    kv::{KvShape, KvType, MAX_HEAD_DIM},
    rows,
    simd::{LANES, Simd, exp},
};

/// Keys between two updates of the running maximum.
const TILE: usize = 64;
const TILE_PAGES: usize = TILE / PAGE_TOKENS;
/// The most query rows computed together.
pub const MAX_ROWS: usize = 8;

/// Query rows that share a KV head.
#[derive(Clone, Copy)]
pub struct Queries {
    /// Each `head_dim` long.
    pub q: [*const f32; MAX_ROWS],
    /// Each `head_dim` long.
    pub out: [*mut f32; MAX_ROWS],
    /// Keys `0..=position` are seen.
    pub position: [usize; MAX_ROWS],
    /// Rows in use.
    pub count: usize,
}

/// The KV head they look at.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub shape: KvShape,
    /// The head in page 0.
    pub base: *const u8,
    /// Pages of the sequence.
    pub pages: &'a [u32],
}

/// How a cached number is read.
pub trait Element: 'static {
    const TYPE: KvType;
    /// # Safety
    /// As [`Simd`].
    unsafe fn load<S: Simd>(from: *const u8) -> S::F32;
}

/// f32.
pub struct F32;
/// f16.
pub struct F16;
/// 8 bits; scales are applied to scores and probabilities.
pub struct Q8;

impl Element for F32 {
    const TYPE: KvType = KvType::F32;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F32 {
        unsafe { S::load(from.cast()) }
    }
}

impl Element for F16 {
    const TYPE: KvType = KvType::F16;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F32 {
        unsafe { S::load_f16(from.cast()) }
    }
}

impl Element for Q8 {
    const TYPE: KvType = KvType::Q8;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const u8) -> S::F32 {
        unsafe { S::load_i8(from.cast()) }
    }
}

/// What is known of each row after some tiles.
struct Running<const R: usize> {
    largest: [f32; R],
    /// By lane; added up at the end.
    sums: [[f32; LANES]; R],
    weighted: [[f32; MAX_HEAD_DIM]; R],
}

/// Attention of `queries.count <= R` rows. `R * PAGES <= 16` scores are computed at a time.
///
/// # Safety
/// As [`Simd`]; all pointers of `queries` and all pages up to the largest position must be valid.
#[inline(always)]
pub unsafe fn attend<S: Simd, E: Element, const R: usize, const PAGES: usize>(queries: &Queries, head: &Head) {
    let row = |r: usize| r.min(queries.count - 1);
    let q: [*const f32; R] = std::array::from_fn(|r| queries.q[row(r)]);
    let position: [usize; R] = std::array::from_fn(|r| queries.position[row(r)]);
    let keys = position.iter().fold(0, |m, &p| m.max(p)) + 1;
    let scale = 1.0 / (head.shape.head_dim as f32).sqrt();
    let mut running =
        Running { largest: [f32::NEG_INFINITY; R], sums: [[0.0; LANES]; R], weighted: [[0.0; MAX_HEAD_DIM]; R] };
    unsafe {
        for first in (0..keys).step_by(TILE) {
            let mut scores = [[f32::NEG_INFINITY; TILE]; R];
            for page in (0..TILE_PAGES).step_by(PAGES) {
                score_pages::<S, E, R, PAGES>(&q, head, first / PAGE_TOKENS + page, page, scale, &mut scores);
            }
            let correction = softmax::<S, R>(&position, first, &mut scores, &mut running);
            if E::TYPE == KvType::Q8 {
                apply_value_scales::<S, R>(head, first, keys, &mut scores);
            }
            let count = TILE.min(keys - first);
            add_values::<S, E, R>(head, first, count, &scores, &correction, &mut running);
        }
        finish::<S, R>(queries, head.shape.head_dim, &running);
    }
}

impl Head<'_> {
    /// The head's bytes in the sequence's page `index`, or in its last page beyond the end (whose scores are masked).
    #[inline(always)]
    unsafe fn page(&self, index: usize) -> *const u8 {
        let page = self.pages[index.min(self.pages.len() - 1)] as usize;
        unsafe { self.base.add(page * self.shape.page_bytes()) }
    }
}

#[inline(always)]
unsafe fn score_pages<S: Simd, E: Element, const R: usize, const PAGES: usize>(
    q: &[*const f32; R],
    head: &Head,
    first_page: usize,
    slot: usize,
    scale: f32,
    scores: &mut [[f32; TILE]; R],
) {
    unsafe {
        let page: [*const u8; PAGES] = std::array::from_fn(|p| head.page(first_page + p));
        let mut acc = [[S::splat(0.0); PAGES]; R];
        for d in 0..head.shape.head_dim {
            let mut keys = [S::splat(0.0); PAGES];
            for p in 0..PAGES {
                keys[p] = E::load::<S>(page[p].add(d * PAGE_TOKENS * E::TYPE.bytes()));
            }
            for r in 0..R {
                let x = S::splat(*q[r].add(d));
                for p in 0..PAGES {
                    acc[r][p] = S::fma(x, keys[p], acc[r][p]);
                }
            }
        }
        for p in 0..PAGES {
            let mut factor = S::splat(scale);
            if E::TYPE == KvType::Q8 {
                factor = S::mul(factor, S::load(page[p].add(head.shape.scales_at()).cast()));
            }
            for r in 0..R {
                S::store(S::mul(acc[r][p], factor), scores[r].as_mut_ptr().add((slot + p) * PAGE_TOKENS));
            }
        }
    }
}

/// Turns scores into unnormalized probabilities, exactly 0 beyond each row's position; returns what to scale old sums by.
#[inline(always)]
unsafe fn softmax<S: Simd, const R: usize>(
    position: &[usize; R],
    first: usize,
    scores: &mut [[f32; TILE]; R],
    running: &mut Running<R>,
) -> [f32; LANES] {
    unsafe {
        let seen: [usize; R] = std::array::from_fn(|r| (position[r] + 1).saturating_sub(first).min(TILE));
        let mut correction = [0.0; LANES];
        for r in 0..R {
            let largest = running.largest[r].max(largest::<S>(&scores[r], seen[r]));
            correction[r] = running.largest[r] - largest;
            running.largest[r] = largest;
        }
        // All rows' at once. Before the first tile there is nothing to scale.
        S::store(exp::<S>(S::load(correction.as_ptr())), correction.as_mut_ptr());
        for r in 0..R {
            let sums = S::load(running.sums[r].as_ptr());
            let added = exponentials::<S>(&mut scores[r], seen[r], running.largest[r]);
            S::store(S::fma(sums, S::splat(correction[r]), added), running.sums[r].as_mut_ptr());
        }
        correction
    }
}

/// Lanes of a tile's page `page`, if its first `seen` keys are seen.
#[inline(always)]
fn valid(seen: usize, page: usize) -> usize {
    seen.saturating_sub(page * LANES).min(LANES)
}

/// The largest of the first `seen` scores.
#[inline(always)]
unsafe fn largest<S: Simd>(scores: &[f32; TILE], seen: usize) -> f32 {
    unsafe {
        let lowest = S::splat(f32::NEG_INFINITY);
        let mut largest = lowest;
        for page in 0..TILE_PAGES {
            let scores = S::load(scores.as_ptr().add(page * LANES));
            largest = S::max(largest, S::first(valid(seen, page), scores, lowest));
        }
        S::largest(largest)
    }
}

/// Replaces the first `seen` scores by `e^(score - largest)`, the others by 0; returns their sums by lane.
#[inline(always)]
unsafe fn exponentials<S: Simd>(scores: &mut [f32; TILE], seen: usize, largest: f32) -> S::F32 {
    unsafe {
        let mut p = [S::splat(0.0); TILE_PAGES];
        for page in 0..TILE_PAGES {
            let at = scores.as_mut_ptr().add(page * LANES);
            let e = exp::<S>(S::sub(S::load(at), S::splat(largest)));
            p[page] = S::first(valid(seen, page), e, S::splat(0.0));
            S::store(p[page], at);
        }
        S::add(S::add(p[0], p[1]), S::add(p[2], p[3]))
    }
}

#[inline(always)]
unsafe fn apply_value_scales<S: Simd, const R: usize>(
    head: &Head,
    first: usize,
    keys: usize,
    scores: &mut [[f32; TILE]; R],
) {
    unsafe {
        for page in 0..(keys - first).min(TILE).div_ceil(PAGE_TOKENS) {
            let scales = head.page(first / PAGE_TOKENS + page).add(head.shape.scales_at() + PAGE_TOKENS * 4);
            for row in scores.iter_mut() {
                let at = row.as_mut_ptr().add(page * LANES);
                S::store(S::mul(S::load(at), S::load(scales.cast())), at);
            }
        }
    }
}

#[inline(always)]
unsafe fn add_values<S: Simd, E: Element, const R: usize>(
    head: &Head,
    first: usize,
    count: usize,
    probabilities: &[[f32; TILE]; R],
    correction: &[f32; LANES],
    running: &mut Running<R>,
) {
    unsafe {
        let page: [*const u8; TILE_PAGES] =
            std::array::from_fn(|p| head.page(first / PAGE_TOKENS + p).add(head.shape.values_at()));
        let vectors = head.shape.padded_dim() / LANES;
        let mut at = 0;
        while at + 2 <= vectors {
            value_columns::<S, E, R, 2>(head, &page, at, count, probabilities, correction, running);
            at += 2;
        }
        if at < vectors {
            value_columns::<S, E, R, 1>(head, &page, at, count, probabilities, correction, running);
        }
    }
}

#[inline(always)]
unsafe fn value_columns<S: Simd, E: Element, const R: usize, const V: usize>(
    head: &Head,
    page: &[*const u8; TILE_PAGES],
    at: usize,
    count: usize,
    probabilities: &[[f32; TILE]; R],
    correction: &[f32; LANES],
    running: &mut Running<R>,
) {
    unsafe {
        let mut acc = [[S::splat(0.0); V]; R];
        for r in 0..R {
            for v in 0..V {
                let old = S::load(running.weighted[r].as_ptr().add((at + v) * LANES));
                acc[r][v] = S::mul(old, S::splat(correction[r]));
            }
        }
        for j in 0..count {
            let row =
                page[j / PAGE_TOKENS].add((j % PAGE_TOKENS * head.shape.padded_dim() + at * LANES) * E::TYPE.bytes());
            let mut values = [S::splat(0.0); V];
            for v in 0..V {
                values[v] = E::load::<S>(row.add(v * LANES * E::TYPE.bytes()));
            }
            for r in 0..R {
                let p = S::splat(probabilities[r][j]);
                for v in 0..V {
                    acc[r][v] = S::fma(p, values[v], acc[r][v]);
                }
            }
        }
        for r in 0..R {
            for v in 0..V {
                S::store(acc[r][v], running.weighted[r].as_mut_ptr().add((at + v) * LANES));
            }
        }
    }
}

#[inline(always)]
unsafe fn finish<S: Simd, const R: usize>(queries: &Queries, head_dim: usize, running: &Running<R>) {
    unsafe {
        for r in 0..queries.count {
            let inverse = S::splat(1.0 / S::sum(S::load(running.sums[r].as_ptr())));
            let out = std::slice::from_raw_parts_mut(queries.out[r], head_dim);
            for at in (0..head_dim).step_by(LANES) {
                let weighted = S::load(running.weighted[r].as_ptr().add(at));
                rows::put::<S>(S::mul(weighted, inverse), out, at);
            }
        }
    }
}
