//! Matrix products over all threads.
use std::{
    cell::RefCell,
    ops::{Range, RangeInclusive},
    time::Instant,
};

use super::{
    Cpu,
    choice::{Product, Way},
};
use crate::{
    Activations, Matrix,
    gemm::{self, Ahead, Sink, direct, expanded, float},
    simd::LANES,
};

/// From this many rows on, unpacking a tile once usually pays.
const ROWS_WORTH_EXPANDING: usize = 17;
/// Where it depends on the machine. With fewer rows it never paid; with more, trying what is slow would delay a first prompt.
pub(super) const ROWS_WORTH_TRYING: RangeInclusive<usize> = 5..=32;
/// Pieces of work per thread: enough to even out.
pub(super) const CHUNKS_PER_THREAD: usize = 8;
/// A piece costs half a microsecond beside its work, as its memory has to be fetched ahead anew: where reading weights is all
/// the work, smaller pieces than this are only cut to have two for each thread.
const READ_CHUNK_BYTES: usize = 4 << 20;

/// How far ahead of a single pass memory is asked for. Several passes ask for the next tile, each for its share.
const NEAR_AHEAD_BYTES: usize = 4 << 10;

thread_local! {
    pub(super) static SCRATCH: RefCell<expanded::Scratch> = RefCell::default();
}

/// One product: `out = activations * matrix^T (+ bias) (+ out)`.
pub struct MatmulJob<'a> {
    /// Weights.
    pub matrix: &'a Matrix,
    /// One per weight row.
    pub bias: Option<&'a [f32]>,
    /// `(activation rows, weight rows)`.
    pub out: &'a mut [f32],
    /// Add to `out` instead of replacing it.
    pub add: bool,
}

/// A job as threads see it.
struct Task<'a> {
    matrix: &'a Matrix,
    bias: *const f32,
    out: *mut f32,
    add: bool,
    /// Tiles of the jobs before this one.
    first_tile: usize,
    tiles: usize,
}

// SAFETY: tasks are shared by threads that write disjoint columns of `out`; `bias` is only read.
unsafe impl Sync for Task<'_> {}

impl Cpu {
    /// Several products of the same activations, with one hand-over to the threads.
    ///
    /// # Panics
    /// If sizes do not fit, or the activations were not prepared for one of the matrices.
    pub fn matmul(&self, activations: &Activations, jobs: &mut [MatmulJob]) {
        let tasks = tasks(activations, jobs);
        let Some(first) = tasks.first() else { return };
        let (format, rows) = (first.matrix.format(), activations.rows());
        let tiles = tasks.iter().map(|task| task.tiles).sum();
        let product = Product { format, tiles, cols: activations.cols(), rows };
        let usual = if rows < ROWS_WORTH_EXPANDING { Way::Direct } else { Way::Expanded };
        let (way, timed) = match ROWS_WORTH_TRYING.contains(&rows) && !format.is_float() {
            true => self.choices.next(product, usual),
            false => (usual, false),
        };
        let begun = Instant::now();
        self.multiply(activations, &tasks, tiles, way);
        if timed {
            self.choices.note(product, way, begun.elapsed().as_secs_f64() / rows as f64);
        }
    }

    fn multiply(&self, activations: &Activations, tasks: &[Task], tiles: usize, way: Way) {
        let bytes: usize = tasks.iter().map(|task| task.matrix.bytes().len()).sum();
        let per_thread = match activations.rows() < ROWS_WORTH_EXPANDING {
            true => (bytes / self.threads() / READ_CHUNK_BYTES).clamp(2, CHUNKS_PER_THREAD),
            false => CHUNKS_PER_THREAD,
        };
        // Two tiles at a time, so that the expanded kernel has its pairs.
        let per_chunk = (tiles.div_ceil(self.threads() * per_thread)).next_multiple_of(expanded::TILES);
        self.pool.run(tiles.div_ceil(per_chunk.max(1)), &|chunk| {
            let (from, to) = (chunk * per_chunk, ((chunk + 1) * per_chunk).min(tiles));
            for task in tasks {
                let first = from.max(task.first_tile);
                let last = to.min(task.first_tile + task.tiles);
                if first < last {
                    self.tiles(activations, task, first - task.first_tile..last - task.first_tile, way);
                }
            }
        });
    }

