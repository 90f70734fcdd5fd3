//! Rotary embedding, writing of keys and values, and attention over a batch of segments, on all threads.
use super::{Cpu, ROWS_WORTH_SPLITTING, Rows};
use crate::{
    PAGE_TOKENS,
    attention::{Head, MAX_ROWS, Queries},
    kv::{self, KvLayer, MAX_HEAD_DIM},
};

/// Keys times query rows below which one thread is faster than two.
const WORK_WORTH_SPLITTING: usize = 4096;

/// Consecutive rows of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct AttentionSegment<'a> {
    /// First row in q, k and v.
    pub row: usize,
    /// Number of rows.
    pub rows: usize,
    /// Position of the first row.
    pub start: usize,
    /// The sequence's pages, covering all positions up to the last row's.
    pub pages: &'a [u32],
}

/// Query rows of one segment that meet one KV head: `from..to` counts (row, head in its group) pairs.
struct Item {
    segment: usize,
    kv_head: usize,
    from: usize,
    to: usize,
}

impl Cpu {
    /// Rotates `q` (rows, heads * head_dim) and `k` (rows, kv_heads * head_dim) in place and writes k and `v` into the pages.
    /// `cos` and `sin` are (positions, head_dim / 2).
    ///
    /// # Panics
    /// If sizes do not fit, a position is beyond the tables, or a page does not exist.
    #[allow(clippy::too_many_arguments)]
    pub fn rope_and_store(
        &self,
        q: &mut [f32],
        k: &mut [f32],
        v: &[f32],
        heads: usize,
        segments: &[AttentionSegment],
        cos: &[f32],
        sin: &[f32],
        layer: &mut KvLayer,
    ) {
        let shape = layer.shape();
        let (dim, kv_width, half) = (shape.head_dim, shape.kv_heads * shape.head_dim, shape.head_dim / 2);
        let rows = check_segments(segments, layer, heads);
        assert!(q.len() == rows * heads * dim && k.len() == rows * kv_width && v.len() == k.len(), "rows of q, k, v");
        let places = places(segments);
        let angles = |position: usize| (&cos[position * half..][..half], &sin[position * half..][..half]);
        let q = Rows::new(q, heads * dim);
        self.for_each(rows, rows >= ROWS_WORTH_SPLITTING, &|row| {
            let (cos, sin) = angles(places[row].0);
            // SAFETY: each row is visited by one thread, once.
            unsafe { q.row(row) }.chunks_exact_mut(dim).for_each(|head| self.set.rope(head, cos, sin));
        });
        let k = Rows::new(k, dim);
        let pages = Rows::new(layer.bytes_mut(), shape.head_bytes());
        let store_head = |head: usize| {
            for (row, &(position, page)) in places.iter().enumerate() {
                let (cos, sin) = angles(position);
                // SAFETY: each KV head, in k and in the pages, is visited by one thread, once.
                let (key, to) =
                    unsafe { (k.row(row * shape.kv_heads + head), pages.row(page as usize * shape.kv_heads + head)) };
                self.set.rope(key, cos, sin);
                kv::store(&shape, to, position % PAGE_TOKENS, key, &v[row * kv_width + head * dim..][..dim]);
            }
        };
        self.for_each(shape.kv_heads, rows >= ROWS_WORTH_SPLITTING, &store_head);
    }

    /// Causal attention with grouped queries: `out` (rows, heads * head_dim) = softmax(q k^T / sqrt(head_dim)) v.
    ///
    /// # Panics
    /// If sizes do not fit or a page does not exist.
    pub fn attention(&self, q: &[f32], heads: usize, segments: &[AttentionSegment], layer: &KvLayer, out: &mut [f32]) {
        let shape = layer.shape();
        let rows = check_segments(segments, layer, heads);
        assert!(q.len() == rows * heads * shape.head_dim && out.len() == q.len(), "rows of q and out");
        let items = items(segments, shape.kv_heads, heads / shape.kv_heads);
        let out = Rows::new(out, shape.head_dim);
        let work: usize = segments.iter().map(|s| (s.start + s.rows) * s.rows).sum::<usize>() * heads;
        let run = |index: usize| self.attend(q, heads, &segments[items[index].segment], layer, &items[index], &out);
        self.for_each(items.len(), work >= WORK_WORTH_SPLITTING, &run);
    }

    fn attend(
        &self,
        q: &[f32],
        heads: usize,
        segment: &AttentionSegment,
        layer: &KvLayer,
        item: &Item,
        out: &Rows<f32>,
    ) {
        let shape = layer.shape();
        let group = heads / shape.kv_heads;
        let mut queries = Queries {
            q: [std::ptr::null(); MAX_ROWS],
            out: [std::ptr::null_mut(); MAX_ROWS],
            position: [0; MAX_ROWS],
            count: item.to - item.from,
        };
        for (slot, index) in (item.from..item.to).enumerate() {
            let head = (segment.row + index / group) * heads + item.kv_head * group + index % group;
            queries.q[slot] = q[head * shape.head_dim..].as_ptr();
            // SAFETY: each (row, head) belongs to one item.
            queries.out[slot] = unsafe { out.row(head) }.as_mut_ptr();
            queries.position[slot] = segment.start + index / group;
        }
        let base = layer.bytes()[item.kv_head * shape.head_bytes()..].as_ptr();
        // SAFETY: pointers are to whole heads; `check_segments` checked every page up to the last position.
        unsafe { self.set.attend(&queries, &Head { shape, base, pages: segment.pages }) };
    }
}

fn items(segments: &[AttentionSegment], kv_heads: usize, group: usize) -> Vec<Item> {
    let mut items = Vec::new();
    for (segment, s) in segments.iter().enumerate() {
        for kv_head in 0..kv_heads {
            let pairs = s.rows * group;
            let item = |from: usize| Item { segment, kv_head, from, to: pairs.min(from + MAX_ROWS) };
            items.extend((0..pairs).step_by(MAX_ROWS).map(item));
        }
    }
    items
}

/// Position and page of every row.
fn places(segments: &[AttentionSegment]) -> Vec<(usize, u32)> {
    let of =
        |s: &AttentionSegment| (s.start..s.start + s.rows).map(|p| (p, s.pages[p / PAGE_TOKENS])).collect::<Vec<_>>();
    segments.iter().flat_map(of).collect()
}

/// Returns the number of rows.
fn check_segments(segments: &[AttentionSegment], layer: &KvLayer, heads: usize) -> usize {
    let shape = layer.shape();
    assert!(shape.head_dim <= MAX_HEAD_DIM, "heads of {} (at most {MAX_HEAD_DIM})", shape.head_dim);
    assert_eq!(heads % shape.kv_heads, 0, "{heads} heads share {} KV heads", shape.kv_heads);
    let mut rows = 0;
    for segment in segments {
        assert_eq!(segment.row, rows, "segments follow one another");
        let needed = (segment.start + segment.rows).div_ceil(PAGE_TOKENS);
        assert!(segment.pages.len() >= needed, "{} pages of {needed}", segment.pages.len());
        assert!(segment.pages.iter().all(|&page| (page as usize) < layer.pages()), "a page that does not exist");
        rows += segment.rows;
    }
    rows
}
