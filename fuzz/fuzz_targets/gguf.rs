//! Any bytes are a GGUF model or a typed error; every tensor of a model can be read.
#![no_main]
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use synapse_engine::files::gguf::GgufFile;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = GgufFile::from_bytes(Path::new("fuzz.gguf"), bytes.to_vec()) else { return };
    if let Ok(model) = file.checkpoint() {
        for name in model.tensors.names() {
            let tensor = model.tensors.tensor(name).expect("a listed tensor is there");
            assert_eq!(tensor.to_f32().len(), tensor.shape.iter().product::<usize>());
        }
    }
});
