//! The coordinator, as Python sees it. Converts types, lets other threads run meanwhile; knows no arithmetic.
use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use pyo3::{prelude::*, types::PyDict};
use synapse_engine::{
    Result,
    swarm::{Coordinator, Scores, Shown},
};

use crate::errors;

/// Finds the specialist for a request.
#[pyclass(frozen, name = "Coordinator", module = "synapse_engine._engine")]
pub struct PyCoordinator {
    inner: Mutex<Coordinator>,
}

/// One of `set_specialists`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct GivenSpecialist {
    name: String,
    description: String,
    examples: Vec<String>,
}

#[pymethods]
impl PyCoordinator {
    #[new]
    fn new(py: Python<'_>, path: &str) -> PyResult<Self> {
        let inner = errors::run(py, || Coordinator::load(Path::new(path)))?;
        Ok(Self { inner: Mutex::new(inner) })
    }

    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let info = self.with(py, |coordinator| Ok(coordinator.info().clone()))?;
        let dict = PyDict::new(py);
        dict.set_item("path", info.path)?;
        dict.set_item("parameters", info.parameters)?;
        dict.set_item("weight_bytes", info.weight_bytes)?;
        dict.set_item("kernels", info.kernels)?;
        dict.set_item("embedding", info.embedding)?;
        dict.set_item("window", info.window)?;
        dict.set_item("temperature", info.temperature)?;
        dict.set_item("threshold", info.threshold)?;
        dict.set_item("source", py.import("json")?.call_method1("loads", (info.source.to_string(),))?)?;
        Ok(dict)
    }

    fn embed(&self, py: Python<'_>, turns: Vec<(String, String)>) -> PyResult<Vec<f32>> {
        self.with(py, |coordinator| coordinator.embed(&turns))
    }

    fn set_specialists(&self, py: Python<'_>, specialists: Vec<GivenSpecialist>) -> PyResult<()> {
        let shown: Vec<_> = specialists.into_iter().map(GivenSpecialist::shown).collect();
        self.with(py, |coordinator| coordinator.set_specialists(&shown))
    }

    fn score<'py>(&self, py: Python<'py>, turns: Vec<(String, String)>) -> PyResult<Bound<'py, PyDict>> {
        let Scores { embedding, logits, none, tokens, elapsed } =
            self.with(py, |coordinator| coordinator.score(&turns))?;
        let by_name = PyDict::new(py);
        for (name, logit) in logits {
            by_name.set_item(name, logit)?;
        }
        let dict = PyDict::new(py);
        dict.set_item("embedding", embedding)?;
        dict.set_item("logits", by_name)?;
        dict.set_item("none_logit", none)?;
        dict.set_item("seconds", elapsed.as_secs_f64())?;
        dict.set_item("tokens", tokens)?;
        Ok(dict)
    }
}

impl PyCoordinator {
    fn with<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Coordinator) -> Result<T> + Send) -> PyResult<T> {
        // A pass writes its pages anew, so that one that a panic ended spoils no other.
        errors::run(py, || work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl GivenSpecialist {
    fn shown(self) -> Shown {
        let Self { name, description, examples } = self;
        Shown { name, description, examples }
    }
}
