//! A loaded model, as Python sees it. Knows which call blocks, not what it computes.
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};
use synapse_engine::{
    Error, Result,
    backends::KvType,
    batch::TokenId,
    engine::{AdapterLimits, EngineHandle, EngineOptions, Models, PastWindow},
    load::{self, LoadOptions, Loaded, ModelInfo, Quant},
    schedule::RequestId,
    speculate::Speculation,
    tokenize::{ChatOptions, ChatTemplate, Tokenizer},
};

use crate::{
    adapters, describe, errors,
    errors::field,
    queue::EventQueue,
    request::{self, ModelDefaults},
};

/// One model, loaded and running.
#[pyclass(frozen, name = "Engine", module = "synapse_engine._engine")]
pub struct Engine {
    handle: EngineHandle,
    closed: AtomicBool,
    tokenizer: Arc<Tokenizer>,
    /// A model without a usable template still runs; the error waits for whoever wants to chat.
    template: Result<ChatTemplate>,
    defaults: ModelDefaults,
    info: ModelInfo,
    speculation: Speculation,
    draft_model: Option<PathBuf>,
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (
        path, *, quant = "auto", threads = None, context_length = None, kv_type = "f16", kv_tokens = None,
        max_sequences = 64, max_queue = 256, prefill_chunk = 512, prefix_cache = true, speculation = "ngram",
        draft_model = None, past_window = "exact", packed_file = true, max_adapters = 64, max_adapter_rank = 256,
        max_adapter_bytes = 4 << 30,
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python's keyword arguments")]
    fn new(
        py: Python<'_>,
        path: &str,
        quant: &str,
        threads: Option<usize>,
        context_length: Option<usize>,
        kv_type: &str,
        kv_tokens: Option<usize>,
        max_sequences: usize,
        max_queue: usize,
        prefill_chunk: usize,
        prefix_cache: bool,
        speculation: &str,
        draft_model: Option<&str>,
        past_window: &str,
        packed_file: bool,
        max_adapters: usize,
        max_adapter_rank: usize,
        max_adapter_bytes: u64,
    ) -> PyResult<Self> {
        errors::run(py, || {
            let quant = parse_quant(quant)?;
            let kv_type = parse_kv_type(kv_type)?;
            let load = LoadOptions { quant, threads, context_length, kv_type, kv_tokens, packed_file };
            let speculation = parse_speculation(speculation)?;
            let past_window = parse_past_window(past_window)?;
            let adapters = AdapterLimits { count: max_adapters, rank: max_adapter_rank, bytes: max_adapter_bytes };
            let run = EngineOptions {
                max_sequences,
                max_queue,
                prefill_chunk,
                prefix_cache,
                speculation,
                past_window,
                adapters,
            };
            Self::start(Path::new(path), draft_model.map(Path::new), &load, run)
        })
    }

    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = describe::info(py, &self.info, &self.tokenizer, &self.defaults.generation, self.template.is_ok())?;
        dict.set_item("speculation", speculation_name(self.speculation))?;
        dict.set_item("draft_model", self.draft_model.as_ref().map(|path| path.to_string_lossy()))?;
        Ok(dict)
    }

    #[pyo3(signature = (text, *, add_special = true, parse_special = true))]
    fn tokenize(&self, py: Python<'_>, text: &str, add_special: bool, parse_special: bool) -> PyResult<Vec<TokenId>> {
        errors::run(py, || self.tokenizer.encode(text, add_special, parse_special))
    }

    #[pyo3(signature = (tokens, *, skip_special = false))]
    fn detokenize(&self, py: Python<'_>, tokens: Vec<TokenId>, skip_special: bool) -> PyResult<String> {
        errors::run(py, || Ok(self.tokenizer.decode(&tokens, skip_special)))
    }

