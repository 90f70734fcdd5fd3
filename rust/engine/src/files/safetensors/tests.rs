//! One test per way a safetensors file or its index can lie, and the honest files that they are lies about.
use std::path::Path;

use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView as Written};
use synapse_kernels::DType;

use super::{INDEX, SINGLE, SafetensorsFile, Shards};
use crate::{Error, Result, files::TensorSource};

fn read(bytes: Vec<u8>) -> Result<SafetensorsFile> {
    SafetensorsFile::from_bytes(Path::new("test.safetensors"), bytes)
}

/// A file with this header and this many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

#[track_caller]
fn damaged(header: &str, data: usize, parts: &[&str]) {
    match read(file(header, data)) {
        Err(Error::Format { reason, .. }) => {
            for part in parts {
                assert!(reason.contains(part), "`{part}` is not in `{reason}`");
            }
        }
        Err(other) => panic!("expected a format error, found {other:?}"),
        Ok(_) => panic!("the lie was believed"),
    }
}

/// Written by the reference implementation.
fn sound() -> Vec<u8> {
    let data = [0u8; 24];
    let tensors = [
        ("b.weight", Written::new(Dtype::F32, vec![2, 3], &data).unwrap()),
        ("a.bias", Written::new(Dtype::BF16, vec![4], &data[..8]).unwrap()),
        ("c", Written::new(Dtype::F16, vec![], &data[..2]).unwrap()),
        ("d", Written::new(Dtype::F8_E4M3, vec![3], &[0x38, 0xb8, 0x01]).unwrap()),
    ];
    safetensors::serialize(tensors, Some([("format".to_owned(), "pt".to_owned())].into())).unwrap()
}

#[test]
fn a_sound_file_is_read() {
    let file = read(sound()).unwrap();
    assert_eq!(file.names(), ["a.bias", "b.weight", "c", "d"]);
    let tensor = file.tensor("b.weight").unwrap();
    assert_eq!((tensor.dtype, tensor.shape, tensor.data.len()), (DType::F32, &[2, 3][..], 24));
    assert_eq!(file.tensor("a.bias").unwrap().to_f32(), [0.0; 4]);
    assert_eq!(file.tensor("d").unwrap().to_f32(), [1.0, -1.0, 1.0 / 512.0]);
    assert!(file.tensor("e").is_none());
}

#[test]
fn truncated_anywhere_is_an_error() {
    let bytes = sound();
    for length in 0..bytes.len() {
        assert!(matches!(read(bytes[..length].to_vec()), Err(Error::Format { .. })), "{length} bytes");
    }
}

#[test]
fn trailing_bytes() {
    damaged(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 5, &["4 bytes", "holds 5"]);
}

#[test]
fn huge_header_lengths() {
    for length in [u64::MAX, 1 << 40, 100_000_001, 3] {
        let bytes = [&length.to_le_bytes()[..], b"{}"].concat();
        let Err(error) = read(bytes) else { panic!("a header of {length} bytes was believed") };
        assert!(error.to_string().contains(&format!("header length: expected at most 2, found {length}")), "{error}");
    }
}

#[test]
fn headers_that_are_not_an_object_of_entries() {
    for header in ["", "[]", "null", "{", r#"{"a":1}"#, r#"{"a":{}}"#, r#"{"a":{"dtype":"F32","shape":[1]}}"#] {
        damaged(header, 4, &[]);
    }
    damaged(&"[".repeat(10_000), 0, &[]);
    damaged(&r#"{"a":"#.repeat(10_000), 0, &["EOF"]);
    let deep = format!(r#"{{"a":{{"dtype":{}{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    damaged(&deep, 0, &["`a`"]);
    damaged(r#"{"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}}"#, 4, &["`a`", "string"]);
}

#[test]
fn text_that_is_not_utf8() {
    let mut bytes = file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4);
    bytes[10] = 0xff;
    assert!(matches!(read(bytes), Err(Error::Format { .. })));
}

#[test]
fn names_that_appear_twice() {
    let entry = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    damaged(&format!("{{{entry},{entry}}}"), 4, &["`a` appears twice"]);
}

#[test]
fn overlapping_tensors_and_gaps() {
    let two = |second: &str| {
        let first = r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
        format!(r#"{{{first},"b":{{"dtype":"F32","shape":[2],"data_offsets":{second}}}}}"#)
    };
    damaged(&two("[4,12]"), 12, &["`b` overlaps", "expected offset 8, found 4"]);
    damaged(&two("[0,8]"), 8, &["`b` overlaps"]);
    damaged(&two("[12,20]"), 20, &["`b` leaves a gap"]);
}

#[test]
fn offsets_past_the_end_reversed_or_of_another_size() {
    let one = |offsets: &str| format!(r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{offsets}}}}}"#);
    damaged(&one("[0,8]"), 4, &["`a` ends at 8", "holds 4"]);
    damaged(&one("[8,0]"), 8, &["`a`", "takes 8 bytes"]);
    damaged(&one("[0,4]"), 4, &["`a`", "takes 8 bytes"]);
    damaged(&one("[18446744073709551608,18446744073709551615]"), 8, &["`a`"]);
    damaged(&one("[18446744073709551607,18446744073709551615]"), 8, &["`a` leaves a gap"]);
    damaged(&one("[-8,0]"), 8, &["`a`"]);
    damaged(&one("[0.5,8]"), 8, &["`a`"]);
}

