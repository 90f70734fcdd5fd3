//! What this machine can do at most.
use pyo3::{prelude::*, types::PyDict};
use synapse_engine::{backends::Cpu, load::default_threads};

use crate::errors;

/// Measures read bandwidth and the peak of 8-bit arithmetic.
#[pyfunction]
#[pyo3(signature = (threads = None))]
pub fn roofs(py: Python<'_>, threads: Option<usize>) -> PyResult<Bound<'_, PyDict>> {
    let (cpu, roofs) = errors::run(py, || {
        let cpu = Cpu::chosen(threads.unwrap_or_else(default_threads))?;
        let roofs = cpu.roofs();
        Ok((cpu, roofs))
    })?;
    let dict = PyDict::new(py);
    dict.set_item("kernels", cpu.kernels())?;
    dict.set_item("threads", cpu.threads())?;
    dict.set_item("read_bytes_per_second", roofs.read_bytes_per_second)?;
    dict.set_item("int8_operations_per_second", roofs.int8_operations_per_second)?;
    Ok(dict)
}
