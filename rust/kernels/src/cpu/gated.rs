//! The first half of a gated feed-forward network, two products and the gate between them, on all threads.
use super::{
    Cpu, MatmulJob, Rows,
    matmul::{CHUNKS_PER_THREAD, ROWS_WORTH_TRYING, SCRATCH, rows},
};
use crate::{
    Activations, Matrix,
    activations::GROUP,
    gemm::expanded::{GroupSink, TILES},
    simd::LANES,
};

/// Weights and their bias.
pub type Linear<'a> = (&'a Matrix, Option<&'a [f32]>);

/// Gates and what they let through, where they do not stay in the cache. Grows and is reused.
#[derive(Debug, Default)]
pub struct GateBuffers {
    gate: Vec<f32>,
    up: Vec<f32>,
}

impl Cpu {
    /// `silu(gate(x)) * up(x)` of each row, as the matrix `for_` wants it.
    ///
    /// # Panics
    /// If sizes do not fit, or the activations were not prepared for one of the matrices.
    pub fn gated(
        &self,
        x: &Activations,
        [gate, up]: [Linear; 2],
        for_: &Matrix,
        between: &mut GateBuffers,
        out: &mut Activations,
    ) {
        assert_eq!(gate.0.rows(), up.0.rows(), "gated: gate and up differ in size");
        assert_eq!(gate.0.rows(), for_.cols(), "gated: the gate has other columns than the next matrix");
        if worth_fusing(x, [gate, up], for_) {
            return self.gated_groups(x, [gate.0, up.0], out);
        }
        let size = x.rows() * for_.cols();
        between.gate.resize(size, 0.0);
        between.up.resize(size, 0.0);
        let job = |(matrix, bias), out| MatmulJob { matrix, bias, out, add: false };
        self.matmul(x, &mut [job(gate, &mut between.gate), job(up, &mut between.up)]);
        self.silu_mul(&between.gate, &between.up, for_.cols(), &[for_], out);
    }

    /// Tiles of both matrices together, the sums kept in the cache until both are there.
    fn gated_groups(&self, x: &Activations, [gate, up]: [&Matrix; 2], out: &mut Activations) {
        for matrix in [gate, up] {
            assert_eq!(matrix.cols(), x.cols(), "gated: the activations have other columns");
            assert!(!x.panels.is_empty(), "activations were not prepared for {}", matrix.format());
        }
        let groups = gate.rows() / GROUP;
        out.reshape(x.rows(), gate.rows(), false, true);
        let panels = Rows::new(&mut out.panels, groups);
        let per_chunk = groups.div_ceil(self.threads() * CHUNKS_PER_THREAD).max(1);
        self.pool.run(groups.div_ceil(per_chunk), &|chunk| {
            SCRATCH.with_borrow_mut(|scratch| {
                for group in chunk * per_chunk..groups.min((chunk + 1) * per_chunk) {
                    let tiles = |matrix: &Matrix| [0, 1].map(|tile| matrix.tile(group * TILES + tile));
                    let (gates, ups) = (tiles(gate), tiles(up));
                    let next = gates.map(|tile| tile.wrapping_add(TILES * gate.tile_bytes()));
                    let out = GroupSink { out: panels.at(0, group), stride: groups };
                    // SAFETY: sizes were checked above; each group is written by one thread, once.
                    unsafe {
                        self.set.add_up(gate.format(), scratch, gates, ups, rows(x), x.rows());
                        scratch.hold();
                        self.set.add_up(up.format(), scratch, ups, next, rows(x), x.rows());
                        self.set.gate(scratch, x.rows(), out);
                    }
                }
            });
        });
    }
}

/// Whether many rows meet matrices whose pairs of tiles make whole groups.
fn worth_fusing(x: &Activations, [gate, up]: [Linear; 2], for_: &Matrix) -> bool {
    const { assert!(GROUP == TILES * LANES) };
    let quantized = !gate.0.format().is_float() && !for_.format().is_float();
    let alike = gate.0.format() == up.0.format() && gate.1.is_none() && up.1.is_none();
    x.rows() > *ROWS_WORTH_TRYING.end() && quantized && alike && gate.0.rows().is_multiple_of(GROUP)
}
