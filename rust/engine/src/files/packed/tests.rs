//! What a packed file goes through: a round trip, damage, a changed model, a process killed while it writes.
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use synapse_kernels::Format;
use tempfile::TempDir;

use super::*;
use crate::architectures::{
    ModelConfig, Role,
    testing::{TestWeights, config, qwen2_config},
};

const NAME: &str = "packed.safetensors";
/// Rows are not whole tiles, so that the padding is tested too.
const SHAPE: (usize, usize) = (30, 52);
const MATRIX: MatrixSpec<'_> =
    MatrixSpec { name: "model.layers.0.self_attn.q_proj.weight", shape: SHAPE, role: Role::Plain, row_scale: None };
const OTHER: MatrixSpec<'_> =
    MatrixSpec { name: "model.layers.1.self_attn.q_proj.weight", shape: SHAPE, role: Role::Plain, row_scale: None };
const VECTOR: VectorSpec<'_> = VectorSpec { name: "model.norm.weight", shape: &[52], role: Role::Plain };

fn key(digest: &str) -> Key {
    Key::for_test(Path::new("model.gguf"), digest)
}

fn weights() -> TestWeights {
    TestWeights::new(&ModelConfig { layers: 2, ..config() }, Format::Q4)
}

fn ask(weights: &dyn Weights) -> Result<()> {
    weights.matrix(&MATRIX)?;
    weights.vector(&VECTOR)?;
    weights.matrix(&OTHER).map(drop)
}

fn written() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    write(&path, &key("a"), 3, &weights(), ask).unwrap();
    (folder, path)
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn find(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
}

#[test]
fn what_is_written_is_what_is_read() {
    let (folder, path) = written();
    assert_eq!(names(&folder), [NAME]);
    let packed = PackedFile::open(&path, &key("a")).unwrap().unwrap();
    for spec in [MATRIX, OTHER] {
        let (found, expected) = (packed.matrix(&spec).unwrap(), weights().matrix(&spec).unwrap());
        assert_eq!((found.format(), found.rows(), found.cols()), (Format::Q4, 30, 52));
        assert_eq!(found.bytes(), expected.bytes());
        assert_eq!(found.bytes().as_ptr() as usize % ALIGNMENT, 0);
    }
    assert_eq!(packed.vector(&VECTOR).unwrap(), weights().vector(&VECTOR).unwrap());
}

#[test]
fn any_reader_of_safetensors_can_open_it() {
    let (_folder, path) = written();
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor(VECTOR.name).unwrap().shape(), [52]);
    assert_eq!(tensors.len(), 3);
}

/// A packed file of yesterday must not be read with the kernels of today.
#[test]
fn the_layout_version_stands_for_these_bytes() {
    let config = ModelConfig { layers: 1, ..qwen2_config() };
    let spec = MatrixSpec {
        name: "model.layers.0.self_attn.k_proj.weight",
        shape: (256, 256),
        role: Role::Plain,
        row_scale: None,
    };
    let sums = Format::ALL.map(|format| {
        let matrix = TestWeights::new(&config, format).matrix(&spec).unwrap();
        format!("{format} {:016x}", checksum::of(matrix.bytes()))
    });
    let all = checksum::of(sums.join("\n").as_bytes());
    assert_eq!(
        (LAYOUT, format!("{all:016x}").as_str()),
        ("2", "b50fb59eeeef0527"),
        "raise LAYOUT, then put the new sum here\n{sums:#?}"
    );
}

#[test]
fn what_was_not_packed_is_named() {
    let (_folder, path) = written();
    let packed = PackedFile::open(&path, &key("a")).unwrap().unwrap();
    let fault = |spec: MatrixSpec<'_>| packed.matrix(&spec).err().unwrap().to_string();
    assert!(fault(MatrixSpec { name: "absent", ..MATRIX }).contains("tensor `absent`: missing"));
    assert!(fault(MatrixSpec { shape: (31, 52), ..MATRIX }).contains("expected (31, 52), found (30, 52)"));
    assert!(fault(MatrixSpec { name: VECTOR.name, shape: (1, 52), ..MATRIX }).contains("found a vector"));
}

#[test]
fn every_cut_and_every_changed_byte_is_noticed() {
    let (_folder, path) = written();
    let bytes = fs::read(&path).unwrap();
    assert!(read(&bytes, &key("a")).is_ok());
    for len in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        assert!(read(&bytes[..len], &key("a")).is_err(), "cut to {len}");
    }
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x41;
        assert!(read(&changed, &key("a")).is_err(), "byte {at}");
    }
}

