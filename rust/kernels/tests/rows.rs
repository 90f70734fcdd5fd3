//! Norms and gates against the obvious loops.
mod common;

use common::{Numbers, relative_error};
use synapse_kernels::{Activations, Cpu, Format, GateBuffers, MatmulJob, Matrix};

const SIZES: [usize; 6] = [1, 15, 16, 33, 896, 4864];

/// Reads activations back by multiplying with the identity.
fn read(cpu: &Cpu, size: usize, fill: impl Fn(&Matrix, &mut Activations)) -> Vec<f32> {
    let identity = Matrix::pack_f32(Format::F32, size, size, |row, out| out[row] = 1.0);
    let mut activations = Activations::new();
    fill(&identity, &mut activations);
    let mut out = vec![0.0; activations.rows() * size];
    cpu.matmul(&activations, &mut [MatmulJob { matrix: &identity, bias: None, out: &mut out, add: false }]);
    out
}

fn machines() -> Vec<Cpu> {
    Cpu::available().into_iter().map(|name| Cpu::with_kernels(2, name).unwrap()).collect()
}

#[test]
fn rms_norm_is_what_the_equation_says() {
    for size in SIZES {
        let (x, weight) = (Numbers(1).vec(5 * size), Numbers(2).vec(size));
        let norm = |row: &[f32]| {
            let mean = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / size as f64;
            row.iter()
                .zip(&weight)
                .map(|(v, w)| (f64::from(*v) / (mean + 1e-5).sqrt() * f64::from(*w)) as f32)
                .collect()
        };
        let wanted: Vec<f32> = x.chunks_exact(size).flat_map(|row| -> Vec<f32> { norm(row) }).collect();
        for cpu in machines() {
            let mut out = vec![0.0; x.len()];
            cpu.rms_norm_f32(&x, &weight, 1e-5, &mut out);
            assert!(relative_error(&out, &wanted) < 1e-6, "{size} on {}", cpu.kernels());
            if size <= 896 {
                let fused = read(&cpu, size, |m, out| cpu.rms_norm(&x, &weight, 1e-5, &[m], out));
                assert_eq!(fused, out, "{size} on {}", cpu.kernels());
            }
        }
    }
}

#[test]
fn layer_norm_silu_is_what_the_equations_say() {
    for size in SIZES {
        let [weight, bias] = [2, 3].map(|seed| Numbers(seed).vec(size));
        let x: Vec<f32> = Numbers(1).vec(3 * size).iter().map(|v| 3.0 + v).collect();
        let one = |row: &[f32]| {
            let row: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
            let mean = row.iter().sum::<f64>() / size as f64;
            let scale = 1.0 / (row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / size as f64 + 1e-5).sqrt();
            let normed = row.iter().zip(weight.iter().zip(&bias));
            let y = normed.map(|(v, (w, b))| (v - mean) * scale * f64::from(*w) + f64::from(*b));
            y.map(|y| (y / (1.0 + (-y).exp())) as f32).collect()
        };
        let wanted: Vec<f32> = x.chunks_exact(size).flat_map(|row| -> Vec<f32> { one(row) }).collect();
        for cpu in machines() {
            let mut found = x.clone();
            cpu.layer_norm_silu(&mut found, &weight, &bias, 1e-5);
            assert!(relative_error(&found, &wanted) < 1e-5, "{size} on {}", cpu.kernels());
        }
    }
}

#[test]
fn silu_mul_is_what_the_equation_says_even_far_out() {
    for size in SIZES.into_iter().filter(|&size| size <= 896) {
        let gate: Vec<f32> = Numbers(3).vec(3 * size).iter().map(|v| v * 200.0 * v.abs()).collect();
        let up = Numbers(4).vec(3 * size);
        let silu = |(g, u): (&f32, &f32)| (f64::from(*g) / (1.0 + (-f64::from(*g)).exp()) * f64::from(*u)) as f32;
        let wanted: Vec<f32> = gate.iter().zip(&up).map(silu).collect();
        for cpu in machines() {
            let found = read(&cpu, size, |m, out| cpu.silu_mul(&gate, &up, size, &[m], out));
            assert!(relative_error(&found, &wanted) < 1e-6, "{size} on {}", cpu.kernels());
        }
    }
}

/// Many rows are gated group by group while their sums are in the cache, few rows in three steps: with the same bits.
#[test]
fn gates_of_many_rows_are_those_of_each_row_alone() {
    for (format, inner) in [(Format::Q8, 96), (Format::Q4, 64), (Format::Q8, 80), (Format::F32, 64)] {
        let (cols, rows) = (100, 66);
        let matrix = |seed| {
            let values = Numbers(seed).vec(inner * cols);
            Matrix::pack_f32(format, inner, cols, |row, out| out.copy_from_slice(&values[row * cols..][..cols]))
        };
        let (gate, up, x) = (matrix(5), matrix(6), Numbers(7).vec(rows * cols));
        let next = Matrix::pack_f32(Format::Q8, inner, inner, |row, out| out[row] = 1.0);
        for cpu in machines() {
            let gated = |x: &[f32]| {
                let (mut input, mut output) = (Activations::new(), Activations::new());
                cpu.prepare(x, cols, &[&gate], &mut input);
                cpu.gated(&input, [(&gate, None), (&up, None)], &next, &mut GateBuffers::default(), &mut output);
                let mut out = vec![f32::NAN; output.rows() * inner];
                cpu.matmul(&output, &mut [MatmulJob { matrix: &next, bias: None, out: &mut out, add: false }]);
                out
            };
            let alone: Vec<f32> = x.chunks_exact(cols).flat_map(gated).collect();
            assert_eq!(gated(&x), alone, "{format} {inner} on {}", cpu.kernels());
            assert!(alone.iter().any(|v| *v != 0.0));
        }
    }
}
