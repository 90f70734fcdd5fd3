//! Adapters between Python and the engine: what a request names, what a listing shows. Knows no file.
use pyo3::{prelude::*, types::PyDict};
use synapse_engine::{Error, adapter::Adapter};

/// What is said of an adapter.
pub fn describe<'py>(py: Python<'py>, name: &str, adapter: &Adapter) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", name)?;
    dict.set_item("path", adapter.origin.path.to_string_lossy())?;
    dict.set_item("format", adapter.origin.format)?;
    dict.set_item("base_model", adapter.origin.base_model.as_deref())?;
    dict.set_item("generation", adapter.generation)?;
    dict.set_item("rank", adapter.rank())?;
    dict.set_item("modules", adapter.parts.iter().flatten().count())?;
    dict.set_item("bytes", adapter.bytes())?;
    dict.set_item("invocation_tokens", &adapter.invocation)?;
    Ok(dict)
}

/// `[(name, weight), ...]`.
pub fn parse(value: &Bound<'_, PyAny>) -> Result<Vec<(String, f32)>, Error> {
    value.extract().map_err(|_| crate::request::mismatch("adapters", "a list of (name, weight)", value))
}
