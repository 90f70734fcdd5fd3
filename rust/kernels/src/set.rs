//! A kernel set: every kernel compiled for one instruction set, behind one interface, chosen once. Knows no threads.
use crate::{
    Format,
    activations::PanelGroup,
    attention::{Head, Queries},
    gemm::{Ahead, Rows, Sink, expanded, float::Tiles},
    mixing::Strip,
};

/// The kernels of one instruction set.
///
/// # Safety
/// A value of an implementing type is proof that the CPU has the instructions. The pointers in the arguments must satisfy
/// the contracts of the generic kernels that the methods are named after.
pub(crate) trait KernelSet: Send + Sync {
    fn name(&self) -> &'static str;
    /// See [`crate::gemm::direct::tile`]; `count` is at most [`crate::gemm::direct::MAX_ROWS`].
    #[allow(clippy::too_many_arguments)]
    unsafe fn direct(
        &self,
        format: Format,
        tile: *const u8,
        rows: Rows,
        first: usize,
        count: usize,
        ahead: Ahead,
        sink: Sink,
    );
    /// See [`crate::gemm::expanded::add_up`].
    unsafe fn add_up(
        &self,
        format: Format,
        scratch: &mut expanded::Scratch,
        tiles: [*const u8; expanded::TILES],
        next: [*const u8; expanded::TILES],
        rows: Rows,
        count: usize,
    );
    /// See [`crate::gemm::expanded::write`].
    unsafe fn write(&self, scratch: &expanded::Scratch, count: usize, sinks: [Sink; expanded::TILES]);
    /// See [`crate::gemm::expanded::gate`].
    unsafe fn gate(&self, scratch: &expanded::Scratch, count: usize, out: expanded::GroupSink);
    /// See [`crate::gemm::float::tiles`].
    #[allow(clippy::too_many_arguments)]
    unsafe fn float(
        &self,
        format: Format,
        tiles: Tiles,
        x: *const f32,
        cols: usize,
        first: usize,
        count: usize,
        sink: Sink,
    );
    fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]);
    fn silu_mul(&self, gate: &[f32], up: &[f32], out: &mut [f32]);
    /// See [`rows::quantize`]; `row` is below [`PANEL`](crate::activations::PANEL).
    fn quantize(&self, x: &[f32], panel: &mut [PanelGroup], row: usize);
    fn rope(&self, head: &mut [f32], cos: &[f32], sin: &[f32]);
    /// See [`crate::attention::attend`].
    unsafe fn attend(&self, queries: &Queries, head: &Head);
    /// See [`crate::mixing::mix`].
    unsafe fn mix(&self, strip: &Strip);
    /// See [`rows::layer_norm_silu`].
    fn layer_norm_silu(&self, x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32);
    /// See [`crate::roof::dots`]; `chains` is one of [`crate::roof::CHAINS`].
    fn dots(&self, chains: usize, steps: usize) -> i32;
    /// See [`crate::roof::read`].
    fn read(&self, bytes: &[u8]) -> u8;
}

