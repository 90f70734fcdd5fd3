//! Writes a packed file while a model is being built. A process killed at any moment leaves no half file under the final name.
use std::{
    borrow::Cow,
    cell::RefCell,
    fs::{self, File, TryLockError},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Map, Value, json};
use synapse_kernels::Matrix;

use super::{ALIGNMENT, Key, Kind, LAYOUT, LAYOUT_KEY, Record, SOURCE_KEY, checksum, padded};
use crate::{
    Error, Result,
    architectures::{MatrixSpec, VectorSpec, Weights},
};

/// Room for a tensor in the header; its name stands there twice.
const HEADER_BYTES_PER_TENSOR: usize = 1024;

/// Writes everything that `visit` asks of the weights it is given, which are those of `source`, to `path`.
///
/// The bytes go to a temporary file beside it, which is synced and then renamed.
pub fn write(
    path: &Path,
    key: &Key,
    tensors: usize,
    source: &dyn Weights,
    visit: impl FnOnce(&dyn Weights) -> Result<()>,
) -> Result<()> {
    let io = |error: io::Error| Error::Io { path: path.to_owned(), reason: error.to_string() };
    let temporary = Temporary::create(path).map_err(io)?;
    let room = ((tensors + 1) * HEADER_BYTES_PER_TENSOR).next_multiple_of(ALIGNMENT);
    let out = Output::new(temporary.file.try_clone().map_err(io)?, room).map_err(io)?;
    let recorder = Recorder { source, path, out: RefCell::new(out) };
    visit(&recorder)?;
    recorder.out.into_inner().finish(key).map_err(io)?;
    temporary.publish(path).map_err(io)
}

/// Counts the files of this process, which may load several models at once.
static WRITES: AtomicUsize = AtomicUsize::new(0);

/// A locked file that is removed unless it is published.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn create(target: &Path) -> io::Result<Self> {
        let folder = target.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let stem = format!("{}.part-", target.file_name().unwrap_or_default().to_string_lossy());
        remove_orphans(folder, &stem);
        let number = WRITES.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{stem}{}-{number}", std::process::id()));
        let file = File::options().write(true).create_new(true).open(&path)?;
        // The lock tells other processes that this file has an owner; it goes with the process.
        file.lock()?;
        Ok(Self { path, file })
    }

    fn publish(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        // The name is durable once its folder is; a file system that cannot sync a folder loses at most the packed file.
        if let Some(folder) = target.parent().and_then(|folder| File::open(folder).ok()) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // Gone already if it was published.
    }
}

/// Removes what a killed process left behind.
fn remove_orphans(folder: &Path, stem: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let orphan = entry.file_name().to_string_lossy().starts_with(stem)
            && File::open(entry.path()).is_ok_and(|file| !matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
        if orphan {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Weights that are written down as they are asked for.
struct Recorder<'a> {
    source: &'a dyn Weights,
    path: &'a Path,
    out: RefCell<Output>,
}

impl Weights for Recorder<'_> {
    fn matrix(&self, spec: &MatrixSpec<'_>) -> Result<Matrix> {
        let matrix = self.source.matrix(spec)?;
        let io = |error: io::Error| Error::Io { path: self.path.to_owned(), reason: error.to_string() };
        self.out.borrow_mut().matrix(spec.name, &matrix).map_err(io)?;
        Ok(matrix)
    }

    fn vector(&self, spec: &VectorSpec<'_>) -> Result<Vec<f32>> {
        let values = self.source.vector(spec)?;
        self.out.borrow_mut().vector(spec.name, &values);
        Ok(values)
    }
}

/// Tensors go out as they come, behind room for the header, which is written last.
struct Output {
    file: BufWriter<File>,
    room: usize,
    written: usize,
    vectors: Vec<(String, Vec<u8>)>,
    header: Map<String, Value>,
    records: Map<String, Value>,
}

impl Output {
    fn new(file: File, room: usize) -> io::Result<Self> {
        let mut file = BufWriter::new(file);
        file.seek(SeekFrom::Start(room as u64))?;
        Ok(Self { file, room, written: 0, vectors: Vec::new(), header: Map::new(), records: Map::new() })
    }

    fn matrix(&mut self, name: &str, matrix: &Matrix) -> io::Result<()> {
        let mut bytes = Cow::Borrowed(matrix.bytes());
        let len = padded(bytes.len());
        if bytes.len() != len {
            bytes.to_mut().resize(len, 0);
        }
        let kind = Kind::Matrix(matrix.format());
        let record = Record { kind, rows: matrix.rows(), cols: matrix.cols(), checksum: checksum::of(&bytes) };
        self.tensor(name, json!({ "dtype": "U8", "shape": [len] }), record, &bytes)
    }

    /// Vectors wait until the matrices are out, whose alignment they would spoil.
    fn vector(&mut self, name: &str, values: &[f32]) {
        self.vectors.push((name.to_owned(), values.iter().flat_map(|value| value.to_le_bytes()).collect()));
    }

    fn tensor(&mut self, name: &str, mut place: Value, record: Record, bytes: &[u8]) -> io::Result<()> {
        let end = self.written + bytes.len();
        place["data_offsets"] = json!([self.written, end]);
        self.written = end;
        self.header.insert(name.to_owned(), place);
        self.records.insert(name.to_owned(), record.to_string().into());
        self.file.write_all(bytes)
    }

    fn finish(mut self, key: &Key) -> io::Result<()> {
        for (name, bytes) in std::mem::take(&mut self.vectors) {
            let cols = bytes.len() / size_of::<f32>();
            let record = Record { kind: Kind::Vector, rows: 1, cols, checksum: checksum::of(&bytes) };
            self.tensor(&name, json!({ "dtype": "F32", "shape": [cols] }), record, &bytes)?;
        }
        self.records.insert(LAYOUT_KEY.into(), LAYOUT.into());
        self.records.insert(SOURCE_KEY.into(), key.digest().into());
        self.header.insert("__metadata__".into(), self.records.into());
        let mut header = Value::from(self.header).to_string().into_bytes();
        let room = self.room - size_of::<u64>();
        if header.len() > room {
            return Err(io::Error::other(format!("the header takes {} bytes of {room}", header.len())));
        }
        header.resize(room, b' ');
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&(room as u64).to_le_bytes())?;
        self.file.write_all(&header)?;
        self.file.flush()
    }
}
