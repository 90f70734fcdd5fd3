//! Attention with its projections, as every family here has it. Knows no tensor's name.
use crate::{
    Result,
    backends::{Backend, Linear, Norm, Rope},
    clock::Operation,
};

/// `x += o(attention(q(n), k(n), v(n)))` with `n` the norm of `x`.
pub struct Attention<B: Backend> {
    pub q: Linear<B>, // (heads * head_dim, hidden)
    pub k: Linear<B>, // (kv_heads * head_dim, hidden)
    pub v: Linear<B>, // (kv_heads * head_dim, hidden)
    pub o: Linear<B>, // (hidden, heads * head_dim)
    pub kv: B::Kv,
}

/// What a pass computes in between.
pub struct Projected<B: Backend> {
    q: B::Buffer,
    k: B::Buffer,
    v: B::Buffer,
}

impl<B: Backend> Projected<B> {
    /// Of so many columns.
    pub fn new(backend: &mut B, q_width: usize, kv_width: usize) -> Result<Self> {
        Ok(Self { q: backend.buffer(q_width)?, k: backend.buffer(kv_width)?, v: backend.buffer(kv_width)? })
    }
}

impl<B: Backend> Attention<B> {
    /// Writes keys and values of the batch's tokens, then adds to `x`.
    pub fn run(
        &mut self,
        backend: &mut B,
        pass: &B::Pass<'_>,
        (norm, rope): (&Norm<B>, &Rope<B>),
        Projected { q, k, v }: &mut Projected<B>,
        x: &mut B::Buffer,
    ) -> Result<()> {
        let projections = [(&self.q, &mut *q), (&self.k, &mut *k), (&self.v, &mut *v)];
        backend.norm_project(Operation::Qkv, x, norm, projections)?;
        backend.rope_and_store(pass, rope, (&mut *q, &mut *k, &*v), &mut self.kv)?;
        backend.attend(pass, q, &self.kv, &self.o, x)
    }
}