/// Compiles every kernel for an instruction set: its name, the tiles and rows whose sums its registers hold, and the
/// attribute `target_feature`, or nothing for the baseline.
macro_rules! kernel_set {
    ($isa:ty, $name:literal, $tiles:literal x $rows:literal, $(#[$feature:meta])?) => {
        const _: () = {
            type Isa = $isa;

            $(#[$feature])?
            unsafe fn direct<P: Packed, const R: usize>(
                tile: *const u8,
                rows: Rows,
                first: usize,
                n: usize,
                ahead: Ahead,
                sink: Sink,
            ) {
                // SAFETY: passed on to the caller.
                unsafe { gemm::direct::tile::<Isa, P, R>(tile, rows, first, n, ahead, sink) }
            }
            $(#[$feature])?
            unsafe fn add_up<P: Packed>(
                scratch: &mut Scratch,
                tiles: [*const u8; TILES],
                next: [*const u8; TILES],
                rows: Rows,
                count: usize,
            ) {
                // SAFETY: passed on to the caller.
                unsafe { gemm::expanded::add_up::<Isa, P, $tiles, $rows>(scratch, tiles, next, rows, count) }
            }
            $(#[$feature])?
            unsafe fn write(scratch: &Scratch, count: usize, sinks: [Sink; TILES]) {
                // SAFETY: passed on to the caller.
                unsafe { gemm::expanded::write::<Isa>(scratch, count, sinks) }
            }
            $(#[$feature])?
            unsafe fn gate(scratch: &Scratch, count: usize, out: GroupSink) {
                // SAFETY: passed on to the caller.
                unsafe { gemm::expanded::gate::<Isa>(scratch, count, out) }
            }
            $(#[$feature])?
            unsafe fn float<W: Float>(tiles: Tiles, x: *const f32, cols: usize, first: usize, n: usize, sink: Sink) {
                // SAFETY: passed on to the caller.
                unsafe { gemm::float::tiles::<Isa, W>(tiles, x, cols, first, n, sink) }
            }
            $(#[$feature])?
            unsafe fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
                // SAFETY: passed on to the caller.
                unsafe { rows::rms_norm::<Isa>(x, weight, eps, out) }
            }
            $(#[$feature])?
            unsafe fn silu_mul(gate: &[f32], up: &[f32], out: &mut [f32]) {
                // SAFETY: passed on to the caller.
                unsafe { rows::silu_mul::<Isa>(gate, up, out) }
            }
            $(#[$feature])?
            unsafe fn quantize(x: &[f32], panel: &mut [PanelGroup], row: usize) {
                // SAFETY: passed on to the caller.
                unsafe { rows::quantize::<Isa>(x, panel, row) }
            }
            $(#[$feature])?
            unsafe fn rope(head: &mut [f32], cos: &[f32], sin: &[f32]) {
                rows::rope(head, cos, sin)
            }
            $(#[$feature])?
            unsafe fn attend<E: Element>(queries: &Queries, head: &Head) {
                // SAFETY: passed on to the caller.
                unsafe {
                    match queries.count {
                        0..=2 => attention::attend::<Isa, E, 2, 4>(queries, head),
                        3..=4 => attention::attend::<Isa, E, 4, 4>(queries, head),
                        _ => attention::attend::<Isa, E, 8, 2>(queries, head),
                    }
                }
            }
            $(#[$feature])?
            unsafe fn mix(strip: &Strip) {
                // SAFETY: passed on to the caller.
                unsafe { mixing::mix::<Isa>(strip) }
            }
            $(#[$feature])?
            unsafe fn layer_norm_silu(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
                // SAFETY: passed on to the caller.
                unsafe { rows::layer_norm_silu::<Isa>(x, weight, bias, eps) }
            }
            $(#[$feature])?
            unsafe fn dots<const N: usize>(steps: usize) -> i32 {
                // SAFETY: passed on to the caller.
                unsafe { roof::dots::<Isa, N>(steps) }
            }
            $(#[$feature])?
            unsafe fn read(bytes: &[u8]) -> u8 {
                // SAFETY: passed on to the caller.
                unsafe { roof::read::<Isa>(bytes) }
            }

            impl Isa {
                pub(crate) const ENTRY: Entry =
                    Entry { name: $name, detect: || Isa::detect().map(|set| Box::new(set) as Box<dyn KernelSet>) };
            }

            // SAFETY of the blocks below: holding `self` is the proof that the CPU has the instructions.
            impl KernelSet for Isa {
                fn name(&self) -> &'static str {
                    $name
                }
                unsafe fn direct(
                    &self,
                    format: Format,
                    tile: *const u8,
                    rows: Rows,
                    first: usize,
                    n: usize,
                    ahead: Ahead,
                    sink: Sink,
                ) {
                    // SAFETY: see above and the caller.
                    unsafe {
                        with_layout!(format, unreachable!("{format} is not quantized"), P => match n {
                            1 => direct::<P, 1>(tile, rows, first, n, ahead, sink),
                            2 => direct::<P, 2>(tile, rows, first, n, ahead, sink),
                            _ => direct::<P, 4>(tile, rows, first, n, ahead, sink),
                        })
                    }
                }
                unsafe fn add_up(
                    &self,
                    format: Format,
                    scratch: &mut Scratch,
                    tiles: [*const u8; TILES],
                    next: [*const u8; TILES],
                    rows: Rows,
                    count: usize,
                ) {
                    // SAFETY: see above and the caller.
                    unsafe {
                        with_layout!(format, unreachable!("{format} is not quantized"),
                            P => add_up::<P>(scratch, tiles, next, rows, count))
                    }
                }
                unsafe fn write(&self, scratch: &Scratch, count: usize, sinks: [Sink; TILES]) {
                    // SAFETY: see above and the caller.
                    unsafe { write(scratch, count, sinks) }
                }
                unsafe fn gate(&self, scratch: &Scratch, count: usize, out: GroupSink) {
                    // SAFETY: see above and the caller.
                    unsafe { gate(scratch, count, out) }
                }
                unsafe fn float(
                    &self,
                    format: Format,
                    tiles: Tiles,
                    x: *const f32,
                    cols: usize,
                    first: usize,
                    n: usize,
                    sink: Sink,
                ) {
                    // SAFETY: see above and the caller.
                    unsafe {
                        match format {
                            Format::F32 => float::<gemm::float::F32>(tiles, x, cols, first, n, sink),
                            Format::F16 => float::<gemm::float::F16>(tiles, x, cols, first, n, sink),
                            Format::BF16 => float::<gemm::float::BF16>(tiles, x, cols, first, n, sink),
                            _ => unreachable!("{format} is quantized"),
                        }
                    }
                }
                fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
                    // SAFETY: see above.
                    unsafe { rms_norm(x, weight, eps, out) }
                }
                fn silu_mul(&self, gate: &[f32], up: &[f32], out: &mut [f32]) {
                    // SAFETY: see above.
                    unsafe { silu_mul(gate, up, out) }
                }
                fn quantize(&self, x: &[f32], panel: &mut [PanelGroup], row: usize) {
                    // SAFETY: see above.
                    unsafe { quantize(x, panel, row) }
                }
                fn rope(&self, head: &mut [f32], cos: &[f32], sin: &[f32]) {
                    // SAFETY: see above.
                    unsafe { rope(head, cos, sin) }
                }
                unsafe fn attend(&self, queries: &Queries, head: &Head) {
                    // SAFETY: see above and the caller.
                    unsafe {
                        match head.shape.kv_type {
                            KvType::F32 => attend::<attention::F32>(queries, head),
                            KvType::F16 => attend::<attention::F16>(queries, head),
                            KvType::Q8 => attend::<attention::Q8>(queries, head),
                        }
                    }
                }
                unsafe fn mix(&self, strip: &Strip) {
                    // SAFETY: see above and the caller.
                    unsafe { mix(strip) }
                }
                fn layer_norm_silu(&self, x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
                    // SAFETY: see above.
                    unsafe { layer_norm_silu(x, weight, bias, eps) }
                }
                fn dots(&self, chains: usize, steps: usize) -> i32 {
                    use roof::{FEW, MANY, SOME};
                    // SAFETY: see above.
                    unsafe {
                        match chains {
                            FEW => dots::<FEW>(steps),
                            SOME => dots::<SOME>(steps),
                            _ => dots::<MANY>(steps),
                        }
                    }
                }
                fn read(&self, bytes: &[u8]) -> u8 {
                    // SAFETY: see above.
                    unsafe { read(bytes) }
                }
            }
        };
    };
}

mod sets {
    use super::{Entry, KernelSet};
    #[cfg(target_arch = "x86_64")]
    use crate::simd::{Avx2, Avx512Vnni, AvxVnni};
    #[cfg(target_arch = "aarch64")]
    use crate::simd::{Neon, NeonDotprod, NeonI8mm};
    use crate::{
        Format,
        activations::PanelGroup,
        attention::{self, Element, Head, Queries},
        gemm::{
            self, Ahead, Rows, Sink,
            expanded::{GroupSink, Scratch, TILES},
            float::{Float, Tiles},
        },
        kv::KvType,
        mixing::{self, Strip},
        packed::{Packed, with_layout},
        roof, rows,
        simd::Portable,
    };

    kernel_set!(Portable, "portable", 1 x 1,);
    #[cfg(target_arch = "aarch64")]
    kernel_set!(Neon, "neon", 1 x 2, #[target_feature(enable = "neon")]);
    #[cfg(target_arch = "aarch64")]
    kernel_set!(NeonDotprod, "neon-dotprod", 1 x 2, #[target_feature(enable = "neon,dotprod")]);
    #[cfg(target_arch = "aarch64")]
    kernel_set!(NeonI8mm, "neon-i8mm", 1 x 2, #[target_feature(enable = "neon,i8mm")]);
    #[cfg(target_arch = "x86_64")]
    kernel_set!(Avx2, "x86-avx2", 1 x 4, #[target_feature(enable = "avx2,fma,f16c")]);
    #[cfg(target_arch = "x86_64")]
    kernel_set!(AvxVnni, "x86-avx-vnni", 1 x 2, #[target_feature(enable = "avxvnni,avx2,fma,f16c")]);
    #[cfg(target_arch = "x86_64")]
    kernel_set!(
        Avx512Vnni,
        "x86-avx512-vnni",
        2 x 4,
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
    );
}

/// A set of this architecture, and the way to it.
pub(crate) struct Entry {
    pub name: &'static str,
    /// The set, if this CPU can run it.
    detect: fn() -> Option<Box<dyn KernelSet>>,
}

/// Every set of this architecture, best first.
pub(crate) const ALL: &[Entry] = &[
    #[cfg(target_arch = "aarch64")]
    crate::simd::NeonI8mm::ENTRY,
    #[cfg(target_arch = "aarch64")]
    crate::simd::NeonDotprod::ENTRY,
    #[cfg(target_arch = "aarch64")]
    crate::simd::Neon::ENTRY,
    #[cfg(target_arch = "x86_64")]
    crate::simd::Avx512Vnni::ENTRY,
    #[cfg(target_arch = "x86_64")]
    crate::simd::AvxVnni::ENTRY,
    #[cfg(target_arch = "x86_64")]
    crate::simd::Avx2::ENTRY,
    crate::simd::Portable::ENTRY,
];

/// Every set this CPU can run, best first.
pub(crate) fn available() -> impl Iterator<Item = Box<dyn KernelSet>> {
    ALL.iter().filter_map(|entry| (entry.detect)())
}

/// The set of that name; the error lists those that this CPU can run.
pub(crate) fn find(name: &str) -> Result<Box<dyn KernelSet>, String> {
    available().find(|set| set.name() == name).ok_or_else(|| {
        let here: Vec<_> = available().map(|set| set.name()).collect();
        let why = match ALL.iter().any(|entry| entry.name == name) {
            true => format!("this processor cannot run the kernel set `{name}`"),
            false => format!("there is no kernel set `{name}` for this processor"),
        };
        format!("{why}; it has {}", here.join(", "))
    })
}
