//! The machine: worker threads and the best kernel set. Every operation here is safe, checks its sizes, and splits its work
//! so that results do not depend on the number of threads.
mod attention;
mod choice;
mod gated;
mod low_rank;
mod matmul;
mod mixing;
mod roofs;

use std::cell::RefCell;

use crate::{
    Activations, Matrix,
    activations::{GROUP, PANEL},
    pool::Pool,
    set::{self, KernelSet},
};
pub use attention::AttentionSegment;
use choice::Choices;
pub use gated::GateBuffers;
pub use low_rank::{LowRank, LowRankJob};
pub use matmul::MatmulJob;
pub use roofs::Roofs;

/// Fewer rows than this are not worth waking a worker for.
const ROWS_WORTH_SPLITTING: usize = 4;

/// Rows whose norms are one piece of work.
const NORM_ROWS: usize = 16;

/// Threads and kernels.
pub struct Cpu {
    pool: Pool,
    set: Box<dyn KernelSet>,
    choices: Choices,
}

thread_local! {
    /// One row between two steps of a fused operation.
    static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Cpu {
    /// `threads` threads (at least 1) and the best kernel set of this CPU.
    pub fn new(threads: usize) -> Cpu {
        let set = set::available().next().unwrap_or_else(|| Box::new(crate::simd::Portable));
        Cpu { pool: Pool::new(threads), set, choices: Choices::default() }
    }

    /// As [`Cpu::new`] with the kernel set of that name; the error lists those this CPU has.
    pub fn with_kernels(threads: usize, name: &str) -> Result<Cpu, String> {
        let set = set::find(name)?;
        Ok(Cpu { pool: Pool::new(threads), set, choices: Choices::default() })
    }

    /// Names of the kernel sets that this CPU can run, best first.
    pub fn available() -> Vec<&'static str> {
        set::available().map(|set| set.name()).collect()
    }

    /// Names of the kernel sets made for this architecture, best first, whether or not this CPU can run them.
    pub fn known() -> Vec<&'static str> {
        set::ALL.iter().map(|entry| entry.name).collect()
    }

    /// The kernel set in use, such as `x86-avx512-vnni`.
    pub fn kernels(&self) -> &'static str {
        self.set.name()
    }

    /// Threads that compute, the caller's among them.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Rows of `x` (`cols` each) as the matrices `for_` want them.
    pub fn prepare(&self, x: &[f32], cols: usize, for_: &[&Matrix], out: &mut Activations) {
        self.fill(x.len() / cols, cols, for_, out, &|row, values| values.copy_from_slice(&x[row * cols..][..cols]));
    }

    /// `x / rms(x) * weight` of each row, as the matrices `for_` want it. Rows are `weight.len()` long.
    pub fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, for_: &[&Matrix], out: &mut Activations) {
        let cols = weight.len();
        self.fill(x.len() / cols, cols, for_, out, &|row, values| {
            self.set.rms_norm(&x[row * cols..][..cols], weight, eps, values);
        });
    }

    /// `x / rms(x) * weight` of each row.
    pub fn rms_norm_f32(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        assert_eq!(x.len(), out.len(), "rms_norm: input and output differ in size");
        let rows = x.len() / weight.len();
        let out = Rows::new(out, weight.len());
        self.for_each(rows.div_ceil(NORM_ROWS), rows > NORM_ROWS, &|part| {
            for row in part * NORM_ROWS..rows.min((part + 1) * NORM_ROWS) {
                // SAFETY: each row is visited by one thread, once.
                self.set.rms_norm(&x[row * weight.len()..][..weight.len()], weight, eps, unsafe { out.row(row) });
            }
        });
    }

    /// `silu(gate) * up` of each row (`cols` each), as the matrices `for_` want it.
    pub fn silu_mul(&self, gate: &[f32], up: &[f32], cols: usize, for_: &[&Matrix], out: &mut Activations) {
        assert_eq!(gate.len(), up.len(), "silu_mul: gate and up differ in size");
        self.fill(gate.len() / cols, cols, for_, out, &|row, values| {
            self.set.silu_mul(&gate[row * cols..][..cols], &up[row * cols..][..cols], values);
        });
    }

    /// Fills activations row by row, in parallel: f32, quantized or both.
    fn fill(
        &self,
        rows: usize,
        cols: usize,
        for_: &[&Matrix],
        out: &mut Activations,
        write: &(dyn Fn(usize, &mut [f32]) + Sync),
    ) {
        let float = for_.iter().any(|matrix| matrix.format().is_float());
        let quantized = for_.iter().any(|matrix| !matrix.format().is_float());
        out.reshape(rows, cols, float, quantized);
        let values = Rows::new(&mut out.values, cols);
        let panels = Rows::new(&mut out.panels, cols.div_ceil(GROUP));
        self.for_each(rows.div_ceil(PANEL), rows >= ROWS_WORTH_SPLITTING, &|panel| {
            ROW.with_borrow_mut(|scratch| {
                scratch.resize(cols, 0.0);
                for row in panel * PANEL..rows.min((panel + 1) * PANEL) {
                    write(row, scratch);
                    if float {
                        // SAFETY: each row is visited by one thread, once.
                        unsafe { values.row(row) }.copy_from_slice(scratch);
                    }
                    if quantized {
                        // SAFETY: each panel is visited by one thread, once.
                        self.set.quantize(scratch, unsafe { panels.row(panel) }, row % PANEL);
                    }
                }
            });
        });
    }

    /// Calls `job` with `0..count`, on all threads where that is worth while.
    fn for_each(&self, count: usize, worth_splitting: bool, job: &(dyn Fn(usize) + Sync)) {
        if worth_splitting { self.pool.run(count, job) } else { (0..count).for_each(job) }
    }
}

/// Rows of a buffer that several threads write, each its own.
struct Rows<T> {
    start: *mut T,
    width: usize,
    rows: usize,
}

// SAFETY: `row` hands out disjoint slices as long as its contract is kept.
unsafe impl<T: Send> Sync for Rows<T> {}

impl<T> Rows<T> {
    fn new(buffer: &mut [T], width: usize) -> Self {
        Self { start: buffer.as_mut_ptr(), width, rows: buffer.len().checked_div(width).unwrap_or(0) }
    }

    /// Where an element of a row lies.
    fn at(&self, row: usize, column: usize) -> *mut T {
        self.start.wrapping_add(row * self.width + column)
    }

    /// # Safety
    /// No other reference to this row may be alive.
    #[allow(clippy::mut_from_ref)]
    unsafe fn row(&self, index: usize) -> &mut [T] {
        assert!(index < self.rows, "row {index} of {}", self.rows);
        // SAFETY: in bounds by the assertion; not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(index * self.width), self.width) }
    }
}
