//! A backend that computes nothing and checks every shape. Tests models, and lists the weights that a model asks for.
use super::{Backend, GatedFfn, KvShape, LayerNorm, Linear, Matrix, Mixer, Norm, Rope, Row, WindowShape};
use crate::{
    Error, Result,
    batch::{Batch, PAGE_TOKENS},
    clock::Operation,
};

/// Rows and columns.
pub type Shape = (usize, usize);

/// See the module.
#[derive(Debug, Default)]
pub struct Null {
    /// Every operation of a pass, with the shape of its result.
    pub calls: Vec<(&'static str, Shape)>,
}

/// Pages of one layer, as a shape.
#[derive(Debug)]
pub struct Kv {
    shape: KvShape,
    pages: usize,
}

/// Past inputs of one layer, as a shape.
#[derive(Debug)]
pub struct Window {
    shape: WindowShape,
    pages: usize,
}

impl Null {
    fn done(&mut self, operation: &'static str, result: Shape) -> Result<()> {
        self.calls.push((operation, result));
        Ok(())
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, expected: T, found: T) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Internal(format!("{what}: expected {expected:?}, found {found:?}")))
}

/// Checks `W x + b` and gives the shape of its result.
fn project(what: &str, input: Shape, linear: &Linear<Null>) -> Result<Shape> {
    let (out_features, in_features) = linear.weight;
    expect(&format!("{what}: input features"), in_features, input.1)?;
    if let Some(bias) = linear.bias {
        expect(&format!("{what}: bias"), out_features, bias)?;
    }
    Ok((input.0, out_features))
}

/// Checks that every segment's pages exist and cover it.
fn covered(what: &str, batch: &Batch, pages: usize) -> Result<()> {
    for segment in &batch.segments {
        let end = segment.start + segment.tokens.len();
        expect(&format!("{what}: pages cover the segment"), true, end <= segment.pages.len() * PAGE_TOKENS)?;
        expect(&format!("{what}: pages exist"), true, segment.pages.iter().all(|&page| (page as usize) < pages))?;
    }
    Ok(())
}

impl Backend for Null {
    type Weight = Shape;
    type Vector = usize;
    type Buffer = Shape;
    type Kv = Kv;
    /// Channels, and whether there are Monarch matrices.
    type Mixer = (usize, bool);
    type Window = Window;
    type Pass<'a> = &'a Batch;

    fn weight(&mut self, matrix: Matrix) -> Result<Shape> {
        Ok((matrix.rows(), matrix.cols()))
    }

    fn vector(&mut self, values: Vec<f32>) -> Result<usize> {
        Ok(values.len())
    }

    fn buffer(&mut self, features: usize) -> Result<Shape> {
        Ok((0, features))
    }

    fn kv(&mut self, shape: KvShape, pages: usize) -> Result<Kv> {
        Ok(Kv { shape, pages })
    }

    fn mixer(&mut self, mixer: Mixer) -> Result<(usize, bool)> {
        Ok((mixer.channels(), mixer.has_monarch()))
    }

    fn window(&mut self, shape: WindowShape, pages: usize) -> Result<Window> {
        Ok(Window { shape, pages })
    }

