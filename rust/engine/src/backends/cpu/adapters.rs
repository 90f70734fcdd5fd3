//! Which rows of a batch have which adapters, and what these add to a product. Knows no model.
use std::{ops::Range, sync::Arc};

use synapse_kernels::{Activations, LowRank, LowRankJob, Matrix};

use super::{Cpu, Linear};
use crate::{
    adapter::{self, Adapter},
    batch::Batch,
    clock::{Clock, Operation, Work},
};

/// The adapters of a batch.
#[derive(Default)]
pub struct Adapters {
    active: Vec<Active>,
    /// Between the two products of a low-rank addition.
    between: Vec<f32>,
}

/// An adapter in some rows.
struct Active {
    adapter: Arc<Adapter>,
    weight: f32,
    rows: Range<usize>,
}

impl Adapters {
    /// Those of a batch, segment by segment.
    pub fn begin(&mut self, batch: &Batch) {
        self.active.clear();
        let mut first = 0;
        for segment in &batch.segments {
            let end = first + segment.tokens.len();
            for adapter::Part { adapter, weight, from } in segment.blend.iter().flat_map(|blend| blend.iter()) {
                let skipped = from.saturating_sub(segment.start);
                if first + skipped < end {
                    self.add_active(adapter, *weight, first + skipped..end);
                }
            }
            first = end;
        }
    }

    /// Rows that follow each other and have the same adapter are one, so that its weights are read once.
    fn add_active(&mut self, adapter: &Arc<Adapter>, weight: f32, rows: Range<usize>) {
        match self.active.last_mut() {
            Some(last)
                if Arc::ptr_eq(&last.adapter, adapter) && last.weight == weight && last.rows.end == rows.start =>
            {
                last.rows.end = rows.end;
            }
            _ => self.active.push(Active { adapter: Arc::clone(adapter), weight, rows }),
        }
    }

    /// A matrix that stands for those that will meet the input of these maps, if there are any.
    pub fn touching(&self, linears: &[&Linear<Cpu>]) -> Option<&Matrix> {
        let part = |linear: &&Linear<Cpu>| self.parts(linear).next().map(|(_, part)| &part.down);
        linears.iter().find_map(part)
    }

    /// Adds to the outputs of these maps of `x`.
    pub fn add<'a>(
        &mut self,
        machine: &synapse_kernels::Cpu,
        clock: &Clock,
        x: &Activations,
        outs: impl IntoIterator<Item = (&'a Linear<Cpu>, &'a mut [f32])>,
    ) {
        let mut between = std::mem::take(&mut self.between);
        let mut jobs: Vec<LowRankJob> = Vec::new();
        for (linear, out) in outs {
            let parts: Vec<_> = self.parts(linear).map(|(active, part)| active.low_rank(part)).collect();
            jobs.extend((!parts.is_empty()).then_some(LowRankJob { parts, out }));
        }
        if !jobs.is_empty() {
            let work = jobs.iter().flat_map(|job| &job.parts).fold(Work::default(), work);
            machine.add_low_rank(x, &mut jobs, &mut between);
            clock.lap_with(Operation::Adapters, work);
        }
        self.between = between;
    }

    /// What is added at a map, and to which rows.
    fn parts(&self, linear: &Linear<Cpu>) -> impl Iterator<Item = (&Active, &adapter::LowRank)> {
        let site = linear.site;
        self.active.iter().filter_map(move |active| Some((active, active.adapter.part(site?)?)))
    }
}

impl Active {
    fn low_rank<'a>(&self, part: &'a adapter::LowRank) -> LowRank<'a> {
        let adapter::LowRank { down, up, scale } = part;
        LowRank { down, up, scale: self.weight * scale, rows: self.rows.clone() }
    }
}

fn work(work: Work, LowRank { down, up, rows, .. }: &LowRank) -> Work {
    let weights = (down.rows() * down.cols() + up.rows() * up.cols()) as u64;
    let bytes = (down.bytes().len() + up.bytes().len()) as u64;
    Work { multiply_adds: work.multiply_adds + rows.len() as u64 * weights, bytes: work.bytes + bytes }
}
