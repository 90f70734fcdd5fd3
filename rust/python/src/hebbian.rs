//! Feedback's bias, as Python sees it. Adds the clock; knows no arithmetic.
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use pyo3::{prelude::*, types::PyDict};
use synapse_engine::swarm::hebbian::{self, Feedback, Learned, RegionView, Settings};

use crate::errors;

/// Biases between regions of the space of requests and specialists.
#[pyclass(frozen, name = "HebbianBias", module = "synapse_engine._engine")]
pub struct HebbianBias(Mutex<hebbian::HebbianBias>);

#[pymethods]
impl HebbianBias {
    #[new]
    #[pyo3(signature = (
        space, dimensions, *, bound = None, rate = None, forgetting = None, half_life_days = None, near = None, far = None,
        most_regions = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python's keyword arguments")]
    fn new(
        py: Python<'_>,
        space: &str,
        dimensions: usize,
        bound: Option<f32>,
        rate: Option<f32>,
        forgetting: Option<f32>,
        half_life_days: Option<f32>,
        near: Option<f32>,
        far: Option<f32>,
        most_regions: Option<usize>,
    ) -> PyResult<Self> {
        let usual = Settings::default();
        let settings = Settings {
            bound: bound.unwrap_or(usual.bound),
            rate: rate.unwrap_or(usual.rate),
            forgetting: forgetting.unwrap_or(usual.forgetting),
            half_life_days: half_life_days.unwrap_or(usual.half_life_days),
            near: near.unwrap_or(usual.near),
            far: far.unwrap_or(usual.far),
            most_regions: most_regions.unwrap_or(usual.most_regions),
        };
        errors::run(py, || Ok(Self(Mutex::new(hebbian::HebbianBias::new(space, dimensions, settings)?))))
    }

    #[pyo3(signature = (embedding, names, *, now = None))]
    fn bias<'py>(
        &self,
        py: Python<'py>,
        embedding: Vec<f32>,
        names: Vec<String>,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        let values = errors::run(py, || self.state().bias(&embedding, &borrowed, seconds(now)?))?;
        let dict = PyDict::new(py);
        names.iter().zip(values).try_for_each(|(name, value)| dict.set_item(name, value))?;
        Ok(dict)
    }

    #[pyo3(signature = (embedding, rewards, *, label = "", now = None))]
    fn learn<'py>(
        &self,
        py: Python<'py>,
        embedding: Vec<f32>,
        rewards: BTreeMap<String, f32>,
        label: &str,
        now: Option<f64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let given: Vec<(&str, f32)> = rewards.iter().map(|(name, reward)| (name.as_str(), *reward)).collect();
        let learned = errors::run(py, || {
            let feedback = Feedback { embedding: &embedding, rewards: &given, label, now: seconds(now)? };
            self.state().learn(&feedback)
        })?;
        learned_dict(py, &given, &learned)
    }

    #[pyo3(signature = (embedding, *, now = None))]
    fn active<'py>(&self, py: Python<'py>, embedding: Vec<f32>, now: Option<f64>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let (active, views) = errors::run(py, || {
            let state = self.state();
            Ok((state.active(&embedding)?, state.describe(seconds(now)?)))
        })?;
        let described =
            active.iter().filter_map(|found| Some((found, views.iter().find(|view| view.id == found.region)?)));
        let entry = |(found, view): (&hebbian::Active, &RegionView)| {
            let dict = region_dict(py, view)?;
            dict.set_item("cosine", found.cosine)?;
            dict.set_item("weight", found.weight)?;
            Ok(dict)
        };
        described.map(entry).collect()
    }

    #[pyo3(signature = (*, now = None))]
    fn describe<'py>(&self, py: Python<'py>, now: Option<f64>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let views = errors::run(py, || Ok(self.state().describe(seconds(now)?)))?;
        views.iter().map(|view| region_dict(py, view)).collect()
    }

    #[pyo3(signature = (*, region = None, specialist = None))]
    fn reset(&self, py: Python<'_>, region: Option<u64>, specialist: Option<&str>) -> PyResult<usize> {
        errors::run(py, || Ok(self.state().reset(region, specialist)))
    }

    fn export_json(&self, py: Python<'_>) -> PyResult<String> {
        errors::run(py, || self.state().to_json())
    }

    #[pyo3(signature = (text, *, now = None))]
    fn import_json(&self, py: Python<'_>, text: &str, now: Option<f64>) -> PyResult<()> {
        errors::run(py, || {
            let mut state = self.state();
            *state = state.with_json(text, seconds(now)?)?;
            Ok(())
        })
    }

    fn copy(&self) -> Self {
        Self(Mutex::new(self.state().clone()))
    }

    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let settings = *self.state().settings();
        let dict = PyDict::new(py);
        dict.set_item("bound", settings.bound)?;
        dict.set_item("rate", settings.rate)?;
        dict.set_item("forgetting", settings.forgetting)?;
        dict.set_item("half_life_days", settings.half_life_days)?;
        dict.set_item("near", settings.near)?;
        dict.set_item("far", settings.far)?;
        dict.set_item("most_regions", settings.most_regions)?;
        Ok(dict)
    }

    fn __len__(&self) -> usize {
        self.state().len()
    }

    fn __repr__(&self) -> String {
        format!("HebbianBias({} regions)", self.state().len())
    }
}

impl HebbianBias {
    // The state is replaced or changed as a whole, so a poisoned lock means nothing.
    fn state(&self) -> MutexGuard<'_, hebbian::HebbianBias> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn learned_dict<'py>(py: Python<'py>, given: &[(&str, f32)], learned: &Learned) -> PyResult<Bound<'py, PyDict>> {
    let named = |values: &[f32]| -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        given.iter().zip(values).try_for_each(|((name, _), value)| dict.set_item(name, value))?;
        Ok(dict)
    };
    let dict = PyDict::new(py);
    dict.set_item("region", learned.region)?;
    dict.set_item("born", learned.born)?;
    dict.set_item("merged", learned.merged)?;
    dict.set_item("forgotten", learned.forgotten)?;
    dict.set_item("before", named(&learned.before)?)?;
    dict.set_item("after", named(&learned.after)?)?;
    Ok(dict)
}

fn region_dict<'py>(py: Python<'py>, view: &RegionView) -> PyResult<Bound<'py, PyDict>> {
    let ties = PyDict::new(py);
    for (name, bias, feedbacks) in &view.ties {
        let tie = PyDict::new(py);
        tie.set_item("bias", bias)?;
        tie.set_item("feedbacks", feedbacks)?;
        ties.set_item(name, tie)?;
    }
    let dict = PyDict::new(py);
    dict.set_item("region", view.id)?;
    dict.set_item("label", &view.label)?;
    dict.set_item("strength", view.strength())?;
    dict.set_item("feedbacks", view.feedbacks)?;
    dict.set_item("created", view.created)?;
    dict.set_item("updated", view.updated)?;
    dict.set_item("specialists", ties)?;
    Ok(dict)
}

/// Seconds since 1970; without a time, the clock's.
fn seconds(now: Option<f64>) -> synapse_engine::Result<u64> {
    match now {
        None => Ok(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
        Some(now) if (0.0..1e12).contains(&now) => Ok(now as u64),
        Some(now) => Err(errors::field("now", format!("expected seconds since 1970, found {now}"))),
    }
}
