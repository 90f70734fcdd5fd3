//! Low-rank additions of every kernel set against the obvious loop; no row minds its neighbours or the number of threads.
mod common;

use std::ops::Range;

use common::{Numbers, relative_error};
use synapse_kernels::{Activations, Cpu, Format, LowRank, LowRankJob, Matrix};

const ROWS: usize = 41;
const COLS: usize = 100;

struct Part {
    down: Matrix,
    up: Matrix,
    scale: f32,
    rows: Range<usize>,
}

fn part(format: Format, (rank, out): (usize, usize), seed: u64, rows: Range<usize>) -> Part {
    let matrix = |rows: usize, cols: usize, seed: u64| {
        let values = Numbers(seed).vec(rows * cols);
        Matrix::pack_f32(format, rows, cols, |row, out| out.copy_from_slice(&values[row * cols..][..cols]))
    };
    Part { down: matrix(rank, COLS, seed), up: matrix(out, rank, seed + 1), scale: 0.5 + seed as f32, rows }
}

/// Two outputs; rows without any part, with one and with two; ranks and widths around a tile.
fn targets(format: Format) -> [Vec<Part>; 2] {
    let first = [((16, 33), 0..1), ((1, 33), 3..40), ((17, 33), 39..41), ((8, 33), 3..40)];
    let second = [((15, 16), 2..3), ((64, 16), 5..5)];
    let parts = |wanted: &[((usize, usize), Range<usize>)]| {
        wanted.iter().zip(1..).map(|((shape, rows), seed)| part(format, *shape, seed, rows.clone())).collect()
    };
    [parts(&first), parts(&second)]
}

fn start() -> [Vec<f32>; 2] {
    [Numbers(8).vec(ROWS * 33), Numbers(9).vec(ROWS * 16)]
}

fn low_rank(Part { down, up, scale, rows }: &Part) -> LowRank<'_> {
    LowRank { down, up, scale: *scale, rows: rows.clone() }
}

fn run(cpu: &Cpu, x: &[f32], targets: &[Vec<Part>], outs: &mut [Vec<f32>]) {
    let mut activations = Activations::new();
    cpu.prepare(x, COLS, &[&targets[0][0].down], &mut activations);
    let jobs = targets.iter().zip(outs);
    let mut jobs: Vec<LowRankJob> =
        jobs.map(|(parts, out)| LowRankJob { parts: parts.iter().map(low_rank).collect(), out }).collect();
    cpu.add_low_rank(&activations, &mut jobs, &mut Vec::new());
}

fn times(matrix: &Matrix, x: &[f64]) -> Vec<f64> {
    let mut row = vec![0.0; matrix.cols()];
    let mut dot = |index: usize| {
        matrix.read_row(index, &mut row);
        row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()
    };
    (0..matrix.rows()).map(&mut dot).collect()
}

fn naive(x: &[f32], parts: &[Part], out: &mut [f32]) {
    let width = out.len() / ROWS;
    for Part { down, up, scale, rows } in parts {
        for index in rows.clone() {
            let x: Vec<f64> = x[index * COLS..][..COLS].iter().map(|&value| f64::from(value)).collect();
            let added = times(up, &times(down, &x));
            let out = &mut out[index * width..][..width];
            out.iter_mut().zip(added).for_each(|(out, add)| *out += (f64::from(*scale) * add) as f32);
        }
    }
}

#[test]
fn additions_are_what_the_loop_says() {
    let x = Numbers(7).vec(ROWS * COLS);
    for format in [Format::F32, Format::F16, Format::BF16] {
        let (targets, mut wanted) = (targets(format), start());
        targets.iter().zip(&mut wanted).for_each(|(parts, out)| naive(&x, parts, out));
        for cpu in Cpu::available().into_iter().map(|name| Cpu::with_kernels(2, name).unwrap()) {
            let mut found = start();
            run(&cpu, &x, &targets, &mut found);
            for (found, wanted) in found.iter().zip(&wanted) {
                assert!(relative_error(found, wanted) < 1e-6, "{format} on {}", cpu.kernels());
            }
        }
    }
}

#[test]
fn a_row_alone_is_a_row_among_others() {
    let x = Numbers(7).vec(ROWS * COLS);
    let mut together = start();
    run(&Cpu::new(3), &x, &targets(Format::F16), &mut together);
    for row in 0..ROWS {
        let mut alone = targets(Format::F16);
        for part in alone.iter_mut().flatten() {
            let here = part.rows.contains(&row);
            part.rows = if here { row..row + 1 } else { row..row };
        }
        let mut outs = start();
        run(&Cpu::new(1), &x, &alone, &mut outs);
        for (out, together) in outs.iter().zip(&together) {
            let width = out.len() / ROWS;
            assert!(out[row * width..][..width] == together[row * width..][..width], "row {row}");
        }
    }
}
