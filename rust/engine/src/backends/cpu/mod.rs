//! The CPU backend: hands slices of its buffers to the kernels. Knows no instruction set.
mod adapters;
mod buffer;
mod kernels;

pub use buffer::Buffer;
pub use kernels::name as chosen_kernels;

use synapse_kernels::{
    Activations, AttentionSegment, GateBuffers, KvLayer, KvShape, MatmulJob, Matrix, Mixer, PAGE_TOKENS, Roofs,
    WindowLayer, WindowShape,
};

use adapters::Adapters;

use super::{Backend, GatedFfn, LayerNorm, Linear, Norm, Rope, Row};
use crate::{
    Error, Result,
    batch::{Batch, TokenId},
    clock::{Clock, Operation, Work},
};

/// Runs on the machine's processor.
pub struct Cpu {
    machine: synapse_kernels::Cpu,
    /// The input of the next product, in whatever form its matrices want.
    activations: Activations,
    attended: Buffer,
    /// The input of a feed-forward network's last product.
    gated: Activations,
    between: GateBuffers,
    adapters: Adapters,
    /// Gates and what they let through, where adapters add to them.
    gate: Buffer,
    up: Buffer,
    clock: Clock,
    /// Bytes of all pages of all layers.
    state_bytes: usize,
}

impl Cpu {
    /// Starts the workers, with the best kernel set of this processor.
    pub fn new(threads: usize) -> Self {
        Self::on(synapse_kernels::Cpu::new(threads))
    }

    /// Starts the workers, with the kernel set that `SYNAPSE_KERNELS` names or else the best.
    pub fn chosen(threads: usize) -> Result<Self> {
        kernels::chosen(threads).map(Self::on)
    }

    fn on(machine: synapse_kernels::Cpu) -> Self {
        Self {
            machine,
            activations: Activations::new(),
            attended: Buffer::default(),
            gated: Activations::new(),
            between: GateBuffers::default(),
            adapters: Adapters::default(),
            gate: Buffer::default(),
            up: Buffer::default(),
            clock: Clock::default(),
            state_bytes: 0,
        }
    }

    /// Counts the pages of one more layer.
    ///
    /// # Errors
    /// [`Error::Request`] if the system would not give memory for those of all layers so far: asking for it would end the process.
    fn add_state(&mut self, page_bytes: usize, pages: usize) -> Result<()> {
        let wanted = page_bytes.checked_mul(pages).and_then(|bytes| bytes.checked_add(self.state_bytes));
        let bytes = wanted.filter(|&bytes| obtainable(bytes)).ok_or_else(|| Error::Request {
            param: "kv_tokens".into(),
            reason: format!(
                "{} tokens need more memory than there is; lower it or context_length",
                pages.saturating_mul(PAGE_TOKENS)
            ),
        })?;
        self.state_bytes = bytes;
        Ok(())
    }

    /// Name of the kernel set chosen for this processor.
    pub fn kernels(&self) -> &'static str {
        self.machine.kernels()
    }

    /// Threads that compute, the caller's included.
    pub fn threads(&self) -> usize {
        self.machine.threads()
    }

    /// Measures what the processor and its memory can do at most, with these kernels and threads.
    pub fn roofs(&self) -> Roofs {
        self.machine.roofs()
    }
}

/// Whether the system would give so much memory now. Memory that is not written to costs nothing.
fn obtainable(bytes: usize) -> bool {
    let mut room = Vec::<u8>::new();
    let given = room.try_reserve_exact(bytes).is_ok();
    // An allocation that nobody sees may be optimized away, as if it had succeeded.
    std::hint::black_box(&mut room);
    given
}

/// The batch's tokens in one run, and where each segment's rows and pages are.
pub struct Pass<'a> {
    tokens: Vec<TokenId>,
    segments: Vec<AttentionSegment<'a>>,
}

