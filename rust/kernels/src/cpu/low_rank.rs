//! Low-rank additions to the products of a batch, each to rows of its own, on all threads.
use std::ops::Range;

use super::Cpu;
use crate::{
    Activations, Matrix,
    gemm::{Sink, float},
    simd::LANES,
};

/// Rows of a first product that are one piece of work.
const PIECE_ROWS: usize = 32;
/// Pieces of the second products per thread: enough to even out.
const CHUNKS_PER_THREAD: usize = 4;

/// `out += scale * up (down x)` for some rows: LoRA (Hu et al. 2021).
#[derive(Debug, Clone)]
pub struct LowRank<'a> {
    /// `(rank, in_features)`, floats.
    pub down: &'a Matrix,
    /// `(out_features, rank)`, floats.
    pub up: &'a Matrix,
    /// Of the sum.
    pub scale: f32,
    /// Of the activations and the output.
    pub rows: Range<usize>,
}

/// An output, `(rows, out_features)`, and what is added to it, in this order.
pub struct LowRankJob<'a> {
    /// Additions; those of a row are added in their order here.
    pub parts: Vec<LowRank<'a>>,
    /// What they are added to.
    pub out: &'a mut [f32],
}

/// A part as threads see it.
struct Task<'a> {
    part: &'a LowRank<'a>,
    /// `scale * down x`, `(rows, rank)`.
    between: *mut f32,
    /// The output at the part's first row.
    out: *mut f32,
    /// The job it belongs to.
    job: usize,
}

// SAFETY: threads write disjoint pieces of `between`, then disjoint columns of `out`.
unsafe impl Sync for Task<'_> {}

impl Cpu {
    /// Adds to several outputs of the same activations. `between` is memory that is reused.
    ///
    /// # Panics
    /// If sizes do not fit, or the activations were not prepared for a float matrix.
    pub fn add_low_rank(&self, x: &Activations, jobs: &mut [LowRankJob], between: &mut Vec<f32>) {
        let size = jobs.iter().flat_map(|job| &job.parts).map(|part| part.rows.len() * part.down.rows()).sum();
        between.resize(size, 0.0);
        let tasks = tasks(x, jobs, between);
        self.first_products(x, &tasks);
        self.second_products(&tasks);
    }

    fn first_products(&self, x: &Activations, tasks: &[Task]) {
        let pieces: Vec<(&Task, usize, usize)> = tasks.iter().flat_map(Task::pieces).collect();
        self.pool.run(pieces.len(), &|piece| {
            let (task, tile, first) = pieces[piece];
            let LowRank { down, scale, rows, .. } = task.part;
            let (rank, last) = (down.rows(), rows.len().min(first + PIECE_ROWS));
            let from = x.values[rows.start * x.cols()..].as_ptr();
            let tiles = float::Tiles { at: down.tile(tile), count: 1 };
            let sink = sink(task.between, rank, false).tile(tile);
            for first in (first..last).step_by(float::ROWS) {
                let count = float::ROWS.min(last - first);
                // SAFETY: `tasks` checked all sizes; each piece is written by one thread, once.
                unsafe {
                    self.set.float(down.format(), tiles, from, x.cols(), first, count, sink);
                    scale_rows(sink, first..first + count, *scale);
                }
            }
        });
    }

    fn second_products(&self, tasks: &[Task]) {
        // All parts of an output meet in the thread that has the columns, so that they are added in order.
        let jobs: Vec<&[Task]> = tasks.chunk_by(|a, b| a.job == b.job).collect();
        let all: usize = jobs.iter().map(|job| tiles(job[0].part.up)).sum();
        let per_chunk = all.div_ceil(self.threads() * CHUNKS_PER_THREAD).max(1);
        let mut strips = Vec::new();
        for job in jobs {
            let tiles = tiles(job[0].part.up);
            strips.extend((0..tiles).step_by(per_chunk).map(|first| (job, first, per_chunk.min(tiles - first))));
        }
        self.pool.run(strips.len(), &|strip| {
            let (job, tile, count) = strips[strip];
            for Task { part: LowRank { down, up, rows, .. }, between, out, .. } in job {
                let tiles = float::Tiles { at: up.tile(tile), count };
                let sink = Sink { lanes: up.rows() - tile * LANES, ..sink(*out, up.rows(), true).tile(tile) };
                for first in (0..rows.len()).step_by(float::ROWS) {
                    let count = float::ROWS.min(rows.len() - first);
                    // SAFETY: `tasks` checked all sizes; other threads write other columns.
                    unsafe { self.set.float(up.format(), tiles, *between, down.rows(), first, count, sink) }
                }
            }
        });
    }
}

impl<'a> Task<'a> {
    /// `(task, tile of down, first row)`.
    fn pieces(&'a self) -> impl Iterator<Item = (&'a Task<'a>, usize, usize)> {
        let blocks = (0..self.part.rows.len()).step_by(PIECE_ROWS);
        blocks.flat_map(move |first| (0..tiles(self.part.down)).map(move |tile| (self, tile, first)))
    }
}

fn tiles(matrix: &Matrix) -> usize {
    matrix.rows().div_ceil(LANES)
}

/// For all columns of rows of this width.
fn sink(out: *mut f32, width: usize, add: bool) -> Sink {
    Sink { out, stride: width, lanes: width, bias: std::ptr::null(), add }
}

/// # Safety
/// The sink must be valid for these rows, and nobody else may use them.
unsafe fn scale_rows(sink: Sink, rows: Range<usize>, scale: f32) {
    for row in rows {
        // SAFETY: as the caller vouches.
        let values = unsafe { std::slice::from_raw_parts_mut(sink.out.add(row * sink.stride), sink.lanes) };
        values.iter_mut().for_each(|value| *value *= scale);
    }
}

fn tasks<'a>(x: &Activations, jobs: &'a mut [LowRankJob], between: &mut [f32]) -> Vec<Task<'a>> {
    let mut tasks = Vec::new();
    let mut rest = between;
    for (job, LowRankJob { parts, out }) in jobs.iter_mut().enumerate() {
        for part in parts.iter() {
            check(x, part, out.len());
            let (own, others) = std::mem::take(&mut rest).split_at_mut(part.rows.len() * part.down.rows());
            rest = others;
            let at = out[part.rows.start * part.up.rows()..].as_mut_ptr();
            tasks.push(Task { part, between: own.as_mut_ptr(), out: at, job });
        }
    }
    tasks
}

fn check(x: &Activations, LowRank { down, up, rows, .. }: &LowRank, out: usize) {
    let rank = down.rows();
    assert!(down.format().is_float() && up.format().is_float(), "low rank: {} and {}", down.format(), up.format());
    assert_eq!(down.cols(), x.cols(), "low rank: a matrix of {} columns meets activations", down.cols());
    assert_eq!(up.cols(), rank, "low rank: of rank {rank}, then of {}", up.cols());
    assert_eq!(out, x.rows() * up.rows(), "low rank: output of {} rows by {}", x.rows(), up.rows());
    assert!(rows.start <= rows.end && rows.end <= x.rows(), "low rank: rows {rows:?} of {}", x.rows());
    assert!(!x.values.is_empty() || rows.is_empty(), "activations were not prepared for {}", down.format());
}
