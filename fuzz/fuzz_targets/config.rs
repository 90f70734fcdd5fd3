//! Any bytes are a configuration that makes sense or a typed error.
#![no_main]
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use synapse_engine::files::hugging_face::{config_from_json, generation_from_json};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = config_from_json(Path::new("config.json"), bytes) {
        assert!(config.kv_heads > 0 && config.heads % config.kv_heads == 0);
        assert!(config.rope_theta.is_finite() && config.norm_eps.is_finite());
    }
    let _ = generation_from_json(Path::new("generation_config.json"), bytes);
});
