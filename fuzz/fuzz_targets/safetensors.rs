//! Any bytes are a safetensors file or a typed error; every tensor of a file can be read.
#![no_main]
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use synapse_engine::files::{TensorSource, safetensors::SafetensorsFile};

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = SafetensorsFile::from_bytes(Path::new("fuzz.safetensors"), bytes.to_vec()) else { return };
    for name in file.names() {
        let tensor = file.tensor(name).expect("a listed tensor is there");
        assert_eq!(tensor.to_f32().len(), tensor.shape.iter().product::<usize>());
    }
});