impl Pass<'_> {
    /// What one layer's pages of this size hold of all positions so far.
    fn bytes(&self, page_bytes: usize) -> u64 {
        let positions: usize = self.segments.iter().map(|segment| segment.start + segment.rows).sum();
        (positions * page_bytes / PAGE_TOKENS) as u64
    }
}

/// What products of these activations cannot do without.
fn work<'a>(activations: &Activations, matrices: impl IntoIterator<Item = &'a Matrix>) -> Work {
    let rows = activations.rows() as u64;
    matrices.into_iter().fold(Work::default(), |work, matrix| Work {
        multiply_adds: work.multiply_adds + rows * matrix.rows() as u64 * matrix.cols() as u64,
        bytes: work.bytes + matrix.bytes().len() as u64,
    })
}

fn job<'a>(linear: &'a Linear<Cpu>, out: &'a mut Buffer, add: bool) -> MatmulJob<'a> {
    MatmulJob { matrix: &linear.weight, bias: linear.bias.as_deref(), out: out.values_mut(), add }
}

/// What the input of these maps meets: their weights, and what stands for their adapters.
fn inputs<'a>(adapters: &'a Adapters, linears: &[&'a Linear<Cpu>]) -> Vec<&'a Matrix> {
    linears.iter().map(|linear| &linear.weight).chain(adapters.touching(linears)).collect()
}

impl Cpu {
    /// The first half of a feed-forward network, into `gated`.
    fn plain_gates(&mut self, GatedFfn { norm, gate, up, down }: &GatedFfn<Self>, x: &Buffer) {
        let Self { machine, activations, gated, between, clock, .. } = self;
        machine.rms_norm(x.values(), &norm.weight, norm.eps, &[&gate.weight, &up.weight], activations);
        clock.lap(Operation::Norm);
        let linears = [gate, up].map(|linear| (&linear.weight, linear.bias.as_deref()));
        machine.gated(activations, linears, &down.weight, between, gated);
        clock.lap_with(Operation::GateUp, work(activations, [&gate.weight, &up.weight]));
    }

    /// The same, where adapters add to gate, up or what comes after them.
    fn adapted_gates(&mut self, GatedFfn { norm, gate, up, down }: &GatedFfn<Self>, x: &Buffer) {
        let Self { machine, activations, gated, adapters, gate: gates, up: ups, clock, .. } = self;
        machine.rms_norm(x.values(), &norm.weight, norm.eps, &inputs(adapters, &[gate, up]), activations);
        clock.lap(Operation::Norm);
        let inner = down.weight.cols();
        gates.reshape(x.rows(), inner);
        ups.reshape(x.rows(), inner);
        machine.matmul(activations, &mut [job(gate, gates, false), job(up, ups, false)]);
        clock.lap_with(Operation::GateUp, work(activations, [&gate.weight, &up.weight]));
        adapters.add(machine, clock, activations, [(gate, gates.values_mut()), (up, ups.values_mut())]);
        machine.silu_mul(gates.values(), ups.values(), inner, &inputs(adapters, &[down]), gated);
        clock.lap(Operation::GateUp);
    }
}

impl Backend for Cpu {
    type Weight = Matrix;
    type Vector = Vec<f32>;
    type Buffer = Buffer;
    type Kv = KvLayer;
    type Mixer = Mixer;
    type Window = WindowLayer;
    type Pass<'a> = Pass<'a>;

    fn weight(&mut self, matrix: Matrix) -> Result<Matrix> {
        Ok(matrix)
    }

    fn vector(&mut self, values: Vec<f32>) -> Result<Vec<f32>> {
        Ok(values)
    }

    fn buffer(&mut self, features: usize) -> Result<Buffer> {
        Ok(Buffer::new(features))
    }

    fn kv(&mut self, shape: KvShape, pages: usize) -> Result<KvLayer> {
        self.add_state(shape.page_bytes(), pages)?;
        Ok(KvLayer::new(shape, pages))
    }

    fn mixer(&mut self, mixer: Mixer) -> Result<Mixer> {
        Ok(mixer)
    }

    fn window(&mut self, shape: WindowShape, pages: usize) -> Result<WindowLayer> {
        self.add_state(shape.page_bytes(), pages)?;
        Ok(WindowLayer::new(shape, pages))
    }

    fn begin<'a>(&mut self, batch: &'a Batch) -> Result<Pass<'a>> {
        self.adapters.begin(batch);
        let mut pass = Pass { tokens: Vec::with_capacity(batch.rows()), segments: Vec::new() };
        for segment in &batch.segments {
            let (row, rows) = (pass.tokens.len(), segment.tokens.len());
            pass.segments.push(AttentionSegment { row, rows, start: segment.start, pages: &segment.pages });
            pass.tokens.extend_from_slice(&segment.tokens);
        }
        Ok(pass)
    }

    fn embed(&mut self, pass: &Pass<'_>, table: &Matrix, out: &mut Buffer) -> Result<()> {
        out.set_rows(pass.tokens.len());
        for (row, &token) in pass.tokens.iter().enumerate() {
            table.read_row(token as usize, out.row_mut(row));
        }
        self.clock.lap(Operation::Rest);
        Ok(())
    }

    fn norm(&mut self, x: &Buffer, norm: &Norm<Self>, out: &mut Buffer) -> Result<()> {
        out.set_rows(x.rows());
        self.machine.rms_norm_f32(x.values(), &norm.weight, norm.eps, out.values_mut());
        self.clock.lap(Operation::Norm);
        Ok(())
    }

    fn norm_project<const N: usize>(
        &mut self,
        operation: Operation,
        x: &Buffer,
        norm: &Norm<Self>,
        mut projections: [(&Linear<Self>, &mut Buffer); N],
    ) -> Result<()> {
        let Self { machine, activations, adapters, clock, .. } = self;
        let linears = projections.each_ref().map(|(linear, _)| *linear);
        machine.rms_norm(x.values(), &norm.weight, norm.eps, &inputs(adapters, &linears), activations);
        clock.lap(Operation::Norm);
        let mut jobs = projections.each_mut().map(|(linear, out)| {
            out.set_rows(x.rows());
            job(linear, out, false)
        });
        machine.matmul(activations, &mut jobs);
        clock.lap_with(operation, work(activations, linears.map(|linear| &linear.weight)));
        adapters.add(machine, clock, activations, projections.map(|(linear, out)| (linear, out.values_mut())));
        Ok(())
    }

    fn project(&mut self, operation: Operation, x: &Buffer, linear: &Linear<Self>, out: &mut Buffer) -> Result<()> {
        let Self { machine, activations, adapters, clock, .. } = self;
        machine.prepare(x.values(), x.features(), &inputs(adapters, &[linear]), activations);
        out.set_rows(x.rows());
        machine.matmul(activations, &mut [job(linear, out, false)]);
        clock.lap_with(operation, work(activations, [&linear.weight]));
        adapters.add(machine, clock, activations, [(linear, out.values_mut())]);
        Ok(())
    }

    fn layer_norm_silu(&mut self, x: &mut Buffer, norm: &LayerNorm<Self>) -> Result<()> {
        self.machine.layer_norm_silu(x.values_mut(), &norm.weight, &norm.bias, norm.eps);
        self.clock.lap(Operation::Norm);
        Ok(())
    }

    fn rope_and_store(
        &mut self,
        pass: &Pass<'_>,
        rope: &Rope<Self>,
        (q, k, v): (&mut Buffer, &mut Buffer, &Buffer),
        kv: &mut KvLayer,
    ) -> Result<()> {
        let heads = q.features() / kv.shape().head_dim;
        let (q, k, v) = (q.values_mut(), k.values_mut(), v.values());
        self.machine.rope_and_store(q, k, v, heads, &pass.segments, &rope.cos, &rope.sin, kv);
        self.clock.lap(Operation::Rope);
        Ok(())
    }

    fn attend(
        &mut self,
        pass: &Pass<'_>,
        q: &Buffer,
        kv: &KvLayer,
        output: &Linear<Self>,
        x: &mut Buffer,
    ) -> Result<()> {
        let heads = q.features() / kv.shape().head_dim;
        let Self { machine, activations, attended, adapters, clock, .. } = self;
        attended.reshape(q.rows(), q.features());
        machine.attention(q.values(), heads, &pass.segments, kv, attended.values_mut());
        machine.prepare(attended.values(), q.features(), &inputs(adapters, &[output]), activations);
        clock.lap_with(Operation::Attention, Work { multiply_adds: 0, bytes: pass.bytes(kv.shape().page_bytes()) });
        machine.matmul(activations, &mut [job(output, x, true)]);
        clock.lap_with(Operation::Output, work(activations, [&output.weight]));
        adapters.add(machine, clock, activations, [(output, x.values_mut())]);
        Ok(())
    }

    fn mix(
        &mut self,
        pass: &Pass<'_>,
        input: &Buffer,
        mixer: &Mixer,
        window: &mut WindowLayer,
        x: &mut Buffer,
    ) -> Result<()> {
        self.machine.mix(mixer, &pass.segments, input.values(), window, x.values_mut());
        let longest = pass.segments.iter().map(|segment| segment.start + segment.rows).max().unwrap_or_default();
        let bytes = mixer.bytes(longest) as u64 + pass.bytes(window.shape().page_bytes());
        self.clock.lap_with(Operation::Mixing, Work { multiply_adds: 0, bytes });
        Ok(())
    }

    fn gated_ffn(&mut self, ffn: &GatedFfn<Self>, x: &mut Buffer) -> Result<()> {
        if self.adapters.touching(&[&ffn.gate, &ffn.up, &ffn.down]).is_some() {
            self.adapted_gates(ffn, x);
        } else {
            self.plain_gates(ffn, x);
        }
        let Self { machine, gated, adapters, clock, .. } = self;
        machine.matmul(gated, &mut [job(&ffn.down, x, true)]);
        clock.lap_with(Operation::Down, work(gated, [&ffn.down.weight]));
        adapters.add(machine, clock, gated, [(&ffn.down, x.values_mut())]);
        Ok(())
    }

    fn gather(&mut self, x: &Buffer, rows: &[Row], out: &mut Buffer) -> Result<()> {
        out.set_rows(rows.len());
        for (to, from) in rows.iter().enumerate() {
            out.row_mut(to).copy_from_slice(x.row(from.row));
        }
        Ok(())
    }

    fn read(&mut self, buffer: &Buffer, mut see: impl FnMut(usize, &[f32])) -> Result<()> {
        (0..buffer.rows()).for_each(|row| see(row, buffer.row(row)));
        self.clock.lap(Operation::Rest);
        Ok(())
    }

    fn clock(&self) -> Option<&Clock> {
        Some(&self.clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::KvType;

    #[test]
    fn pages_that_no_memory_holds_are_refused() {
        let shape = KvShape { kv_heads: 2, head_dim: 64, kv_type: KvType::F16 };
        let refused = |cpu: &mut Cpu, pages| cpu.kv(shape, pages).err().map(|error| error.to_string());
        let mut cpu = Cpu::new(1);
        for pages in [1 << 40, 1 << 50, usize::MAX / 2, usize::MAX] {
            assert!(refused(&mut cpu, pages).is_some_and(|error| error.starts_with("kv_tokens: ")), "{pages}");
        }
        let window = WindowShape { channels: 64, monarch: false };
        assert!(cpu.window(window, 1 << 50).is_err());
        assert_eq!(refused(&mut cpu, 2), None);
        assert_eq!(cpu.state_bytes, 2 * shape.page_bytes());
    }

    #[test]
    fn what_all_layers_need_counts() {
        let shape = KvShape { kv_heads: 2, head_dim: 64, kv_type: KvType::F16 };
        let mut cpu = Cpu::new(1);
        cpu.state_bytes = usize::MAX / 2;
        assert!(cpu.kv(shape, 1).is_err());
    }
}