    fn token_bytes<'py>(&self, py: Python<'py>, token: TokenId) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.tokenizer.token_bytes(token))
    }

    #[pyo3(signature = (messages_json, *, add_generation_prompt = true, tools_json = None))]
    fn apply_chat_template(
        &self,
        py: Python<'_>,
        messages_json: &str,
        add_generation_prompt: bool,
        tools_json: Option<&str>,
    ) -> PyResult<String> {
        errors::run(py, || self.render(messages_json, add_generation_prompt, tools_json))
    }

    fn submit(&self, py: Python<'_>, request: &Bound<'_, PyDict>, queue: &EventQueue) -> PyResult<RequestId> {
        let request = request::parse(request, &self.defaults).map_err(|error| errors::to_python(py, &error))?;
        errors::run(py, || self.handle.submit(request, queue.sink()))
    }

    fn cancel(&self, py: Python<'_>, request_id: RequestId) -> PyResult<()> {
        errors::run(py, || {
            self.handle.cancel(request_id);
            Ok(())
        })
    }

    fn load_adapter<'py>(&self, py: Python<'py>, name: &str, path: PathBuf) -> PyResult<Bound<'py, PyDict>> {
        let adapter = errors::run(py, || {
            let adapters = self.open()?.adapters();
            let adapter = load::load_adapter(&path, &self.info.config, adapters.sites())?;
            adapters.insert(name, Arc::clone(&adapter))?;
            Ok(adapter)
        })?;
        adapters::describe(py, name, &adapter)
    }

    fn unload_adapter(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        errors::run(py, || self.open()?.adapters().remove(name))
    }

    fn adapters<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let adapters = errors::run(py, || Ok(self.open()?.adapters().list()))?;
        adapters.iter().map(|(name, adapter)| adapters::describe(py, name, adapter)).collect()
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = errors::run(py, || Ok(self.open()?.stats()))?;
        describe::stats(py, &stats)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        errors::run(py, || {
            self.closed.store(true, Ordering::Relaxed);
            self.handle.close();
            Ok(())
        })
    }

    fn __repr__(&self) -> String {
        format!("Engine('{}', {} threads, {})", self.info.path.display(), self.info.threads, self.info.kernels)
    }
}

impl Engine {
    fn start(path: &Path, draft_path: Option<&Path>, load: &LoadOptions, options: EngineOptions) -> Result<Self> {
        let speculation = options.speculation;
        if draft_path.is_some() && speculation == Speculation::Off {
            return Err(field("draft_model", "expected none with speculation off, found one"));
        }
        let Loaded { model, mut info, tokenizer, chat_template, generation } = load::load(path, load)?;
        let tokenizer = Arc::new(Tokenizer::new(&tokenizer)?);
        let draft = draft_path.map(|path| load::load_draft(path, load, &info, &tokenizer)).transpose()?;
        let (draft, notices) = draft.unzip();
        info.notices.extend(notices.unwrap_or_default());
        let name = info.path.file_name().unwrap_or(info.path.as_os_str()).to_string_lossy();
        let template = ChatTemplate::of_model(chat_template.as_deref(), &name);
        let handle = EngineHandle::start(Models { model, draft }, Arc::clone(&tokenizer), options)?;
        let defaults = ModelDefaults { generation, context_length: handle.context_length() };
        let (closed, draft_model) = (AtomicBool::new(false), draft_path.map(Path::to_owned));
        Ok(Self { handle, closed, tokenizer, template, defaults, info, speculation, draft_model })
    }

    fn open(&self) -> Result<&EngineHandle> {
        match self.closed.load(Ordering::Relaxed) {
            true => Err(Error::Closed),
            false => Ok(&self.handle),
        }
    }

    fn render(&self, messages: &str, add_generation_prompt: bool, tools: Option<&str>) -> Result<String> {
        let template = self.template.as_ref().map_err(Clone::clone)?;
        let messages = json("messages", messages)?;
        let tools = tools.map(|tools| json("tools", tools)).transpose()?;
        let text = |token: Option<TokenId>| token.map(|id| self.tokenizer.decode(&[id], false));
        let (bos, eos) = (text(self.tokenizer.bos()), text(self.tokenizer.eos()));
        let options =
            ChatOptions { add_generation_prompt, tools: tools.as_ref(), bos: bos.as_deref(), eos: eos.as_deref() };
        template.render(&messages, options)
    }
}

fn parse_quant(name: &str) -> Result<Quant> {
    let names = Quant::ALL.map(Quant::name).join(", ");
    Quant::from_name(name).ok_or_else(|| field("quant", format!("expected one of {names}, found {name}")))
}

fn parse_kv_type(name: &str) -> Result<KvType> {
    match name {
        "f32" => Ok(KvType::F32),
        "f16" => Ok(KvType::F16),
        "q8" => Ok(KvType::Q8),
        _ => Err(field("kv_type", format!("expected f32, f16 or q8, found {name}"))),
    }
}

fn parse_speculation(name: &str) -> Result<Speculation> {
    match name {
        "ngram" => Ok(Speculation::Ngram),
        "off" => Ok(Speculation::Off),
        _ => Err(field("speculation", format!("expected ngram or off, found {name}"))),
    }
}

fn parse_past_window(name: &str) -> Result<PastWindow> {
    match name {
        "exact" => Ok(PastWindow::Exact),
        "restart" => Ok(PastWindow::Restart),
        _ => Err(field("past_window", format!("expected exact or restart, found {name}"))),
    }
}

fn speculation_name(speculation: Speculation) -> &'static str {
    match speculation {
        Speculation::Ngram => "ngram",
        Speculation::Off => "off",
    }
}

fn json(param: &str, text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|error| field(param, format!("not valid JSON: {error}")))
}
