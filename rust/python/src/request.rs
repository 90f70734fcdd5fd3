//! Python dicts to engine requests. Refuses unknown keys and wrong types by name; the engine itself checks ranges.
use pyo3::{
    prelude::*,
    types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple},
};
use synapse_engine::{
    Error,
    batch::TokenId,
    files::GenerationDefaults,
    sample::SamplingOptions,
    schedule::{GenerateOptions, Request, Task},
};

use crate::{adapters, errors::field};

type Parsed<T> = Result<T, Error>;

/// What a request takes from the model when it does not say.
pub struct ModelDefaults {
    /// Sampling defaults and end tokens.
    pub generation: GenerationDefaults,
    /// Most positions of a sequence.
    pub context_length: usize,
}

/// Reads a whole request.
pub fn parse(request: &Bound<'_, PyDict>, model: &ModelDefaults) -> Parsed<Request> {
    let mut fields = Fields::of(request)?;
    let tokens = fields.tokens("tokens")?.ok_or_else(|| field("tokens", "required: the prompt's token ids"))?;
    let max_queue_seconds = fields.number("max_queue_seconds")?.map(f64::from);
    let client = fields.text("client")?.unwrap_or_default();
    let adapters = fields.take("adapters")?.map(|value| adapters::parse(&value)).transpose()?.unwrap_or_default();
    let task_name = fields.text("task")?.unwrap_or_else(|| "generate".to_owned());
    let task = match task_name.as_str() {
        "generate" => Task::Generate(generate_options(&mut fields, tokens.len(), model)?),
        "embed" => Task::Embed,
        "score" => Task::Score { top: fields.count("top")?.unwrap_or(0) },
        other => return Err(field("task", format!("expected 'generate', 'embed' or 'score', found '{other}'"))),
    };
    fields.finish(&task_name)?;
    Ok(Request { tokens, task, client, adapters, max_queue_seconds })
}

fn generate_options(fields: &mut Fields<'_>, prompt: usize, model: &ModelDefaults) -> Parsed<GenerateOptions> {
    let room = model.context_length.saturating_sub(prompt).max(1);
    let mut stop_tokens = fields.tokens("stop_tokens")?.unwrap_or_default();
    if !fields.flag("ignore_eos")?.unwrap_or(false) {
        stop_tokens.extend(&model.generation.eos);
    }
    Ok(GenerateOptions {
        max_new_tokens: fields.count("max_new_tokens")?.unwrap_or(room),
        choices: fields.count("choices")?.unwrap_or(1),
        stop: fields.texts("stop")?.unwrap_or_default(),
        stop_tokens,
        logprobs: fields.count("logprobs")?,
        sampling: sampling_options(fields, &model.generation)?,
    })
}

fn sampling_options(fields: &mut Fields<'_>, model: &GenerationDefaults) -> Parsed<SamplingOptions> {
    let plain = SamplingOptions::default();
    Ok(SamplingOptions {
        temperature: fields.number("temperature")?.or(model.temperature).unwrap_or(plain.temperature),
        top_k: fields.count("top_k")?.or(model.top_k).unwrap_or(plain.top_k),
        top_p: fields.number("top_p")?.or(model.top_p).unwrap_or(plain.top_p),
        min_p: fields.number("min_p")?.unwrap_or(plain.min_p),
        typical_p: fields.number("typical_p")?.unwrap_or(plain.typical_p),
        repetition_penalty: fields
            .number("repetition_penalty")?
            .or(model.repetition_penalty)
            .unwrap_or(plain.repetition_penalty),
        presence_penalty: fields.number("presence_penalty")?.unwrap_or(plain.presence_penalty),
        frequency_penalty: fields.number("frequency_penalty")?.unwrap_or(plain.frequency_penalty),
        logit_bias: fields.biases("logit_bias")?,
        seed: fields.seed("seed")?,
    })
}

/// The keys not read yet. A value of None counts as left out.
struct Fields<'py> {
    left: Bound<'py, PyDict>,
}

impl<'py> Fields<'py> {
    fn of(request: &Bound<'py, PyDict>) -> Parsed<Self> {
        let left = request.copy().map_err(|error| field("request", error.to_string()))?;
        Ok(Self { left })
    }