#[test]
fn shapes_that_overflow_or_are_empty() {
    let one = |shape: &str| format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,4]}}}}"#);
    damaged(&one("[18446744073709551615,18446744073709551615]"), 4, &["`a`", "overflows"]);
    damaged(&one("[4611686018427387904]"), 4, &["`a`", "overflows"]);
    damaged(&one("[4294967296,4294967296,0]"), 0, &["`a`"]);
    damaged(&one("[0]"), 0, &["`a`", "empty"]);
    damaged(&one("[1e3]"), 4, &["`a`"]);
    damaged(&one("[18446744073709551616]"), 4, &["`a`"]);
}

#[test]
fn number_formats_that_are_not_run_are_refused_by_name() {
    for dtype in ["I64", "F8_E5M2", "nonsense"] {
        let header = format!(r#"{{"a":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,8]}}}}"#);
        let Err(Error::Model(reason)) = read(file(&header, 8)) else { panic!("{dtype} was taken") };
        let expected = format!("tensor `a`: expected dtype F32, F16, BF16 or F8_E4M3, found {dtype}");
        assert_eq!(reason, expected);
    }
}

/// A folder with two shards of one tensor each and this index.
fn folder(index: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
        std::fs::write(folder.path().join(format!("{name}.safetensors")), file(&header, 4)).unwrap();
    }
    std::fs::write(folder.path().join(INDEX), index).unwrap();
    folder
}

#[track_caller]
fn bad_index(index: &str, part: &str) {
    let Err(error) = Shards::open(folder(index).path()) else { panic!("the index was believed: {index}") };
    assert!(error.to_string().contains(part), "`{part}` is not in `{error}`");
}

#[test]
fn shards_are_read_as_one() {
    let folder = folder(r#"{"metadata":{},"weight_map":{"a":"a.safetensors","b":"b.safetensors"}}"#);
    let shards = Shards::open(folder.path()).unwrap();
    assert_eq!(shards.names(), ["a", "b"]);
    assert_eq!(shards.tensor("b").unwrap().to_f32(), [0.0]);
    assert!(shards.tensor("c").is_none());
}

#[test]
fn shards_outside_the_folder() {
    let folder = folder("{}");
    std::fs::write(folder.path().join(SINGLE), sound()).unwrap();
    for name in ["../a.safetensors", "/etc/passwd", "x/a.safetensors", "..", ".", "", "a\\\\b", "C:a", "a.safetensors/"]
    {
        bad_index(&format!(r#"{{"weight_map":{{"a":"{name}"}}}}"#), "is not the name of a file in this folder");
    }
}

#[test]
fn shards_that_are_missing_or_do_not_hold_the_tensor() {
    bad_index(r#"{"weight_map":{"a":"c.safetensors"}}"#, "c.safetensors");
    bad_index(r#"{"weight_map":{"a":"b.safetensors"}}"#, "tensor `a` is not in `b.safetensors`");
}

#[test]
fn an_index_that_is_not_one() {
    bad_index("", "EOF");
    bad_index("{}", "weight_map");
    bad_index(r#"{"weight_map":[]}"#, "an object");
    bad_index(r#"{"weight_map":{"a":1}}"#, "string");
    bad_index(r#"{"weight_map":{"a":"a.safetensors","a":"b.safetensors"}}"#, "`a` appears twice");
}

#[test]
fn a_damaged_shard_is_named() {
    let folder = folder(r#"{"weight_map":{"a":"a.safetensors"}}"#);
    std::fs::write(folder.path().join("a.safetensors"), b"\0").unwrap();
    let Err(Error::Format { path, .. }) = Shards::open(folder.path()) else { panic!("believed") };
    assert!(path.ends_with("a.safetensors"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    /// Whatever bytes are changed, the answer is a file or an error; a file's tensors can all be read.
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = sound();
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[at.index(length)] = byte;
        }
        if let Ok(file) = read(bytes) {
            for name in file.names() {
                let tensor = file.tensor(name).unwrap();
                prop_assert_eq!(tensor.to_f32().len(), tensor.shape.iter().product::<usize>());
            }
        }
    }
}