    fn begin<'a>(&mut self, batch: &'a Batch) -> Result<&'a Batch> {
        Ok(batch)
    }

    fn embed(&mut self, pass: &&Batch, table: &Shape, out: &mut Shape) -> Result<()> {
        expect("embed: features", table.1, out.1)?;
        if let Some(token) = pass.segments.iter().flat_map(|s| &s.tokens).find(|&&token| token as usize >= table.0) {
            return Err(Error::Internal(format!("embed: token {token} is outside the {} rows of the table", table.0)));
        }
        out.0 = pass.rows();
        self.done("embed", *out)
    }

    fn norm(&mut self, x: &Shape, norm: &Norm<Self>, out: &mut Shape) -> Result<()> {
        expect("norm: weight", x.1, norm.weight)?;
        expect("norm: features", x.1, out.1)?;
        out.0 = x.0;
        self.done("norm", *out)
    }

    fn norm_project<const N: usize>(
        &mut self,
        _: Operation,
        x: &Shape,
        norm: &Norm<Self>,
        projections: [(&Linear<Self>, &mut Shape); N],
    ) -> Result<()> {
        expect("norm_project: norm", x.1, norm.weight)?;
        for (linear, out) in projections {
            let result = project("norm_project", *x, linear)?;
            expect("norm_project: output features", result.1, out.1)?;
            *out = result;
            self.done("norm_project", result)?;
        }
        Ok(())
    }

    fn project(&mut self, _: Operation, x: &Shape, linear: &Linear<Self>, out: &mut Shape) -> Result<()> {
        let result = project("project", *x, linear)?;
        expect("project: output features", result.1, out.1)?;
        *out = result;
        self.done("project", result)
    }

    fn layer_norm_silu(&mut self, x: &mut Shape, norm: &LayerNorm<Self>) -> Result<()> {
        expect("layer_norm_silu: weight", x.1, norm.weight)?;
        expect("layer_norm_silu: bias", x.1, norm.bias)?;
        self.done("layer_norm_silu", *x)
    }

    fn rope_and_store(
        &mut self,
        pass: &&Batch,
        rope: &Rope<Self>,
        (q, k, v): (&mut Shape, &mut Shape, &Shape),
        kv: &mut Kv,
    ) -> Result<()> {
        let KvShape { kv_heads, head_dim, .. } = kv.shape;
        expect("rope: rows of q", pass.rows(), q.0)?;
        expect("rope: k", (pass.rows(), kv_heads * head_dim), *k)?;
        expect("rope: v", (pass.rows(), kv_heads * head_dim), *v)?;
        expect("rope: sines", rope.cos, rope.sin)?;
        for segment in &pass.segments {
            let end = segment.start + segment.tokens.len();
            expect("rope: table covers the segment", true, end * (head_dim / 2) <= rope.cos)?;
        }
        covered("rope", pass, kv.pages)?;
        self.done("rope_and_store", *q)
    }

    fn attend(&mut self, pass: &&Batch, q: &Shape, kv: &Kv, output: &Linear<Self>, x: &mut Shape) -> Result<()> {
        expect("attend: rows of q", pass.rows(), q.0)?;
        expect("attend: q holds whole groups of heads", 0, q.1 % (kv.shape.kv_heads * kv.shape.head_dim))?;
        expect("attend: residual", *x, project("attend: output", *q, output)?)?;
        self.done("attend", *x)
    }

    fn mix(
        &mut self,
        pass: &&Batch,
        input: &Shape,
        mixer: &(usize, bool),
        window: &mut Window,
        x: &mut Shape,
    ) -> Result<()> {
        expect("mix: input", (pass.rows(), mixer.0), *input)?;
        expect("mix: residual", *input, *x)?;
        expect("mix: window", *mixer, (window.shape.channels, window.shape.monarch))?;
        covered("mix", pass, window.pages)?;
        self.done("mix", *x)
    }

    fn gated_ffn(&mut self, ffn: &GatedFfn<Self>, x: &mut Shape) -> Result<()> {
        expect("gated_ffn: norm", x.1, ffn.norm.weight)?;
        let gate = project("gated_ffn: gate", *x, &ffn.gate)?;
        expect("gated_ffn: up", gate, project("gated_ffn: up", *x, &ffn.up)?)?;
        expect("gated_ffn: residual", *x, project("gated_ffn: down", gate, &ffn.down)?)?;
        self.done("gated_ffn", *x)
    }

    fn gather(&mut self, x: &Shape, rows: &[Row], out: &mut Shape) -> Result<()> {
        expect("gather: features", x.1, out.1)?;
        expect("gather: rows exist", true, rows.iter().all(|row| row.row < x.0))?;
        out.0 = rows.len();
        self.done("gather", *out)
    }

    fn read(&mut self, buffer: &Shape, mut see: impl FnMut(usize, &[f32])) -> Result<()> {
        let zeros = vec![0.0; buffer.1];
        (0..buffer.0).for_each(|row| see(row, &zeros));
        Ok(())
    }
}
