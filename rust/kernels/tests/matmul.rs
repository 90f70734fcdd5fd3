//! Matrix products of every kernel set and format against the obvious loop.
mod common;

use common::{Numbers, relative_error};
use synapse_kernels::{Activations, Cpu, DType, Format, MatmulJob, Matrix, dequantize};

/// A matrix of a format from random numbers: our own by quantizing, GGUF's from random blocks with sane scales.
fn matrix(format: Format, rows: usize, cols: usize, seed: u64) -> Matrix {
    let Format::Ggml(dtype) = format else {
        let values = Numbers(seed).vec(rows * cols);
        return Matrix::pack_f32(format, rows, cols, |row, out| out.copy_from_slice(&values[row * cols..][..cols]));
    };
    let mut numbers = Numbers(seed);
    let blocks: Vec<Vec<u8>> = (0..rows).map(|_| row_of_blocks(dtype, cols, || numbers.bits() as u8)).collect();
    Matrix::pack_blocks(dtype, rows, cols, |row| &blocks[row])
}

/// Codes and integer scales of these bytes; f16 fields, wherever they lie, are made finite and small by clearing exponent bits.
fn row_of_blocks(dtype: DType, cols: usize, mut byte: impl FnMut() -> u8) -> Vec<u8> {
    let halves: &[usize] = match dtype {
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => &[0, 2],
        DType::Q2_K => &[80, 82],
        DType::Q3_K => &[108],
        DType::Q6_K => &[208],
        _ => &[0],
    };
    let mut row = Vec::new();
    for _ in 0..cols / dtype.block_values() {
        let mut block: Vec<u8> = (0..dtype.block_bytes()).map(|_| byte()).collect();
        for &at in halves {
            block[at + 1] = 0x20 | block[at + 1] & 0x03;
        }
        row.extend(block);
    }
    row
}

/// Sizes a format can have: rows and columns around a tile and a group, and the shapes of Qwen2.5-0.5B.
fn sizes(format: Format) -> Vec<(usize, usize)> {
    let block = if let Format::Ggml(dtype) = format { dtype.block_values() } else { 1 };
    let all = [(1, 1), (15, 31), (16, 32), (17, 33), (33, 64), (48, 100), (40, 256), (64, 768), (35, 896), (16, 4864)];
    all.into_iter().filter(|&(_, cols)| cols % block == 0).collect()
}

/// The product in f64 of what the matrix says it holds and the activations as given.
fn naive(matrix: &Matrix, x: &[f32]) -> Vec<f32> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let mut weights = vec![0.0; rows * cols];
    weights.chunks_exact_mut(cols).enumerate().for_each(|(row, out)| matrix.read_row(row, out));
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    x.chunks_exact(cols).flat_map(|x| weights.chunks_exact(cols).map(move |w| dot(w, x) as f32)).collect()
}

fn product(cpu: &Cpu, matrix: &Matrix, x: &[f32]) -> Vec<f32> {
    let mut activations = Activations::new();
    cpu.prepare(x, matrix.cols(), &[matrix], &mut activations);
    let mut out = vec![f32::NAN; activations.rows() * matrix.rows()];
    cpu.matmul(&activations, &mut [MatmulJob { matrix, bias: None, out: &mut out, add: false }]);
    out
}

/// Values that 8 bits per group hold exactly: integers up to 127, with 127 in each half group.
fn exact_activations(rows: usize, cols: usize, seed: u64) -> Vec<f32> {
    let mut numbers = Numbers(seed);
    let value =
        |i: usize, n: &mut Numbers| if (i % cols).is_multiple_of(16) { 127.0 } else { (n.bits() % 255) as f32 - 127.0 };
    (0..rows * cols).map(|i| value(i, &mut numbers)).collect()
}

fn machines() -> Vec<Cpu> {
    let all = Cpu::available().into_iter();
    all.flat_map(|name| [1, 3].map(|threads| Cpu::with_kernels(threads, name).unwrap())).collect()
}

#[test]
fn every_set_and_format_computes_the_product() {
    for format in Format::ALL {
        for (rows, cols) in sizes(format) {
            let matrix = matrix(format, rows, cols, 7);
            let x = exact_activations(19, cols, 11);
            let wanted = naive(&matrix, &x);
            for cpu in machines() {
                let error = relative_error(&product(&cpu, &matrix, &x), &wanted);
                assert!(error < 3e-6, "{format} {rows}x{cols} on {}: {error}", cpu.kernels());
            }
        }
    }
}

#[test]
fn f8_is_packed_as_the_f16_of_its_values() {
    let (rows, cols) = (17, 254);
    let codes: Vec<u8> = (0..rows * cols).map(|i| (i % 127) as u8 | if i % 254 < 127 { 0 } else { 0x80 }).collect();
    let row = |row: usize| &codes[row * cols..][..cols];
    let packed = Matrix::pack_blocks(DType::F8_E4M3, rows, cols, row);
    let wanted = Matrix::pack_f32(Format::F16, rows, cols, |index, out| dequantize(DType::F8_E4M3, row(index), out));
    assert_eq!(packed.format(), Format::F16);
    assert!(packed.bytes() == wanted.bytes());
}

/// Rows of activations around the numbers that kernels take at a time.
const COUNTS: [usize; 10] = [0, 1, 2, 3, 4, 5, 8, 9, 17, 20];

#[test]
fn sets_agree_bit_for_bit() {
    let portable = Cpu::with_kernels(1, "portable").unwrap();
    for format in Format::ALL {
        for (rows, cols) in sizes(format) {
            let matrix = matrix(format, rows, cols, 3);
            let x = Numbers(5).vec(20 * cols);
            let wanted = product(&portable, &matrix, &x);
            for cpu in machines() {
                for count in COUNTS {
                    let found = product(&cpu, &matrix, &x[..count * cols]);
                    let name = cpu.kernels();
                    assert!(found == wanted[..count * rows], "{format} {rows}x{cols}, {count} rows, {name}");
                }
            }
        }
    }
}

