//! `adapter_config.json`: the rank and the factor of every module. Each setting either leaves the numbers alone, or is understood
//! here, or is refused by name if it is set. Keys and defaults: `LoraConfig` of peft 0.10 to 0.21. Knows no tensor.
use std::path::Path;

use regex::{RegexSet, RegexSetBuilder};
use serde_json::{Map, Value};

use super::{MERGE, refused};
use crate::{
    Error, Result,
    architectures::ModelConfig,
    batch::TokenId,
    files::{
        format_error,
        json::{self, Object, describe},
    },
};

const UNDERSTOOD: [&str; 14] = [
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "init_lora_weights",
    "alora_invocation_tokens",
    "base_model_name_or_path",
    // Which modules have matrices, the tensors say themselves.
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
];

/// About training, about finding the base, or of no effect without another setting that is refused.
const HARMLESS: [&str; 12] = [
    "task_type",
    "auto_mapping",
    "peft_version",
    "revision",
    "inference_mode",
    "lora_dropout",
    // For layers that are stored transposed; the linear layers of these families are not, and peft turns it off for them, too.
    "fan_in_fan_out",
    "megatron_core",
    "qalora_group_size",
    "runtime_config",
    "eva_config",
    "loftq_config",
];

/// Starts that leave the base's weights alone; all others begin with a base of their own.
const INITS: [&str; 3] = ["gaussian", "eva", "orthogonal"];
/// One per module of a model of 80 layers is 560.
const MOST_PATTERNS: usize = 1 << 12;
const PATTERN_BYTES: usize = 16 << 20;
const MOST_INVOCATION_TOKENS: usize = 1 << 12;

pub(super) struct Settings {
    rank: usize,
    alpha: f64,
    stabilised: bool,
    ranks: Patterns<usize>,
    alphas: Patterns<f64>,
    pub invocation_tokens: Vec<TokenId>,
    pub base_model: Option<String>,
}

impl Settings {
    /// Reads and checks settings; `path` only names the file in errors.
    pub fn read(path: &Path, bytes: &[u8], config: &ModelConfig) -> Result<Settings> {
        let fields: Map<String, Value> = json::parse(path, bytes)?;
        let object = Object { path, prefix: "", fields: &fields };
        refuse_kind(&object)?;
        refuse_unknown(&object)?;
        Ok(Settings {
            rank: rank(&object, "r", object.required("r", object.get("r"))?)?,
            alpha: alpha(&object, "lora_alpha", object.required("lora_alpha", object.get("lora_alpha"))?)?,
            stabilised: object.flag("use_rslora")?.unwrap_or(false),
            ranks: Patterns::read(&object, "rank_pattern", rank)?,
            alphas: Patterns::read(&object, "alpha_pattern", alpha)?,
            invocation_tokens: invocation_tokens(&object, config.vocab_size)?,
            base_model: object.text("base_model_name_or_path")?.filter(|name| !name.is_empty()).map(str::to_owned),
        })
    }

    /// Rank of a module's matrices.
    pub fn rank(&self, module: &str) -> usize {
        *self.ranks.get(module).unwrap_or(&self.rank)
    }

    /// The factor of a module's product.
    pub fn scale(&self, module: &str) -> f32 {
        let (alpha, rank) = (*self.alphas.get(module).unwrap_or(&self.alpha), self.rank(module) as f64);
        (alpha / if self.stabilised { rank.sqrt() } else { rank }) as f32
    }
}

/// Values for some modules, by regular expressions.
struct Patterns<T> {
    expressions: RegexSet,
    values: Vec<T>,
}

impl<T> Patterns<T> {
    fn read(object: &Object, key: &str, value: impl Fn(&Object, &str, &Value) -> Result<T>) -> Result<Patterns<T>> {
        let empty = Map::new();
        let table = object.object(key)?.unwrap_or(&empty);
        if table.len() > MOST_PATTERNS {
            return Err(
                object.fault(format!("`{key}`: expected at most {MOST_PATTERNS} entries, found {}", table.len()))
            );
        }
        // What peft matches: the end of a module's name, from a dot on. In the order of the file, as the first that fits counts.
        let expressions = table.keys().map(|pattern| format!(r"^(?:.*\.)?(?:{pattern})$"));
        let expressions = RegexSetBuilder::new(expressions)
            .size_limit(PATTERN_BYTES)
            .build()
            .map_err(|error| object.fault(format!("`{key}`: {error}")))?;
        let values = table.iter().map(|(pattern, found)| value(object, &format!("{key}.{pattern}"), found));
        Ok(Patterns { expressions, values: values.collect::<Result<_>>()? })
    }

