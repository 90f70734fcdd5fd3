//! A weight matrix packed for the kernels: made from f32 rows or from a file's blocks, kept as plain bytes. Knows no threads at
//! run time and no activations.
use half::{bf16, f16};

use crate::{
    DType, Format,
    bytes::{AlignedBytes, Bytes},
    decode::{GROUP_VALUES, e4m3, native_group},
    packed::{Codes, Group, Packed, Walk, with_layout},
    quantize,
    simd::{LANES, Portable},
};

/// Bytes of a packed matrix from which on it is packed by several threads.
const WORTH_A_THREAD: usize = 1 << 20;

/// `(rows, cols)` = (out features, in features), in tiles of 16 rows.
#[derive(Debug, Clone)]
pub struct Matrix {
    format: Format,
    rows: usize,
    cols: usize,
    bytes: Bytes,
}

impl Matrix {
    /// Bytes of a packed matrix, padding included; `None` if they cannot be counted.
    pub fn packed_bytes(format: Format, rows: usize, cols: usize) -> Option<usize> {
        // Bounds that no model comes near keep every product below in range.
        (rows < 1 << 31 && cols < 1 << 24).then(|| rows.div_ceil(LANES) * tile_bytes(format, cols))
    }

    /// A matrix over bytes that were packed before; says what is wrong if their number does not fit.
    pub fn from_packed(format: Format, rows: usize, cols: usize, bytes: Bytes) -> Result<Matrix, String> {
        let wanted = Self::packed_bytes(format, rows, cols);
        if wanted != Some(bytes.len()) {
            let found = bytes.len();
            return Err(format!("a packed {format} matrix ({rows}, {cols}) takes {wanted:?} bytes, found {found}"));
        }
        Ok(Matrix { format, rows, cols, bytes })
    }

    /// Packs rows that `row(index, values)` writes as f32, on all cores; quantizes to our own formats.
    ///
    /// # Panics
    /// If `format` is a GGUF format, which only [`Matrix::pack_blocks`] makes, or the size cannot be counted.
    pub fn pack_f32(format: Format, rows: usize, cols: usize, row: impl Fn(usize, &mut [f32]) + Sync) -> Matrix {
        let values = |index: usize| {
            let mut values = vec![0.0; cols];
            row(index, &mut values);
            values
        };
        Self::pack(format, rows, cols, |first, tile| match format {
            Format::F32 => pack_floats(first, rows, tile, |i| values(i).into_iter().map(f32::to_le_bytes)),
            Format::F16 => {
                pack_floats(first, rows, tile, |i| values(i).into_iter().map(|v| f16::from_f32(v).to_le_bytes()))
            }
            Format::BF16 => {
                pack_floats(first, rows, tile, |i| values(i).into_iter().map(|v| bf16::from_f32(v).to_le_bytes()))
            }
            Format::Q8 => pack_groups(format, first, rows, cols, tile, |i| each_group(&values(i), quantize::q8)),
            Format::Q6 => pack_groups(format, first, rows, cols, tile, |i| quantize::q6_row(&values(i))),
            Format::Q4 => pack_groups(format, first, rows, cols, tile, |i| quantize::q4_row(&values(i))),
            Format::Ggml(_) => panic!("{format} is packed from blocks, not from f32"),
        })
    }