#[test]
fn sums_of_the_largest_products_do_not_overflow() {
    let portable = Cpu::with_kernels(1, "portable").unwrap();
    let (rows, cols) = (17, 256);
    for format in Format::ALL {
        let Format::Ggml(dtype) = format else { continue };
        // All bits of every code; the largest and the smallest signed byte.
        for byte in [0xff, 0x7f, 0x80] {
            let block = row_of_blocks(dtype, cols, || byte);
            let matrix = Matrix::pack_blocks(dtype, rows, cols, |_| &block[..]);
            for value in [127.0, -127.0] {
                let x = vec![value; 18 * cols];
                let wanted = product(&portable, &matrix, &x);
                for cpu in machines() {
                    let found = product(&cpu, &matrix, &x);
                    assert!(found == wanted, "{format}, bytes {byte:#x}, {value}, {}", cpu.kernels());
                }
            }
        }
    }
}

#[test]
fn a_row_is_the_same_whatever_it_is_batched_with() {
    for format in Format::ALL {
        let matrix = matrix(format, 56, 512, 9);
        for cpu in machines() {
            let x = Numbers(13).vec(40 * 512);
            let alone: Vec<f32> = x.chunks_exact(512).flat_map(|row| product(&cpu, &matrix, row)).collect();
            for count in [2, 3, 4, 7, 8, 9, 16, 17, 18, 23, 40] {
                // The second time, the other of two kernels is tried.
                for time in 0..2 {
                    let batched = product(&cpu, &matrix, &x[..count * 512]);
                    assert!(batched == alone[..count * 56], "{format}, {count} rows, {}, {time}", cpu.kernels());
                }
            }
        }
    }
}

#[test]
fn bias_residual_and_several_matrices_at_once() {
    let cpu = Cpu::new(2);
    let (a, b) = (matrix(Format::Q8, 20, 64, 1), matrix(Format::Q4, 35, 64, 2));
    let x = Numbers(3).vec(3 * 64);
    let bias = Numbers(4).vec(35);
    let mut activations = Activations::new();
    cpu.prepare(&x, 64, &[&a, &b], &mut activations);
    let (mut out_a, mut out_b) = (vec![1.0; 60], vec![0.0; 105]);
    cpu.matmul(
        &activations,
        &mut [
            MatmulJob { matrix: &a, bias: None, out: &mut out_a, add: true },
            MatmulJob { matrix: &b, bias: Some(&bias), out: &mut out_b, add: false },
        ],
    );
    let wanted_a: Vec<f32> = product(&cpu, &a, &x).iter().map(|v| 1.0 + v).collect();
    let wanted_b: Vec<f32> = product(&cpu, &b, &x).iter().zip(bias.iter().cycle()).map(|(v, b)| v + b).collect();
    assert_eq!(out_a, wanted_a);
    assert_eq!(out_b, wanted_b);
}

#[test]
fn our_formats_lose_little() {
    let values = Numbers(21).vec(64 * 896);
    // A step of d errs by d / sqrt(12) in the mean; the steps are 1/127, 1/31 and 2/15 of the largest value.
    let limits =
        [(Format::F32, 0.0), (Format::F16, 3e-4), (Format::Q8, 0.004), (Format::Q6, 0.0165), (Format::Q4, 0.068)];
    for (format, limit) in limits {
        let packed = Matrix::pack_f32(format, 64, 896, |row, out| out.copy_from_slice(&values[row * 896..][..896]));
        let mut held = vec![0.0; values.len()];
        held.chunks_exact_mut(896).enumerate().for_each(|(row, out)| packed.read_row(row, out));
        let square = |x: f32| f64::from(x).powi(2);
        let lost: f64 = held.iter().zip(&values).map(|(h, v)| square(h - v)).sum();
        let error = (lost / values.iter().copied().map(square).sum::<f64>()).sqrt();
        assert!(error <= limit, "{format}: {error}");
    }
}

#[test]
fn blocks_are_held_exactly() {
    for format in Format::ALL {
        let Format::Ggml(dtype) = format else { continue };
        let mut numbers = Numbers(17);
        let blocks: Vec<Vec<u8>> = (0..18).map(|_| row_of_blocks(dtype, 512, || numbers.bits() as u8)).collect();
        let packed = Matrix::pack_blocks(dtype, 18, 512, |row| &blocks[row]);
        for (row, bytes) in blocks.iter().enumerate() {
            let (mut wanted, mut found) = (vec![0.0; 512], vec![0.0; 512]);
            synapse_kernels::dequantize(dtype, bytes, &mut wanted);
            packed.read_row(row, &mut found);
            assert_eq!(found, wanted, "{format} row {row}");
        }
    }
}

#[test]
fn packed_bytes_can_be_put_back_and_wrong_ones_are_refused() {
    let packed = matrix(Format::Q4, 33, 100, 1);
    let again = Matrix::from_packed(Format::Q4, 33, 100, packed.bytes().to_vec().into()).unwrap();
    let x = Numbers(2).vec(100);
    assert_eq!(product(&Cpu::new(1), &again, &x), product(&Cpu::new(1), &packed, &x));
    let short = packed.bytes()[1..].to_vec();
    assert!(Matrix::from_packed(Format::Q4, 33, 100, short.into()).unwrap_err().contains("found"));
    assert!(Matrix::from_packed(Format::Q4, usize::MAX, usize::MAX, Vec::new().into()).is_err());
}