#[test]
fn a_record_that_lies_is_refused() {
    let (_folder, path) = written();
    let bytes = fs::read(&path).unwrap();
    let at = find(&bytes, "q4 30 52 ");
    for (lie, expected) in [
        ("q4 99 52 ", "bytes, found"),
        ("q4 30 99 ", "bytes, found"),
        ("q9 30 52 ", "no valid record"),
        ("q4 -1 52 ", "no valid record"),
        ("f32 8 52 ", "bytes, found"),
        ("vector 1 ", "no valid record"),
    ] {
        let mut lying = bytes.clone();
        lying[at..at + lie.len()].copy_from_slice(lie.as_bytes());
        let fault = read(&lying, &key("a")).err().unwrap();
        assert!(fault.contains(expected), "{lie}: {fault}");
    }
    for nonsense in ["q4 99999999999999999999 1 0", "q4 1 1", "q4 1 1 0 0", ""] {
        assert_eq!(Record::parse(nonsense), None, "{nonsense}");
    }
    for absurd in ["q4 18446744073709551615 18446744073709551615 0", "vector 1 18446744073709551615 0", "vector 2 1 0"]
    {
        assert_eq!(Record::parse(absurd).unwrap().bytes(), None, "{absurd}");
    }
}

#[test]
fn a_file_of_another_model_or_layout_is_stale() {
    let (_folder, path) = written();
    let fault = PackedFile::open(&path, &key("b")).err().unwrap().to_string();
    assert!(fault.contains("has changed"), "{fault}");
    let mut other = fs::read(&path).unwrap();
    let layout = "synapse.layout\":\"";
    let at = find(&other, layout) + layout.len();
    other[at] = b'0';
    assert!(read(&other, &key("a")).err().unwrap().contains("another version"));
}

#[test]
fn no_file_is_no_error() {
    assert!(PackedFile::open(Path::new("/nowhere/packed"), &key("a")).unwrap().is_none());
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let (folder, path) = written();
    let before = fs::read(&path).unwrap();
    let failed = write(&path, &key("b"), 3, &weights(), |weights| {
        weights.matrix(&MATRIX)?;
        Err(Error::Model("half way".into()))
    });
    assert_eq!(failed.unwrap_err().to_string(), "half way");
    assert_eq!(names(&folder), [NAME]);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_header_that_does_not_fit_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    // Room for no tensor beyond the header's own kilobyte.
    let failed = write(&folder.path().join(NAME), &key("a"), 0, &weights(), |weights| {
        let names = (0..2).flat_map(|layer| ["q", "k", "v", "o"].map(|part| (layer, part)));
        for (layer, part) in names {
            let name = format!("model.layers.{layer}.self_attn.{part}_proj.weight");
            let shape = weights_shape(part);
            weights.matrix(&MatrixSpec { name: &name, shape, role: Role::Plain, row_scale: None })?;
        }
        Ok(())
    });
    assert!(failed.unwrap_err().to_string().contains("the header takes"));
    assert!(names(&folder).is_empty());
}

fn weights_shape(part: &str) -> (usize, usize) {
    match part {
        "q" => (30, 52),
        "o" => (52, 30),
        _ => (10, 52),
    }
}

/// Where the child of the next test writes; unset in every other run.
const CHILD_WRITES_TO: &str = "SYNAPSE_TEST_PACKED_CHILD";

#[test]
fn a_writer_killed_half_way_leaves_nothing_that_lasts() {
    if let Some(path) = std::env::var_os(CHILD_WRITES_TO) {
        return write_half_and_wait(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "files::packed::tests::a_writer_killed_half_way_leaves_nothing_that_lasts"])
        .env(CHILD_WRITES_TO, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(|line| line.ok()).any(|line| line.contains("half written")));
    // While the writer lives its file is its own; another writer leaves it alone.
    write(&path, &key("a"), 3, &weights(), ask).unwrap();
    assert_eq!(names(&folder).len(), 2);
    fs::remove_file(&path).unwrap();

    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(names(&folder).len(), 1);
    assert!(PackedFile::open(&path, &key("a")).unwrap().is_none());
    write(&path, &key("a"), 3, &weights(), ask).unwrap();
    assert_eq!(names(&folder), [NAME]);
    assert!(PackedFile::open(&path, &key("a")).unwrap().is_some());
}

fn write_half_and_wait(path: &Path) {
    let _ = write(path, &key("a"), 3, &weights(), |weights| {
        weights.matrix(&MATRIX)?;
        println!("half written");
        std::thread::sleep(std::time::Duration::from_secs(60));
        Ok(())
    });
}
