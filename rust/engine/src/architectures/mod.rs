//! Forward passes, one file per model family. Never imports the scheduler.
mod config;

pub use config::{Family, ModelConfig, RopeScaling};
