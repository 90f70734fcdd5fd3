//! Engine errors as Python exceptions: one class per variant, `hint` and `param` as attributes. Panics become InternalError.
use pyo3::{create_exception, exceptions::PyException, prelude::*, types::PyType};
use synapse_engine::{Error, engine::contained};

create_exception!(synapse_engine, EngineError, PyException, "Base class. ``hint`` says what to do next, if known.");
create_exception!(synapse_engine, FileError, EngineError, "A file cannot be opened, read or written.");
create_exception!(synapse_engine, FormatError, EngineError, "A model file is damaged or of an unknown kind.");
create_exception!(synapse_engine, ModelError, EngineError, "The model in a sound file cannot be run.");
create_exception!(synapse_engine, AdapterError, EngineError, "A sound adapter cannot be used, or not with this model.");
create_exception!(
    synapse_engine,
    RequestError,
    EngineError,
    "A request asks for something impossible; ``param`` names the field."
);
create_exception!(synapse_engine, ContextLengthError, RequestError, "Prompt and answer do not fit the context window.");
create_exception!(synapse_engine, QueueFullError, EngineError, "Too many requests wait already.");
create_exception!(
    synapse_engine,
    QueueTimeoutError,
    QueueFullError,
    "The request waited longer than it was willing to."
);
create_exception!(synapse_engine, ClosedError, EngineError, "The engine is closed.");
create_exception!(synapse_engine, InternalError, EngineError, "A bug in the engine, contained to one request.");

/// The field that a prompt too long is reported under; the OpenAI API uses the same.
const PROMPT_FIELD: &str = "messages";

/// Adds the classes to the module. `hint` and `param` exist on the classes, so Python code may raise them too.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let classes: [Bound<'_, PyType>; 11] = [
        py.get_type::<EngineError>(),
        py.get_type::<FileError>(),
        py.get_type::<FormatError>(),
        py.get_type::<ModelError>(),
        py.get_type::<AdapterError>(),
        py.get_type::<RequestError>(),
        py.get_type::<ContextLengthError>(),
        py.get_type::<QueueFullError>(),
        py.get_type::<QueueTimeoutError>(),
        py.get_type::<ClosedError>(),
        py.get_type::<InternalError>(),
    ];
    py.get_type::<EngineError>().setattr("hint", py.None())?;
    py.get_type::<RequestError>().setattr("param", "")?;
    classes.iter().try_for_each(|class| module.add(class.name()?, class))
}

/// The exception for an engine error.
pub fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let message = error.to_string();
    let exception = match error {
        Error::Io { .. } => FileError::new_err(message),
        Error::Format { .. } => FormatError::new_err(message),
        Error::Model(_) => ModelError::new_err(message),
        Error::Adapter { .. } => AdapterError::new_err(message),
        Error::Request { .. } => RequestError::new_err(message),
        Error::ContextLength { .. } => ContextLengthError::new_err(message),
        Error::QueueFull { .. } => QueueFullError::new_err(message),
        Error::QueueTimeout { .. } => QueueTimeoutError::new_err(message),
        Error::Closed => ClosedError::new_err(message),
        Error::Internal(_) => InternalError::new_err(message),
    };
    match set_attributes(exception.value(py), error) {
        Ok(()) => exception,
        Err(failure) => failure,
    }
}

fn set_attributes(exception: &Bound<'_, PyAny>, error: &Error) -> PyResult<()> {
    exception.setattr("hint", error.hint())?;
    match error {
        Error::Request { param, .. } => exception.setattr("param", param),
        Error::ContextLength { .. } => exception.setattr("param", PROMPT_FIELD),
        _ => Ok(()),
    }
}

/// Runs engine code without the GIL. An error becomes its exception; a panic becomes InternalError, never PanicException.
pub fn run<T: Send>(py: Python<'_>, work: impl FnOnce() -> synapse_engine::Result<T> + Send) -> PyResult<T> {
    py.detach(|| contained(work)).map_err(|error| to_python(py, &error))
}

/// A complaint about one field of a request.
pub fn field(param: &str, reason: impl Into<String>) -> Error {
    Error::Request { param: param.to_owned(), reason: reason.into() }
}
