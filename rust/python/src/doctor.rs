//! What this machine offers the engine.
use std::{fs, thread};

use pyo3::{prelude::*, types::PyDict};
use synapse_engine::{backends::chosen_kernels, load::total_memory};
use synapse_kernels::Cpu;

/// CPU, kernel set (none, and the problem, if the one forced cannot run), threads, memory.
#[pyfunction]
pub fn doctor(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let report = PyDict::new(py);
    report.set_item("version", env!("CARGO_PKG_VERSION"))?;
    report.set_item("cpu", cpu_name())?;
    report.set_item("architecture", std::env::consts::ARCH)?;
    report.set_item("system", std::env::consts::OS)?;
    report.set_item("threads", thread::available_parallelism().map_or(1, |threads| threads.get()))?;
    let kernels = chosen_kernels();
    report.set_item("kernels", kernels.as_ref().ok())?;
    report.set_item("kernels_problem", kernels.err().map(|error| error.to_string()))?;
    report.set_item("kernels_available", Cpu::available())?;
    report.set_item("memory_bytes", total_memory())?;
    Ok(report)
}

/// The processor's own name, where the system tells.
fn cpu_name() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}
