//! What runs here, as dicts for people and programs to read. Knows names of things, computes nothing.
use pyo3::{prelude::*, types::PyDict};
use synapse_engine::{
    architectures::Family,
    backends::KvType,
    clock::{Account, Operation},
    engine::{Histogram, Stats},
    files::GenerationDefaults,
    load::ModelInfo,
    tokenize::Tokenizer,
};

/// A model's shape, sizes and limits.
pub fn info<'py>(
    py: Python<'py>,
    info: &ModelInfo,
    tokenizer: &Tokenizer,
    generation: &GenerationDefaults,
    chat_template: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("path", info.path.to_string_lossy())?;
    dict.set_item("format", info.format)?;
    shape(&dict, info)?;
    sizes(&dict, info)?;
    dict.set_item("notices", &info.notices)?;
    dict.set_item("bos_token", tokenizer.bos())?;
    dict.set_item("end_tokens", &generation.eos)?;
    dict.set_item("chat_template", chat_template)?;
    dict.set_item("generation", defaults(py, generation)?)?;
    Ok(dict)
}

fn shape(dict: &Bound<'_, PyDict>, info: &ModelInfo) -> PyResult<()> {
    let config = &info.config;
    dict.set_item("family", family_name(config.family))?;
    dict.set_item("vocab_size", config.vocab_size)?;
    dict.set_item("hidden_size", config.hidden_size)?;
    dict.set_item("intermediate_size", config.intermediate_size)?;
    dict.set_item("layers", config.layers)?;
    dict.set_item("heads", config.heads)?;
    dict.set_item("kv_heads", config.kv_heads)?;
    dict.set_item("head_dim", config.head_dim)?;
    dict.set_item("trained_context_length", config.context_length)
}

fn sizes(dict: &Bound<'_, PyDict>, info: &ModelInfo) -> PyResult<()> {
    dict.set_item("quant", info.quant.name())?;
    dict.set_item("parameters", info.parameters)?;
    dict.set_item("weight_bytes", info.weight_bytes)?;
    dict.set_item("bits_per_weight", info.bits_per_weight)?;
    dict.set_item("kernels", info.kernels)?;
    dict.set_item("threads", info.threads)?;
    dict.set_item("context_length", info.context_length)?;
    dict.set_item("kv_type", kv_name(info.kv_type))?;
    dict.set_item("kv_tokens", info.kv_tokens)?;
    dict.set_item("kv_bytes", info.kv_bytes)?;
    dict.set_item("packed_file", info.packed_file.as_ref().map(|path| path.to_string_lossy()))
}

fn defaults<'py>(py: Python<'py>, generation: &GenerationDefaults) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("temperature", generation.temperature)?;
    dict.set_item("top_k", generation.top_k)?;
    dict.set_item("top_p", generation.top_p)?;
    dict.set_item("repetition_penalty", generation.repetition_penalty)?;
    Ok(dict)
}

fn family_name(family: Family) -> &'static str {
    match family {
        Family::Qwen2 => "qwen2",
        Family::Llama => "llama",
        Family::Symbio => "symbio",
    }
}

fn kv_name(kv_type: KvType) -> &'static str {
    match kv_type {
        KvType::F32 => "f32",
        KvType::F16 => "f16",
        KvType::Q8 => "q8",
    }
}

/// What the engine does now, and has done since it started.
pub fn stats<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("waiting", stats.waiting)?;
    dict.set_item("running", stats.running)?;
    dict.set_item("kv_pages_used", stats.pages_used)?;
    dict.set_item("kv_pages_cached", stats.pages_cached)?;
    dict.set_item("kv_pages_total", stats.pages_total)?;
    dict.set_item("prompt_tokens_total", stats.prompt_tokens)?;
    dict.set_item("completion_tokens_total", stats.completion_tokens)?;
    dict.set_item("cached_tokens_total", stats.cached_tokens)?;
    dict.set_item("drafted_tokens_total", stats.drafted_tokens)?;
    dict.set_item("accepted_tokens_total", stats.accepted_tokens)?;
    dict.set_item("draft_failures_total", stats.draft_failures)?;
    dict.set_item("steps_total", stats.steps)?;
    dict.set_item("requests_completed_total", stats.completed)?;
    dict.set_item("requests_cancelled_total", stats.cancelled)?;
    dict.set_item("requests_failed_total", stats.failed)?;
    dict.set_item("preemptions_total", stats.preemptions)?;
    dict.set_item("operations", operations(py, &stats.account)?)?;
    dict.set_item("batch_rows", histogram(py, &stats.batch_rows)?)?;
    dict.set_item("first_token_seconds", histogram(py, &stats.first_token_seconds)?)?;
    dict.set_item("token_seconds", histogram(py, &stats.token_seconds)?)?;
    Ok(dict)
}

fn operations<'py>(py: Python<'py>, account: &Account) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (operation, spent) in Operation::ALL.iter().zip(account) {
        let entry = PyDict::new(py);
        entry.set_item("seconds", spent.seconds)?;
        entry.set_item("multiply_adds", spent.work.multiply_adds)?;
        entry.set_item("bytes", spent.work.bytes)?;
        dict.set_item(operation.name(), entry)?;
    }
    Ok(dict)
}

fn histogram<'py>(py: Python<'py>, histogram: &Histogram) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("buckets", histogram.cumulative().collect::<Vec<_>>())?;
    dict.set_item("count", histogram.count())?;
    dict.set_item("sum", histogram.sum())?;
    Ok(dict)
}
