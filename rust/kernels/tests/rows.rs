//! Norms and gates against the obvious loops.
mod common;

use common::{Numbers, relative_error};
use synapse_kernels::{Activations, Cpu, Format, MatmulJob, Matrix};

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