    /// Packs rows of a file's blocks with their values kept, as [`Format::keeping`] says, on all cores.
    ///
    /// # Panics
    /// If a row has not the bytes that `cols` values take, or the size cannot be counted.
    pub fn pack_blocks<'a>(dtype: DType, rows: usize, cols: usize, row: impl Fn(usize) -> &'a [u8] + Sync) -> Matrix {
        let format = Format::keeping(dtype);
        let checked = |index: usize| {
            let bytes = row(index);
            assert_eq!(Some(bytes.len()), dtype.row_bytes(cols), "bytes of a row of {cols} {dtype:?}");
            bytes
        };
        if format.is_float() {
            return Self::pack(format, rows, cols, |first, tile| match dtype {
                DType::F32 => pack_floats::<4, _>(first, rows, tile, |i| checked(i).as_chunks().0.iter().copied()),
                DType::F8_E4M3 => pack_floats(first, rows, tile, |i| {
                    checked(i).iter().map(|&code| f16::from_f32(e4m3(code)).to_le_bytes())
                }),
                _ => pack_floats::<2, _>(first, rows, tile, |i| checked(i).as_chunks().0.iter().copied()),
            });
        }
        let groups = |index: usize| {
            let bytes = checked(index);
            (0..cols / GROUP_VALUES).map(|group| native_group(dtype, bytes, group).into()).collect()
        };
        Self::pack(format, rows, cols, |first, tile| pack_groups(format, first, rows, cols, tile, groups))
    }

    /// `pack_tile(first row, zeroed bytes of the tile)` for every tile, on all cores.
    fn pack(format: Format, rows: usize, cols: usize, pack_tile: impl Fn(usize, &mut [u8]) + Sync) -> Matrix {
        let bytes = Self::packed_bytes(format, rows, cols).expect("a matrix whose size can be counted");
        let mut bytes = AlignedBytes::zeroed(bytes);
        let tile_bytes = tile_bytes(format, cols);
        let threads = match bytes.as_mut().len() < WORTH_A_THREAD {
            true => 1,
            false => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let tiles_each = rows.div_ceil(LANES).div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            for (part, bytes) in bytes.as_mut().chunks_mut((tiles_each * tile_bytes).max(1)).enumerate() {
                let pack_tile = &pack_tile;
                let mut pack = move || {
                    for (index, tile) in bytes.chunks_exact_mut(tile_bytes).enumerate() {
                        pack_tile((part * tiles_each + index) * LANES, tile);
                    }
                };
                if threads == 1 {
                    pack();
                } else {
                    scope.spawn(pack);
                }
            }
        });
        Matrix { format, rows, cols, bytes: bytes.into() }
    }

    /// Number format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Out features.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// In features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The packed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of one tile of 16 rows.
    pub(crate) fn tile_bytes(&self) -> usize {
        tile_bytes(self.format, self.cols)
    }

    /// A tile of 16 rows.
    ///
    /// # Panics
    /// If it begins beyond the end.
    pub(crate) fn tile(&self, index: usize) -> *const u8 {
        self.bytes[index * self.tile_bytes()..].as_ptr()
    }

    /// One row as f32: an embedding.
    ///
    /// # Panics
    /// If there is no such row or `out` is not `cols` long.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.cols, "row {row} of {} x {}", self.rows, self.cols);
        let tile = &self.bytes[row / LANES * self.tile_bytes()..][..self.tile_bytes()];
        let lane = row % LANES;
        match self.format {
            Format::F32 => read_floats(tile, lane, out, f32::from_le_bytes),
            Format::F16 => read_floats(tile, lane, out, |b| f16::from_le_bytes(b).to_f32()),
            Format::BF16 => read_floats(tile, lane, out, |b| bf16::from_le_bytes(b).to_f32()),
            quantized => with_layout!(quantized, unreachable!("float formats are matched above"),
                P => read_groups::<P>(tile, lane, out)),
        }
    }
}

fn tile_bytes(format: Format, cols: usize) -> usize {
    let float = |bytes: usize| cols * LANES * bytes;
    let groups = cols.div_ceil(GROUP_VALUES);
    with_layout!(format, float(if format == Format::F32 { 4 } else { 2 }), P => <P as Packed>::tile_bytes(groups))
}

fn each_group(values: &[f32], quantize: impl Fn(&[f32; GROUP_VALUES]) -> Group) -> Vec<Group> {
    quantize::groups(values).map(|group| quantize(&group)).collect()
}

/// Column-major tile: sixteen rows' values of column 0, of column 1, ...
fn pack_floats<const N: usize, R: IntoIterator<Item = [u8; N]>>(
    first: usize,
    rows: usize,
    tile: &mut [u8],
    row: impl Fn(usize) -> R,
) {
    for lane in 0..LANES.min(rows - first) {
        for (column, bytes) in row(first + lane).into_iter().enumerate() {
            tile[(column * LANES + lane) * N..][..N].copy_from_slice(&bytes);
        }
    }
}

fn pack_groups(
    format: Format,
    first: usize,
    rows: usize,
    cols: usize,
    tile: &mut [u8],
    groups: impl Fn(usize) -> Vec<Group>,
) {
    let lanes: Vec<Vec<Group>> = (first..rows.min(first + LANES)).map(groups).collect();
    let group = |lane: usize, index: usize| lanes.get(lane).map_or(Group::ZERO, |lane: &Vec<Group>| lane[index]);
    with_layout!(format, unreachable!("{format} has no groups"),
        P => <P as Packed>::pack_tile(cols.div_ceil(GROUP_VALUES), group, tile));
}

fn read_floats<const N: usize>(tile: &[u8], lane: usize, out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    for (column, out) in out.iter_mut().enumerate() {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&tile[(column * LANES + lane) * N..][..N]);
        *out = value(bytes);
    }
}

fn read_groups<P: Packed>(tile: &[u8], lane: usize, out: &mut [f32]) {
    let offset = P::OFFSET_BITS.map_or(0, |bits| 1 << bits);
    // SAFETY: `tile` is a whole tile of this layout, and the portable set runs on every CPU.
    unsafe {
        let mut walk = Walk::<Portable, P>::new(tile.as_ptr());
        for (group, out) in out.chunks_mut(GROUP_VALUES).enumerate() {
            let (scales, codes) = walk.next(group);
            let chunks = P::Codes::chunks::<Portable>(codes);
            for (column, out) in out.iter_mut().enumerate() {
                let code = i32::from(chunks[column / 4][lane * 4 + column % 4]) - offset;
                let half = column / (GROUP_VALUES / 2);
                *out = scales.d[half][lane] * code as f32;
                if <P::Scales as crate::packed::Scales>::MINS {
                    *out += scales.m[half][lane];
                }
            }
        }
    }
}
