//! A model's chat template (Jinja), set up as transformers sets it up. Templates come with model files, so they are not
//! trusted: rendering has a budget of work, a stack and a time limit. Two holes are left, in minijinja 3.1: doubling a
//! list with `+` takes memory unpaid, and a namespace that holds itself cannot be printed. Knows no model and no token.
use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use jiff::{Zoned, fmt::strtime};
use minijinja::{
    Environment, ErrorKind, State, Value,
    value::{Serde, ValueKind},
};
use minijinja_contrib::pycompat;

use super::{json::tojson, messages, own_stack::on_own_stack};
use crate::{Error, Result};

const NAME: &str = "chat_template";

/// What a rendering may cost whatever its input: instructions, or 64 bytes each of text made.
const BASE_BUDGET: u64 = 250_000;

/// What it may cost at most.
const MOST_BUDGET: u64 = 2_000_000;

/// A value may nest one deeper every few instructions, and is freed recursively: stack for each unit of the budget.
const STACK_PER_BUDGET: usize = 256;

/// Bytes; the largest template known to us has a fifth of it.
const LONGEST_SOURCE: usize = 128 << 10;

/// An expression may nest deeper every two bytes.
const STACK_PER_SOURCE_BYTE: usize = 2 << 10;

/// A compiled template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// A rendering did not end in time.
    stuck: AtomicBool,
}

/// What a template is rendered with, besides the messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChatOptions<'a> {
    /// End with what makes the model answer.
    pub add_generation_prompt: bool,
    /// OpenAI's list of tools.
    pub tools: Option<&'a serde_json::Value>,
    /// Text of the beginning-of-sequence token.
    pub bos: Option<&'a str>,
    /// Text of the end-of-sequence token.
    pub eos: Option<&'a str>,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ChatTemplate").finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// A syntax error, with its line.
    pub fn new(source: &str) -> Result<Self> {
        if source.len() > LONGEST_SOURCE {
            let found = source.len();
            return Err(Error::Model(format!("chat template: expected at most {LONGEST_SOURCE} bytes, found {found}")));
        }
        let owned = source.to_owned();
        on_own_stack(source.len() * STACK_PER_SOURCE_BYTE, move || Self::compile(&owned))
            .unwrap_or_else(|| Err(too_much_work()))
    }

    fn compile(source: &str) -> Result<Self> {
        let mut environment = Environment::new();
        let mut syntax = minijinja::syntax::SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        let broken = |error: minijinja::Error| Error::Model(format!("chat template: {}", describe(&error)));
        environment.set_syntax(syntax.build().map_err(broken)?);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_debug(false);
        environment.set_unknown_method_callback(python_method);
        environment.add_filter("tojson", tojson);
        // Indents without paying for it: output grows with the square of nesting.
        environment.remove_filter("pprint");
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", |format: &str| strftime(&Zoned::now(), format));
        environment.add_template_owned(NAME, without_generation_tags(source)).map_err(broken)?;
        Ok(ChatTemplate { environment, stuck: AtomicBool::new(false) })
    }

    /// The template of a model that may have none. `model` is its name.
    ///
    /// # Errors
    /// There is none: another model's format would silently give worse answers.
    pub fn of_model(source: Option<&str>, model: &str) -> Result<Self> {
        match source {
            Some(source) => Self::new(source),
            None => Err(Error::Request {
                param: "messages".into(),
                reason: format!(
                    "{model} has no chat template; use an instruct model, or send a prompt to /v1/completions"
                ),
            }),
        }
    }

    /// The prompt for `messages`, a JSON array of OpenAI messages.
    ///
    /// # Errors
    /// The template refuses the messages (its own words are in the error), fails on them or costs too much work.
    pub fn render(&self, messages: &serde_json::Value, options: ChatOptions) -> Result<String> {
        if self.stuck.load(Ordering::Relaxed) {
            return Err(too_much_work());
        }
        let messages = messages::flatten(messages)?;
        let input = messages.iter().map(text_length).sum::<usize>() + options.tools.map_or(0, text_length);
        let budget = (BASE_BUDGET + input as u64 / 2).min(MOST_BUDGET);
        let job = Job::new(self.environment.clone(), budget, messages, options);
        match on_own_stack(budget as usize * STACK_PER_BUDGET, || job.render()) {
            Some(rendered) => rendered,
            None => {
                // Its thread cannot be stopped; at least there will be only one.
                self.stuck.store(true, Ordering::Relaxed);
                Err(too_much_work())
            }
        }
    }
}

/// One rendering, with everything it needs.
struct Job {
    environment: Environment<'static>,
    messages: Vec<serde_json::Value>,
    tools: Option<serde_json::Value>,
    add_generation_prompt: bool,
    bos: Option<String>,
    eos: Option<String>,
}

impl Job {
    fn new(
        mut environment: Environment<'static>,
        budget: u64,
        messages: Vec<serde_json::Value>,
        options: ChatOptions,
    ) -> Self {
        environment.set_fuel(Some(budget));
        Job {
            environment,
            messages,
            tools: options.tools.cloned(),
            add_generation_prompt: options.add_generation_prompt,
            bos: options.bos.map(str::to_owned),
            eos: options.eos.map(str::to_owned),
        }
    }

