//! The engine's events as Python objects. Fields are converted when they are read: most consumers read only the text.
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString},
};
use synapse_engine::schedule::{Event, FinishReason, RequestId, TokenInfo, Usage};

use crate::errors;

/// What the engine reports about one request.
#[pyclass(frozen, name = "Event", module = "synapse_engine._engine")]
pub struct PyEvent {
    #[pyo3(get)]
    request_id: RequestId,
    event: Event,
}

impl PyEvent {
    pub fn new(request_id: RequestId, event: Event) -> Self {
        Self { request_id, event }
    }
}

#[pymethods]
impl PyEvent {
    #[getter]
    fn kind(&self) -> &'static str {
        match self.event {
            Event::Text { .. } => "text",
            Event::Finished { .. } => "finished",
            Event::Embedding(_) => "embedding",
            Event::Scores(_) => "scores",
            Event::Done(_) => "done",
            Event::Failed(_) => "failed",
        }
    }

    #[getter]
    fn index(&self) -> usize {
        match self.event {
            Event::Text { index, .. } | Event::Finished { index, .. } => index,
            _ => 0,
        }
    }

    #[getter]
    fn text(&self) -> &str {
        match &self.event {
            Event::Text { text, .. } => text,
            _ => "",
        }
    }

    #[getter]
    fn tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        match &self.event {
            Event::Text { tokens, .. } | Event::Scores(tokens) => token_list(py, tokens),
            _ => Ok(PyList::empty(py)),
        }
    }

    #[getter]
    fn finish_reason(&self) -> Option<&'static str> {
        match &self.event {
            Event::Finished { reason, .. } => Some(reason_name(*reason)),
            _ => None,
        }
    }

    #[getter]
    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        match &self.event {
            Event::Done(usage) => usage_dict(py, usage).map(Some),
            _ => Ok(None),
        }
    }

    #[getter]
    fn embedding(&self) -> Option<&[f32]> {
        match &self.event {
            Event::Embedding(values) => Some(values),
            _ => None,
        }
    }

    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.event {
            Event::Failed(error) => Some(errors::to_python(py, error).into_value(py).into_any()),
            _ => None,
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let detail = match &self.event {
            Event::Text { index, text, .. } => format!(", index={index}, text={}", PyString::new(py, text).repr()?),
            Event::Finished { index, reason } => format!(", index={index}, finish_reason='{}'", reason_name(*reason)),
            Event::Embedding(values) => format!(", {} values", values.len()),
            Event::Scores(tokens) => format!(", {} tokens", tokens.len()),
            Event::Done(usage) => format!(", usage={}", usage_dict(py, usage)?.repr()?),
            Event::Failed(error) => format!(", error={}", PyString::new(py, &error.to_string()).repr()?),
        };
        Ok(format!("Event(request_id={}, kind='{}'{detail})", self.request_id, self.kind()))
    }
}

fn reason_name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Cancelled => "cancelled",
    }
}

fn token_list<'py>(py: Python<'py>, tokens: &[TokenInfo]) -> PyResult<Bound<'py, PyList>> {
    let entries = tokens.iter().map(|token| token_dict(py, token)).collect::<PyResult<Vec<_>>>()?;
    PyList::new(py, entries)
}

fn token_dict<'py>(py: Python<'py>, token: &TokenInfo) -> PyResult<Bound<'py, PyDict>> {
    let top = token.top.iter().map(|(id, bytes, logprob)| (*id, PyBytes::new(py, bytes), *logprob));
    let entry = PyDict::new(py);
    entry.set_item("id", token.id)?;
    entry.set_item("bytes", PyBytes::new(py, &token.bytes))?;
    entry.set_item("logprob", token.logprob)?;
    entry.set_item("top", PyList::new(py, top.collect::<Vec<_>>())?)?;
    Ok(entry)
}

fn usage_dict<'py>(py: Python<'py>, usage: &Usage) -> PyResult<Bound<'py, PyDict>> {
    let entry = PyDict::new(py);
    entry.set_item("prompt_tokens", usage.prompt_tokens)?;
    entry.set_item("completion_tokens", usage.completion_tokens)?;
    entry.set_item("cached_tokens", usage.cached_tokens)?;
    entry.set_item("drafted_tokens", usage.drafted_tokens)?;
    entry.set_item("accepted_tokens", usage.accepted_tokens)?;
    entry.set_item("queue_seconds", usage.queue_seconds)?;
    entry.set_item("first_token_seconds", usage.first_token_seconds)?;
    entry.set_item("total_seconds", usage.total_seconds)?;
    Ok(entry)
}
