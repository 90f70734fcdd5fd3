//! Where the arithmetic runs: the [`Backend`] trait, the CPU, and the shape-checking null. Knows no model.
mod cpu;
mod null;

pub use cpu::{Cpu, chosen_kernels};
pub use null::Null;
pub use synapse_kernels::{KvShape, KvType, MAX_HEAD_DIM, Matrix, Mixer, WindowShape};

use crate::{
    Result,
    adapter::SiteId,
    batch::Batch,
    clock::{Clock, Operation},
};

/// `y = W x + b`, and what the adapters of each row add. The number format is inside the weight.
pub struct Linear<B: Backend> {
    /// `(out_features, in_features)`.
    pub weight: B::Weight,
    /// `(out_features)`.
    pub bias: Option<B::Vector>,
    /// Where it is in adapters; they add nothing to a map without.
    pub site: Option<SiteId>,
}

/// RMSNorm (Zhang & Sennrich 2019).
pub struct Norm<B: Backend> {
    /// `(features)`.
    pub weight: B::Vector,
    /// Added to the mean square.
    pub eps: f32,
}

/// Layer normalization (Ba et al. 2016).
pub struct LayerNorm<B: Backend> {
    /// `(features)`.
    pub weight: B::Vector,
    /// `(features)`.
    pub bias: B::Vector,
    /// Added to the variance.
    pub eps: f32,
}

/// Rotary tables, `(positions, head_dim / 2)` each; component `i` of a head turns with component `i + head_dim / 2`.
pub struct Rope<B: Backend> {
    /// Cosines.
    pub cos: B::Vector,
    /// Sines.
    pub sin: B::Vector,
}

/// A SiLU-gated feed-forward network with the norm in front of it.
pub struct GatedFfn<B: Backend> {
    /// Before gate and up.
    pub norm: Norm<B>,
    /// `(intermediate, hidden)`.
    pub gate: Linear<B>,
    /// `(intermediate, hidden)`.
    pub up: Linear<B>,
    /// `(hidden, intermediate)`.
    pub down: Linear<B>,
}

/// A row of a pass that a segment wants back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The row.
    pub row: usize,
    /// The segment it belongs to.
    pub segment: usize,
}

/// A device and its kernels, at the level of fused blocks.
///
/// Activations are opaque buffers of `(rows, features)` that the backend owns; an operation gives its output as many rows
/// as its input has. A row's result never depends on the other rows of a pass.
pub trait Backend: Send + Sized {
    /// A matrix on the device.
    type Weight: Send;
    /// A small tensor on the device: a norm's weight, a bias, a table.
    type Vector: Send;
    /// Activations; keeps its memory when it holds fewer rows than before.
    type Buffer: Send;
    /// Keys and values of one layer, in pages.
    type Kv: Send;
    /// Convolutions and Monarch matrices on the device.
    type Mixer: Send;
    /// Past inputs of one layer's mixer, in pages.
    type Window: Send;
    /// A batch made ready for the device: its tokens, positions and pages.
    type Pass<'a>;

    /// Takes over a packed matrix.
    fn weight(&mut self, matrix: Matrix) -> Result<Self::Weight>;
    /// Takes over a small tensor.
    fn vector(&mut self, values: Vec<f32>) -> Result<Self::Vector>;
    /// Activations of `features` columns, no rows yet.
    fn buffer(&mut self, features: usize) -> Result<Self::Buffer>;
    /// Empty pages for one layer.
    fn kv(&mut self, shape: KvShape, pages: usize) -> Result<Self::Kv>;

    /// Takes over convolutions and Monarch matrices.
    fn mixer(&mut self, mixer: Mixer) -> Result<Self::Mixer>;
    /// Empty pages for one layer's past inputs.
    fn window(&mut self, shape: WindowShape, pages: usize) -> Result<Self::Window>;

    /// Makes a checked batch ready. Its adapters add to all maps that have a site, until the next batch: these maps run on all
    /// rows of the batch.
    fn begin<'a>(&mut self, batch: &'a Batch) -> Result<Self::Pass<'a>>;
    /// `out` = the table's row of each token.
    fn embed(&mut self, pass: &Self::Pass<'_>, table: &Self::Weight, out: &mut Self::Buffer) -> Result<()>;
    /// `out = norm(x)`.
    fn norm(&mut self, x: &Self::Buffer, norm: &Norm<Self>, out: &mut Self::Buffer) -> Result<()>;
    /// `out_i = linear_i(norm(x))`, for all at once; the products count as `operation`.
    fn norm_project<const N: usize>(
        &mut self,
        operation: Operation,
        x: &Self::Buffer,
        norm: &Norm<Self>,
        projections: [(&Linear<Self>, &mut Self::Buffer); N],
    ) -> Result<()>;
    /// `out = linear(x)`; counts as `operation`.
    fn project(
        &mut self,
        operation: Operation,
        x: &Self::Buffer,
        linear: &Linear<Self>,
        out: &mut Self::Buffer,
    ) -> Result<()>;
    /// `x = silu(norm(x))`.
    fn layer_norm_silu(&mut self, x: &mut Self::Buffer, norm: &LayerNorm<Self>) -> Result<()>;
    /// Turns q and k by their positions and writes k and v into the pages.
    fn rope_and_store(
        &mut self,
        pass: &Self::Pass<'_>,
        rope: &Rope<Self>,
        qkv: (&mut Self::Buffer, &mut Self::Buffer, &Self::Buffer),
        kv: &mut Self::Kv,
    ) -> Result<()>;
    /// `x += output(attention(q, kv))`: causal, grouped heads, scaled by `1 / sqrt(head_dim)`.
    fn attend(
        &mut self,
        pass: &Self::Pass<'_>,
        q: &Self::Buffer,
        kv: &Self::Kv,
        output: &Linear<Self>,
        x: &mut Self::Buffer,
    ) -> Result<()>;
    /// Keeps `input` in the window's pages, then `x += mixer(inputs so far)`.
    fn mix(
        &mut self,
        pass: &Self::Pass<'_>,
        input: &Self::Buffer,
        mixer: &Self::Mixer,
        window: &mut Self::Window,
        x: &mut Self::Buffer,
    ) -> Result<()>;
    /// `x += down(silu(gate(n)) * up(n))` with `n = norm(x)`.
    fn gated_ffn(&mut self, ffn: &GatedFfn<Self>, x: &mut Self::Buffer) -> Result<()>;
    /// `out` = these rows of `x`.
    fn gather(&mut self, x: &Self::Buffer, rows: &[Row], out: &mut Self::Buffer) -> Result<()>;
    /// Brings the buffer back and shows each row, with its number, to the caller.
    fn read(&mut self, buffer: &Self::Buffer, see: impl FnMut(usize, &[f32])) -> Result<()>;

    /// Where its time goes, if it keeps account.
    fn clock(&self) -> Option<&Clock> {
        None
    }
}