    fn take(&mut self, key: &str) -> Parsed<Option<Bound<'py, PyAny>>> {
        let wrong = |error: PyErr| field(key, error.to_string());
        let Some(value) = self.left.get_item(key).map_err(wrong)? else { return Ok(None) };
        self.left.del_item(key).map_err(wrong)?;
        Ok(Some(value).filter(|value| !value.is_none()))
    }

    fn finish(self, task: &str) -> Parsed<()> {
        match self.left.keys().iter().next() {
            None => Ok(()),
            Some(key) => Err(field(&key.to_string(), format!("not an option of the task '{task}'"))),
        }
    }

    fn count(&mut self, key: &str) -> Parsed<Option<usize>> {
        let Some(value) = self.take(key)? else { return Ok(None) };
        let number = integer(&value).and_then(|number| usize::try_from(number).ok());
        number.map(Some).ok_or_else(|| mismatch(key, "an integer from 0", &value))
    }

    /// Any 64-bit integer, signed or not; negative ones keep their bits.
    fn seed(&mut self, key: &str) -> Parsed<Option<u64>> {
        let Some(value) = self.take(key)? else { return Ok(None) };
        integer(&value)
            .and_then(|number| u64::try_from(number).ok().or(i64::try_from(number).ok().map(i64::cast_unsigned)))
            .map(Some)
            .ok_or_else(|| mismatch(key, "a 64-bit integer", &value))
    }

    fn number(&mut self, key: &str) -> Parsed<Option<f32>> {
        let Some(value) = self.take(key)? else { return Ok(None) };
        float(&value).map(Some).ok_or_else(|| mismatch(key, "a number", &value))
    }

    fn flag(&mut self, key: &str) -> Parsed<Option<bool>> {
        let Some(value) = self.take(key)? else { return Ok(None) };
        value.extract::<bool>().map(Some).map_err(|_| mismatch(key, "True or False", &value))
    }

    fn text(&mut self, key: &str) -> Parsed<Option<String>> {
        let Some(value) = self.take(key)? else { return Ok(None) };
        text(key, "a str", &value).map(Some)
    }

    fn texts(&mut self, key: &str) -> Parsed<Option<Vec<String>>> {
        self.items(key, "a list of str", |item| text(key, "a list of str", item))
    }

    fn tokens(&mut self, key: &str) -> Parsed<Option<Vec<TokenId>>> {
        self.items(key, "a list of token ids", |item| token(key, item))
    }

    fn items<T>(
        &mut self,
        key: &str,
        wanted: &str,
        read: impl Fn(&Bound<'py, PyAny>) -> Parsed<T>,
    ) -> Parsed<Option<Vec<T>>> {
        let Some(value) = self.take(key)? else { return Ok(None) };
        // A str is a sequence too, but never meant as one.
        if !(value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>()) {
            return Err(mismatch(key, wanted, &value));
        }
        let items = value.try_iter().map_err(|_| mismatch(key, wanted, &value))?;
        items.map(|item| read(&item.map_err(|_| mismatch(key, wanted, &value))?)).collect::<Parsed<Vec<T>>>().map(Some)
    }

    fn biases(&mut self, key: &str) -> Parsed<Vec<(TokenId, f32)>> {
        let Some(value) = self.take(key)? else { return Ok(Vec::new()) };
        let wanted = "a dict of token ids to numbers";
        let entries = value.cast::<PyDict>().map_err(|_| mismatch(key, wanted, &value))?;
        let read = |(id, bias): (Bound<'py, PyAny>, Bound<'py, PyAny>)| {
            Ok((token(key, &id)?, float(&bias).ok_or_else(|| mismatch(key, wanted, &bias))?))
        };
        entries.iter().map(read).collect()
    }
}

fn text(key: &str, wanted: &str, value: &Bound<'_, PyAny>) -> Parsed<String> {
    let text = value.cast::<PyString>().map_err(|_| mismatch(key, wanted, value))?;
    text.extract().map_err(|_| field(key, "expected text, found a str with lone surrogates"))
}

fn token(key: &str, value: &Bound<'_, PyAny>) -> Parsed<TokenId> {
    let id = integer(value).and_then(|id| TokenId::try_from(id).ok());
    id.ok_or_else(|| mismatch(key, "token ids from 0", value))
}

fn integer(value: &Bound<'_, PyAny>) -> Option<i128> {
    // bool is a subclass of int in Python; True is not a count.
    let counts = value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>();
    if counts {
        value.extract::<i64>().map(i128::from).or_else(|_| value.extract::<u64>().map(i128::from)).ok()
    } else {
        None
    }
}

fn float(value: &Bound<'_, PyAny>) -> Option<f32> {
    let numeric = value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>();
    if numeric && !value.is_instance_of::<PyBool>() { value.extract::<f32>().ok() } else { None }
}

/// The longest value shown in an error, in characters.
const SHOWN: usize = 60;

pub fn mismatch(key: &str, wanted: &str, found: &Bound<'_, PyAny>) -> Error {
    let shown = found.repr().map_or_else(|_| "a value that cannot be shown".to_owned(), |repr| repr.to_string());
    let cut: String = shown.chars().take(SHOWN).collect();
    let dots = if cut.len() < shown.len() { "..." } else { "" };
    field(api_name(key), format!("expected {wanted}, found {cut}{dots}"))
}

/// Users know these fields by their names in the OpenAI API.
fn api_name(key: &str) -> &str {
    match key {
        "max_new_tokens" => "max_tokens",
        "choices" => "n",
        other => other,
    }
}
