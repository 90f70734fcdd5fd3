//! Rotary embedding, the KV pages and attention against the obvious loops.
mod common;

use common::{Numbers, relative_error};
use synapse_kernels::{AttentionSegment, Cpu, KvLayer, KvShape, KvType};

#[derive(Clone, Copy)]
struct Case {
    heads: usize,
    kv_heads: usize,
    dim: usize,
    kv_type: KvType,
}

/// q, k and v of one sequence, and the result of running it in the given chunks.
struct Sequence {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    len: usize,
}

fn sequence(case: Case, len: usize, seed: u64) -> Sequence {
    let mut n = Numbers(seed);
    let kv = len * case.kv_heads * case.dim;
    Sequence { q: n.vec(len * case.heads * case.dim), k: n.vec(kv), v: n.vec(kv), len }
}

fn tables(positions: usize, half: usize) -> (Vec<f32>, Vec<f32>) {
    let angle = |i: usize| (i / half) as f32 * 10_000f32.powf(-((i % half) as f32) / half as f32);
    ((0..positions * half).map(|i| angle(i).cos()).collect(), (0..positions * half).map(|i| angle(i).sin()).collect())
}

fn layer(case: Case, pages: usize) -> KvLayer {
    KvLayer::new(KvShape { kv_heads: case.kv_heads, head_dim: case.dim, kv_type: case.kv_type }, pages)
}

/// Runs a sequence in chunks over scattered pages.
fn run(cpu: &Cpu, case: Case, s: &Sequence, chunks: &[usize]) -> Vec<f32> {
    let pages: Vec<u32> = (0..s.len.div_ceil(16) as u32).map(|p| p * 7 % 31).collect();
    let mut layer = layer(case, 31);
    let (cos, sin) = tables(s.len, case.dim / 2);
    let mut out = Vec::new();
    let mut start = 0;
    for &rows in chunks {
        let slice = |x: &[f32], heads: usize| x[start * heads * case.dim..][..rows * heads * case.dim].to_vec();
        let (mut q, mut k, v) = (slice(&s.q, case.heads), slice(&s.k, case.kv_heads), slice(&s.v, case.kv_heads));
        let segments = [AttentionSegment { row: 0, rows, start, pages: &pages }];
        cpu.rope_and_store(&mut q, &mut k, &v, case.heads, &segments, &cos, &sin, &mut layer);
        let mut chunk = vec![f32::NAN; q.len()];
        cpu.attention(&q, case.heads, &segments, &layer, &mut chunk);
        out.extend(chunk);
        start += rows;
    }
    assert_eq!(start, s.len);
    out
}

fn rotate(head: &[f32], position: usize) -> Vec<f64> {
    let half = head.len() / 2;
    let angle = |i: usize| position as f64 * 10_000f64.powf(-((i % half) as f64) / half as f64);
    let partner = |i: usize| if i < half { -f64::from(head[i + half]) } else { f64::from(head[i - half]) };
    (0..head.len()).map(|i| f64::from(head[i]) * angle(i).cos() + partner(i) * angle(i).sin()).collect()
}

fn naive(case: Case, s: &Sequence) -> Vec<f32> {
    let head = |x: &[f32], heads: usize, at: usize, h: usize| x[(at * heads + h) * case.dim..][..case.dim].to_vec();
    let mut out = Vec::new();
    for at in 0..s.len {
        for h in 0..case.heads {
            let group = h / (case.heads / case.kv_heads);
            let q = rotate(&head(&s.q, case.heads, at, h), at);
            let score = |j: usize| {
                let k = rotate(&head(&s.k, case.kv_heads, j, group), j);
                q.iter().zip(k).map(|(a, b)| a * b).sum::<f64>() / (case.dim as f64).sqrt()
            };
            let scores: Vec<f64> = (0..=at).map(score).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let p: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
            let sum: f64 = p.iter().sum();
            for d in 0..case.dim {
                let v = |j: usize| f64::from(s.v[(j * case.kv_heads + group) * case.dim + d]);
                out.push(((0..=at).map(|j| p[j] * v(j)).sum::<f64>() / sum) as f32);
            }
        }
    }
    out
}

const CASES: [(usize, usize, usize); 6] = [(14, 2, 64), (9, 3, 64), (1, 1, 8), (4, 4, 24), (7, 1, 128), (2, 2, 80)];

fn machines() -> Vec<Cpu> {
    let all = Cpu::available().into_iter();
    all.flat_map(|name| [1, 2].map(|threads| Cpu::with_kernels(threads, name).unwrap())).collect()
}

#[test]
fn attention_is_what_the_equation_says() {
    for (heads, kv_heads, dim) in CASES {
        for (kv_type, limit) in [(KvType::F32, 3e-6), (KvType::F16, 2e-3), (KvType::Q8, 0.02)] {
            let case = Case { heads, kv_heads, dim, kv_type };
            let s = sequence(case, 83, 5);
            let wanted = naive(case, &s);
            for cpu in machines() {
                let error = relative_error(&run(&cpu, case, &s, &[83]), &wanted);
                assert!(error < limit, "{heads}/{kv_heads} heads of {dim}, {kv_type:?}, {}: {error}", cpu.kernels());
            }
        }
    }
}

#[test]
fn chunks_do_not_change_a_bit_nor_do_kernel_sets() {
    for (heads, kv_heads, dim) in CASES {
        for kv_type in [KvType::F32, KvType::F16, KvType::Q8] {
            let case = Case { heads, kv_heads, dim, kv_type };
            let s = sequence(case, 150, 9);
            let whole = run(&Cpu::with_kernels(1, "portable").unwrap(), case, &s, &[150]);
            for cpu in machines() {
                for chunks in [vec![150], vec![1; 150], vec![64, 64, 22], vec![3, 13, 1, 65, 68]] {
                    assert!(
                        run(&cpu, case, &s, &chunks) == whole,
                        "{heads} heads of {dim} {kv_type:?} {}",
                        cpu.kernels()
                    );
                }
            }
        }
    }
}

#[test]
fn sequences_of_a_batch_do_not_touch_each_other() {
    let case = Case { heads: 6, kv_heads: 2, dim: 32, kv_type: KvType::F16 };
    let cpu = Cpu::new(2);
    let (a, b) = (sequence(case, 40, 1), sequence(case, 21, 2));
    let alone = [run(&cpu, case, &a, &[40]), run(&cpu, case, &b, &[21])].concat();
    let mut layer = layer(case, 8);
    let (cos, sin) = tables(40, 16);
    let (mut q, mut k, v) = ([a.q, b.q].concat(), [a.k, b.k].concat(), [a.v, b.v].concat());
    let segments = [
        AttentionSegment { row: 0, rows: 40, start: 0, pages: &[5, 0, 3] },
        AttentionSegment { row: 40, rows: 21, start: 0, pages: &[1, 7] },
    ];
    cpu.rope_and_store(&mut q, &mut k, &v, 6, &segments, &cos, &sin, &mut layer);
    let mut out = vec![0.0; q.len()];
    cpu.attention(&q, 6, &segments, &layer, &mut out);
    assert!(out == alone);
}

#[test]
#[should_panic(expected = "a page that does not exist")]
fn a_page_that_does_not_exist_is_a_caller_bug() {
    let case = Case { heads: 1, kv_heads: 1, dim: 8, kv_type: KvType::F16 };
    let segments = [AttentionSegment { row: 0, rows: 1, start: 0, pages: &[4] }];
    Cpu::new(1).attention(&[0.0; 8], 1, &segments, &layer(case, 4), &mut [0.0; 8]);
}
