//! Convolutions and Monarch matrices over pages against the dense matrices they stand for.
mod common;

use common::{Numbers, relative_error};
use synapse_kernels::{
    AttentionSegment, Cpu, MONARCH_VALUES, MONARCH_WINDOW, Mixer, Monarch, MonarchLayout, WindowLayer, WindowShape,
};

const CHANNELS: usize = 64;
const PAGES: usize = 53;

struct Case {
    kernel: Vec<f32>,
    monarch: Option<Monarch>,
}

fn case(lags: usize, layout: Option<MonarchLayout>, heads: usize) -> Case {
    let mut n = Numbers(lags as u64 + heads as u64);
    let monarch = layout.map(|layout| Monarch {
        layout,
        heads: (0..heads).map(|_| [n.vec(MONARCH_VALUES), n.vec(MONARCH_VALUES)]).collect(),
        gain: n.vec(CHANNELS),
    });
    Case { kernel: n.vec(lags * CHANNELS), monarch }
}

fn cases() -> impl Iterator<Item = Case> {
    let monarchs = [(None, 1), (Some(MonarchLayout::Torch), 2), (Some(MonarchLayout::Julia), 4)];
    [1, 4, 20, MONARCH_WINDOW]
        .into_iter()
        .flat_map(move |lags| monarchs.into_iter().map(move |(layout, heads)| case(lags, layout, heads)))
}

/// Entry (t, s) of a Monarch matrix, as section 1.3 of the organelles' reference writes it.
fn entry(layout: MonarchLayout, [l1, l2]: &[Vec<f32>; 2], t: usize, s: usize) -> f64 {
    let at = |a: usize, b: usize, c: usize| (a * 16 + b) * 16 + c;
    let (m, n, i, j) = match layout {
        MonarchLayout::Torch => (t / 16, t % 16, s / 16, s % 16),
        MonarchLayout::Julia => (t % 16, t / 16, s % 16, s / 16),
    };
    f64::from(l1[at(n, j, m)]) * f64::from(l2[at(m, i, j)])
}

/// The whole sequence through dense causal matrices.
fn dense(case: &Case, input: &[f32]) -> Vec<f32> {
    let lags = case.kernel.len() / CHANNELS;
    let rows = input.len() / CHANNELS;
    let at = |t: usize, c: usize| {
        let mut sum = 0.0;
        for s in 0..=t {
            let u = f64::from(input[s * CHANNELS + c]);
            if t - s < lags {
                sum += f64::from(case.kernel[(t - s) * CHANNELS + c]) * u;
            }
            if let Some(monarch) = &case.monarch {
                let head = &monarch.heads[c / (CHANNELS / monarch.heads.len())];
                sum += f64::from(monarch.gain[c]) * entry(monarch.layout, head, t, s) * u;
            }
        }
        sum as f32
    };
    (0..rows * CHANNELS).map(|place| at(place / CHANNELS, place % CHANNELS)).collect()
}

/// Runs a sequence in chunks over scattered pages that hold what others left there.
fn run(cpu: &Cpu, case: &Case, input: &[f32], chunks: &[usize]) -> Vec<f32> {
    let mixer = Mixer::new(CHANNELS, &case.kernel, case.monarch.clone()).unwrap();
    let mut window = WindowLayer::new(WindowShape { channels: CHANNELS, monarch: case.monarch.is_some() }, PAGES);
    let everywhere: Vec<u32> = (0..16).collect();
    let noise = Numbers(99).vec(MONARCH_WINDOW * CHANNELS);
    let other = [AttentionSegment { row: 0, rows: MONARCH_WINDOW, start: 0, pages: &everywhere }];
    cpu.mix(&mixer, &other, &noise, &mut window, &mut noise.clone());
    let pages: Vec<u32> = (0..16).map(|page| page * 5 % 16).collect();
    let mut out = vec![0.0; input.len()];
    let mut start = 0;
    for &rows in chunks {
        let part = start * CHANNELS..(start + rows) * CHANNELS;
        let pages = &pages[..(start + rows).div_ceil(16)];
        let segments = [AttentionSegment { row: 0, rows, start, pages }];
        cpu.mix(&mixer, &segments, &input[part.clone()], &mut window, &mut out[part]);
        start += rows;
    }
    assert_eq!(start * CHANNELS, input.len());
    out
}

#[test]
fn every_set_gives_what_the_dense_matrices_give() {
    for case in cases() {
        let input = Numbers(5).vec(MONARCH_WINDOW * CHANNELS);
        let wanted = dense(&case, &input);
        for rows in [1, 15, 16, 17, 100, 255, 256] {
            let (input, wanted) = (&input[..rows * CHANNELS], &wanted[..rows * CHANNELS]);
            let mut first: Option<Vec<f32>> = None;
            for name in Cpu::available() {
                let found = run(&Cpu::with_kernels(2, name).unwrap(), &case, input, &[rows]);
                let error = relative_error(&found, wanted);
                assert!(error < 2e-6, "{name}: {rows} rows: {error}");
                let first = first.get_or_insert_with(|| found.clone());
                assert!(*first == found, "{name}: {rows} rows: other bits than the set before");
            }
        }
    }
}

#[test]
fn chunks_and_single_tokens_give_the_bits_of_the_whole() {
    for case in cases() {
        let input = Numbers(7).vec(MONARCH_WINDOW * CHANNELS);
        let cpu = Cpu::new(3);
        let whole = run(&cpu, &case, &input, &[MONARCH_WINDOW]);
        for chunks in [&[1, 14, 1, 1, 3, 60, 50, 126][..], &[16, 48, 192], &[1; MONARCH_WINDOW]] {
            assert!(run(&cpu, &case, &input, chunks) == whole, "{chunks:?}");
        }
    }
}

#[test]
fn a_batch_gives_each_sequence_what_it_gets_alone() {
    let case = case(MONARCH_WINDOW, Some(MonarchLayout::Julia), 2);
    let mixer = Mixer::new(CHANNELS, &case.kernel, case.monarch.clone()).unwrap();
    let mut window = WindowLayer::new(WindowShape { channels: CHANNELS, monarch: true }, PAGES);
    let cpu = Cpu::new(2);
    let inputs = [40, 1, 17].map(|rows| Numbers(rows as u64).vec(rows * CHANNELS));
    let pages = [[3, 1, 4], [10, 11, 12], [20, 19, 18]];
    let mut row = 0;
    let mut segments = Vec::new();
    for (input, pages) in inputs.iter().zip(&pages) {
        let rows = input.len() / CHANNELS;
        segments.push(AttentionSegment { row, rows, start: 0, pages });
        row += rows;
    }
    let mut out = vec![0.0; row * CHANNELS];
    cpu.mix(&mixer, &segments, &inputs.concat(), &mut window, &mut out);
    let alone = inputs.each_ref().map(|input| run(&cpu, &case, input, &[input.len() / CHANNELS]));
    assert!(out == alone.concat());
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let refused = |channels: usize, case: Case| Mixer::new(channels, &case.kernel, case.monarch).err().unwrap();
    assert!(refused(60, case(4, None, 1)).contains("multiple of 16"));
    assert!(refused(48, case(4, None, 1)).contains("256 values"));
    assert!(refused(CHANNELS, case(4, Some(MonarchLayout::Torch), 3)).contains("3 Monarch heads"));
    let mut short = case(4, Some(MonarchLayout::Torch), 2);
    short.monarch.as_mut().unwrap().heads[1][0].pop();
    assert!(refused(CHANNELS, short).contains("expected 4096 values, found 4095"));
}
