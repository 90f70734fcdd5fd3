//! Python bindings. Converts types, releases the GIL, maps errors; knows no arithmetic and no models.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]

use pyo3::prelude::*;

mod adapters;
mod coordinator;
mod describe;
mod doctor;
mod engine;
mod errors;
mod event;
mod gguf;
mod hebbian;
mod queue;
mod request;
mod roofs;

/// The native module `synapse_engine._engine`.
#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<coordinator::PyCoordinator>()?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<event::PyEvent>()?;
    module.add_class::<queue::EventQueue>()?;
    module.add_class::<hebbian::HebbianBias>()?;
    module.add_function(wrap_pyfunction!(doctor::doctor, module)?)?;
    module.add_function(wrap_pyfunction!(gguf::gguf_tensor, module)?)?;
    module.add_function(wrap_pyfunction!(roofs::roofs, module)?)?;
    errors::register(module)
}