    fn get(&self, module: &str) -> Option<&T> {
        self.expressions.matches(module).iter().next().map(|index| &self.values[index])
    }
}

fn refuse_kind(object: &Object) -> Result<()> {
    match object.required("peft_type", object.text("peft_type")?)? {
        "LORA" => {}
        other => {
            let reason = format!("`peft_type` is `{other}`; only `LORA` can be used");
            return Err(refused(object.path, reason, MERGE));
        }
    }
    if let Some(bias) = object.text("bias")?.filter(|&bias| bias != "none") {
        return Err(refused(object.path, format!("`bias` is `{bias}`; only `none` can be used"), MERGE));
    }
    match object.get("init_lora_weights") {
        None | Some(Value::Bool(_)) => Ok(()),
        Some(Value::String(name)) if INITS.contains(&name.as_str()) => Ok(()),
        Some(other) => {
            let reason =
                format!("`init_lora_weights` is {}, which begins with other weights than the base's", describe(other));
            let hint = "save it as plain LoRA (save_pretrained with path_initial_model_for_weight_conversion)";
            Err(refused(object.path, reason, hint))
        }
    }
}

fn refuse_unknown(object: &Object) -> Result<()> {
    let known = |key: &str| UNDERSTOOD.contains(&key) || HARMLESS.contains(&key);
    match object.fields.iter().find(|(key, value)| !known(key) && !is_empty(value)) {
        Some((key, value)) => {
            let reason = format!("`{key}` is {}, which cannot be used beside a base that others use", describe(value));
            Err(refused(object.path, reason, MERGE))
        }
        None => Ok(()),
    }
}

/// What an option is that nobody has chosen.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn rank(object: &Object, key: &str, value: &Value) -> Result<usize> {
    let rank = value.as_u64().and_then(|rank| usize::try_from(rank).ok()).filter(|&rank| rank > 0);
    rank.ok_or_else(|| object.fault(format!("`{key}`: expected a rank of 1 or more, found {}", describe(value))))
}

fn alpha(object: &Object, key: &str, value: &Value) -> Result<f64> {
    let alpha = value.as_f64().filter(|alpha| alpha.is_finite());
    alpha.ok_or_else(|| object.fault(format!("`{key}`: expected a number, found {}", describe(value))))
}

fn invocation_tokens(object: &Object, vocab_size: usize) -> Result<Vec<TokenId>> {
    const KEY: &str = "alora_invocation_tokens";
    let Some(value) = object.get(KEY) else { return Ok(Vec::new()) };
    let tokens: Option<Vec<_>> = value.as_array().and_then(|items| items.iter().map(Value::as_u64).collect());
    let tokens =
        tokens.ok_or_else(|| object.fault(format!("`{KEY}`: expected token ids, found {}", describe(value))))?;
    check_invocation(object.path, KEY, &tokens, vocab_size)
}

/// Checks the tokens that switch an adapter on, of any format.
pub(super) fn check_invocation(path: &Path, key: &str, tokens: &[u64], vocab_size: usize) -> Result<Vec<TokenId>> {
    if tokens.is_empty() || tokens.len() > MOST_INVOCATION_TOKENS {
        let wanted = format!("1 to {MOST_INVOCATION_TOKENS} tokens");
        return Err(format_error(path, format!("`{key}`: expected {wanted}, found {}", tokens.len())));
    }
    let id = |&token: &u64| TokenId::try_from(token).ok().filter(|&id| (id as usize) < vocab_size).ok_or(token);
    tokens.iter().map(id).collect::<std::result::Result<_, _>>().map_err(|token| Error::Adapter {
        path: path.to_owned(),
        reason: format!("`{key}`: token {token} is not in the model's vocabulary of {vocab_size}"),
        hint: "it was made for another base; load it beside that one",
    })
}