    fn tiles(&self, activations: &Activations, task: &Task, tiles: Range<usize>, way: Way) {
        let (from, to) = (tiles.start, tiles.end);
        if task.matrix.format().is_float() {
            return self.float_tiles(activations, task, from, to);
        }
        if way == Way::Direct {
            return self.direct_tiles(activations, task, from, to);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let rows = rows(activations);
            for first in (from..to).step_by(expanded::TILES) {
                let second = first + 1;
                let paired = if second < to { second } else { first };
                let mut sinks = [task.sink(first), task.sink(paired)];
                if paired == first {
                    sinks[1].lanes = 0;
                }
                let tiles = [task.matrix.tile(first), task.matrix.tile(paired)];
                let next = tiles.map(|tile| tile.wrapping_add(expanded::TILES * task.matrix.tile_bytes()));
                // SAFETY: `tasks` checked all sizes; other threads write other tiles' columns.
                unsafe {
                    self.set.add_up(task.matrix.format(), scratch, tiles, next, rows, activations.rows());
                    self.set.write(scratch, activations.rows(), sinks);
                }
            }
        });
    }

    fn direct_tiles(&self, activations: &Activations, task: &Task, from: usize, to: usize) {
        let rows = rows(activations);
        let (format, bytes) = (task.matrix.format(), task.matrix.tile_bytes());
        let passes = activations.rows().div_ceil(direct::MAX_ROWS).max(1);
        let share = bytes.div_ceil(passes);
        let reach = if passes == 1 { bytes.min(NEAR_AHEAD_BYTES) } else { bytes };
        for tile in from..to {
            let (at, sink) = (task.matrix.tile(tile), task.sink(tile));
            for (pass, first) in (0..activations.rows()).step_by(direct::MAX_ROWS).enumerate() {
                let count = direct::MAX_ROWS.min(activations.rows() - first);
                let ahead = Ahead::new(at.wrapping_add(reach + pass * share), share, rows.groups);
                // SAFETY: `tasks` checked all sizes; other threads write other tiles' columns.
                unsafe { self.set.direct(format, at, rows, first, count, ahead, sink) };
            }
        }
    }

    fn float_tiles(&self, activations: &Activations, task: &Task, from: usize, to: usize) {
        let (format, cols) = (task.matrix.format(), task.matrix.cols());
        for tile in from..to {
            for first in (0..activations.rows()).step_by(float::ROWS) {
                let count = float::ROWS.min(activations.rows() - first);
                let (at, x, sink) = (task.matrix.tile(tile), activations.values.as_ptr(), task.sink(tile));
                let tiles = float::Tiles { at, count: 1 };
                // SAFETY: `tasks` checked all sizes; other threads write other tiles' columns.
                unsafe { self.set.float(format, tiles, x, cols, first, count, sink) };
            }
        }
    }
}

impl Task<'_> {
    fn sink(&self, tile: usize) -> Sink {
        let row = tile * LANES;
        let stride = self.matrix.rows();
        let bias = if self.bias.is_null() { self.bias } else { self.bias.wrapping_add(row) };
        Sink { out: self.out.wrapping_add(row), stride, lanes: LANES.min(stride - row), bias, add: self.add }
    }
}

pub(super) fn rows(activations: &Activations) -> gemm::Rows {
    gemm::Rows { panels: activations.panels.as_ptr(), groups: activations.groups() }
}

fn tasks<'a>(activations: &Activations, jobs: &'a mut [MatmulJob]) -> Vec<Task<'a>> {
    let mut first_tile = 0;
    let task = |job: &'a mut MatmulJob| {
        check(activations, job);
        let tiles = job.matrix.rows().div_ceil(LANES);
        first_tile += tiles;
        Task {
            matrix: job.matrix,
            bias: job.bias.map_or(std::ptr::null(), <[f32]>::as_ptr),
            out: job.out.as_mut_ptr(),
            add: job.add,
            first_tile: first_tile - tiles,
            tiles,
        }
    };
    jobs.iter_mut().map(task).collect()
}

fn check(activations: &Activations, job: &MatmulJob) {
    let (rows, cols, matrix) = (activations.rows(), activations.cols(), job.matrix);
    assert_eq!(matrix.cols(), cols, "a matrix of {} columns meets activations of {cols}", matrix.cols());
    assert_eq!(job.out.len(), rows * matrix.rows(), "output of {rows} rows by {}", matrix.rows());
    assert!(job.bias.is_none_or(|bias| bias.len() == matrix.rows()), "bias of {} weight rows", matrix.rows());
    let ready =
        if matrix.format().is_float() { !activations.values.is_empty() } else { !activations.panels.is_empty() };
    assert!(ready || rows == 0, "activations were not prepared for {}", matrix.format());
}
