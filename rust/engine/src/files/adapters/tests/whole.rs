//! From a path to the right reader.
use std::{fs, path::Path};

use super::*;
use crate::files::{adapters::read_adapter, gguf::writer::Writer};

const SETTINGS: &str = r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 1}"#;

/// One module of rank 1, all zeros.
fn weights() -> Vec<u8> {
    let entry = |name: &str, shape: &str, start: usize| {
        format!(
            r#""base_model.model.{Q}.{name}.weight":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{}]}}"#,
            start + 32
        )
    };
    let header = format!("{{{},{}}}", entry("lora_A", "[1,8]", 0), entry("lora_B", "[8,1]", 32));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 64]].concat()
}

fn read(path: &Path) -> Result<AdapterSource> {
    read_adapter(path, &config(Family::Llama))
}

#[track_caller]
fn missing(path: &Path, part: &str) {
    match read(path) {
        Err(error @ Error::Io { .. }) => assert_names(&error.to_string(), &[part]),
        other => panic!("expected an error of files, found {:?}", other.err()),
    }
}

#[test]
fn a_folder_of_peft_or_the_file_in_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("adapter_model.safetensors");
    missing(&folder.path().join("absent"), "absent");
    missing(folder.path(), "adapter_config.json");
    fs::write(folder.path().join("adapter_config.json"), SETTINGS).unwrap();
    missing(folder.path(), "adapter_model.safetensors");
    fs::write(folder.path().join("adapter_model.bin"), "pickle").unwrap();
    refused(read(folder.path()), &["adapter_model.bin", "safe_serialization"]);
    fs::write(&file, weights()).unwrap();
    for path in [folder.path(), &file] {
        let source = read(path).unwrap();
        assert_eq!((source.format, source.path.as_path(), source.parts().count()), ("peft", path, 1));
    }
}

#[test]
fn a_gguf_file_is_known_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sha256-0123");
    fs::write(&path, Writer::model("llama").bytes()).unwrap();
    damaged(read(&path), &["sha256-0123", "expected `adapter`"]);
    fs::write(&path, "something else").unwrap();
    damaged(read(&path), &["expected the folder of a PEFT adapter or a GGUF adapter"]);
}