    fn render(self) -> Result<String> {
        let text_or_undefined = |text: Option<String>| text.map_or(Value::UNDEFINED, Value::from);
        let context = minijinja::context! {
            messages => Value::from(Serde(&self.messages)),
            tools => self.tools.as_ref().map(|tools| Value::from(Serde(tools))),
            documents => Value::from(()),
            add_generation_prompt => self.add_generation_prompt,
            bos_token => text_or_undefined(self.bos),
            eos_token => text_or_undefined(self.eos),
        };
        let rendered = self.environment.get_template(NAME).and_then(|template| template.render(context));
        rendered.map_err(|error| render_error(&error))
    }
}

/// Bytes of text in a JSON value, and something for each node.
fn text_length(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => text.len() + 64,
        serde_json::Value::Array(items) => items.iter().map(text_length).sum::<usize>() + 64,
        serde_json::Value::Object(fields) => {
            fields.iter().map(|(key, value)| key.len() + text_length(value)).sum::<usize>() + 64
        }
        _ => 64,
    }
}

/// A template's own refusal, found again in the chain of errors.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

fn raise_exception(message: String) -> std::result::Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Refusal(message)))
}

fn strftime(now: &Zoned, format: &str) -> std::result::Result<String, minijinja::Error> {
    strtime::format(format, now).map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

fn render_error(error: &minijinja::Error) -> Error {
    let request = |reason: String| Error::Request { param: "messages".into(), reason };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(Refusal(message)) = current.downcast_ref() {
            return request(message.clone());
        }
        if current.downcast_ref::<minijinja::Error>().is_some_and(|inner| inner.kind() == ErrorKind::OutOfFuel) {
            return Error::Model(
                "chat template: it needs more work than any honest template for these messages".into(),
            );
        }
        cause = current.source();
    }
    request(format!("the model's chat template failed on them: {}", describe(error)))
}

fn too_much_work() -> Error {
    Error::Model("chat template: it needs more work than any honest template for these messages".into())
}

fn describe(error: &minijinja::Error) -> String {
    let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
    let line = error.line().map_or(String::new(), |line| format!(" (line {line})"));
    format!("{}{detail}{line}", error.kind())
}

/// Methods of Python's strings, lists and dicts. Those that can multiply text pay before they do.
fn python_method(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> std::result::Result<Value, minijinja::Error> {
    if let Some(text) = value.as_str() {
        let cost = match method {
            "replace" => replaced_length(text, args),
            "join" => joined_length(text, args)?,
            "format" => formatted_length(text, args)?,
            _ => 0,
        };
        state.consume_fuel(cost as u64 / 64)?;
    }
    pycompat::unknown_method_callback(state, value, method, args)
}

fn replaced_length(text: &str, args: &[Value]) -> usize {
    let [Some(old), Some(new)] = [0, 1].map(|index| args.get(index).and_then(Value::as_str)) else { return 0 };
    text.matches(old).count().saturating_mul(new.len())
}

fn joined_length(separator: &str, args: &[Value]) -> std::result::Result<usize, minijinja::Error> {
    let mut length = 0usize;
    for item in args.first().map(Value::try_iter).transpose()?.into_iter().flatten() {
        let Some(text) = item.as_str() else { return Err(not_text("join", &item)) };
        length = length.saturating_add(separator.len() + text.len());
    }
    Ok(length)
}

/// At most: every placeholder shows the longest argument. Widths of five digits and more have no honest use.
fn formatted_length(text: &str, args: &[Value]) -> std::result::Result<usize, minijinja::Error> {
    let mut longest = 10_000;
    for arg in args {
        match arg.kind() {
            ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => return Err(not_text("format", arg)),
            _ => longest = longest.max(arg.as_str().map_or(0, str::len)),
        }
    }
    if text.split(|character: char| !character.is_ascii_digit()).any(|digits| digits.len() > 4) {
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "format: a width is too large"));
    }
    Ok(text.matches('{').count().saturating_mul(longest))
}

fn not_text(method: &str, value: &Value) -> minijinja::Error {
    let reason = format!("str.{method}: expected strings, found a {}", value.kind());
    minijinja::Error::new(ErrorKind::InvalidOperation, reason)
}

/// Replaces `{% generation %}` and `{% endgeneration %}`, which mark the assistant's words for training, by tags that
/// do nothing but keep the marks' effect on whitespace.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        // `{%}` opens a tag and does not close it.
        let Some(length) = tag[2..].find("%}").map(|at| at + 4) else { break };
        let inside = tag[2..length - 2].trim_matches(['-', '+']).trim();
        out.push_str(before);
        match inside {
            "generation" | "endgeneration" => {
                let neutral = if inside == "generation" { "if true" } else { "endif" };
                out.push_str(&tag[..length].replace(inside, neutral));
            }
            _ => out.push_str(&tag[..length]),
        }
        rest = &tag[length..];
    }
    out + rest
}

#[cfg(test)]
#[path = "chat_template_tests.rs"]
mod tests;
