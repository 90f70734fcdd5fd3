//! From the residual stream to what the segments of a batch want: final norm and output head. Knows no layer.
use super::rows::{wanted_hidden, wanted_logits};
use crate::{
    Result,
    backends::{Backend, Linear, Norm},
    batch::{Batch, SegmentOutput},
    clock::Operation,
};

/// Rows that go through the output head at once: bounds the memory of logits, and is enough to keep the head busy.
const HEAD_ROWS: usize = 64;

/// `logits = head(projection(norm(x)))`.
pub struct Output<B: Backend> {
    pub norm: Norm<B>,
    /// To the width of the embedding, where that is another.
    pub projection: Option<Linear<B>>,
    /// The embedding, if nothing.
    pub head: Option<Linear<B>>,
    buffers: Buffers<B>,
}

struct Buffers<B: Backend> {
    wanted: B::Buffer,
    normed: B::Buffer,
    projected: B::Buffer,
    logits: B::Buffer,
}

impl<B: Backend> Output<B> {
    /// `embedding` is the width of the head's input.
    pub fn new(
        backend: &mut B,
        (hidden, embedding, vocab): (usize, usize, usize),
        norm: Norm<B>,
        projection: Option<Linear<B>>,
        head: Option<Linear<B>>,
    ) -> Result<Self> {
        let mut buffer = |features| backend.buffer(features);
        let (wanted, normed) = (buffer(hidden)?, buffer(hidden)?);
        let buffers = Buffers { wanted, normed, projected: buffer(embedding)?, logits: buffer(vocab)? };
        Ok(Self { norm, projection, head, buffers })
    }

    /// Everything that the segments want; `embed` is the embedding.
    pub fn run(
        &mut self,
        backend: &mut B,
        embed: &Linear<B>,
        batch: &Batch,
        x: &B::Buffer,
    ) -> Result<Vec<SegmentOutput>> {
        let mut outputs = vec![SegmentOutput::default(); batch.segments.len()];
        self.logits(backend, embed, batch, x, &mut outputs)?;
        self.hidden(backend, batch, x, &mut outputs)?;
        Ok(outputs)
    }

    fn logits(
        &mut self,
        backend: &mut B,
        embed: &Linear<B>,
        batch: &Batch,
        x: &B::Buffer,
        outputs: &mut [SegmentOutput],
    ) -> Result<()> {
        let Self { norm, projection, head, buffers: Buffers { wanted, projected, logits, .. } } = self;
        let head = head.as_ref().unwrap_or(embed);
        for wish in wanted_logits(batch).chunks(HEAD_ROWS) {
            backend.gather(x, wish, wanted)?;
            match projection {
                None => backend.norm_project(Operation::Head, wanted, norm, [(head, &mut *logits)])?,
                Some(projection) => {
                    backend.norm_project(Operation::Head, wanted, norm, [(&*projection, &mut *projected)])?;
                    backend.project(Operation::Head, projected, head, logits)?;
                }
            }
            backend.read(logits, |row, values| outputs[wish[row].segment].logits.extend_from_slice(values))?;
        }
        Ok(())
    }

    /// Final norm, for the rows whose hidden state is wanted.
    fn hidden(&mut self, backend: &mut B, batch: &Batch, x: &B::Buffer, outputs: &mut [SegmentOutput]) -> Result<()> {
        let Self { norm, buffers: Buffers { wanted, normed, .. }, .. } = self;
        for wish in wanted_hidden(batch).chunks(HEAD_ROWS) {
            backend.gather(x, wish, wanted)?;
            backend.norm(wanted, norm, normed)?;
            backend.read(normed, |row, values| outputs[wish[row].segment].hidden.extend_from_slice(values))?;
        }
        Ok(())
    }
}
