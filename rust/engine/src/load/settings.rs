//! How long a sequence may be and how many KV pages there are, given the memory.
use super::LoadOptions;
use crate::{
    Error, Result,
    architectures::{ModelConfig, Settings},
    backends::KvType,
    batch::PAGE_TOKENS,
};

/// Full contexts that fit by default, if memory allows.
const CONTEXTS: usize = 4;
/// Share of memory that KV pages may take by default, as a divisor: weights and other programs need the rest.
const MEMORY_SHARE: u64 = 4;
/// Assumed where the system does not tell.
const UNKNOWN_MEMORY: u64 = 8 << 30;
/// Below this, memory is no reason to shorten the context further.
const LEAST_CONTEXT: usize = 2048;

/// Resolves what the user left open; refuses what cannot be.
pub fn choose(
    config: &ModelConfig,
    options: &LoadOptions,
    memory: Option<u64>,
    notices: &mut Vec<String>,
) -> Result<Settings> {
    let page_bytes = page_bytes(config, options.kv_type).max(1);
    let affordable = (memory.unwrap_or(UNKNOWN_MEMORY) / MEMORY_SHARE / page_bytes) as usize * PAGE_TOKENS;
    let context_length = context_length(config, options, affordable, notices)?;
    let tokens = kv_tokens(context_length, options, affordable)?;
    Ok(Settings { context_length, pages: tokens.div_ceil(PAGE_TOKENS), kv_type: options.kv_type })
}

/// Tokens that fit in the pages.
pub fn tokens(settings: Settings) -> usize {
    settings.pages * PAGE_TOKENS
}

/// Bytes of all pages of all layers.
pub fn bytes(config: &ModelConfig, settings: Settings) -> u64 {
    settings.pages as u64 * page_bytes(config, settings.kv_type)
}

/// Bytes of one page in every layer.
fn page_bytes(config: &ModelConfig, kv_type: KvType) -> u64 {
    config.page_bytes(kv_type) as u64
}

fn refuse<T>(param: &str, reason: String) -> Result<T> {
    Err(Error::Request { param: param.into(), reason })
}

fn context_length(
    config: &ModelConfig,
    options: &LoadOptions,
    affordable: usize,
    notices: &mut Vec<String>,
) -> Result<usize> {
    let trained = config.context_length;
    match options.context_length {
        Some(0) => refuse("context_length", "must be at least 1".into()),
        Some(asked) if asked > trained => {
            refuse("context_length", format!("{asked} is more than the {trained} tokens that this model was made for"))
        }
        Some(asked) => Ok(asked),
        None => {
            let limit = options.kv_tokens.unwrap_or(affordable.max(LEAST_CONTEXT));
            if trained > limit {
                notices.push(format!(
                    "context shortened from {trained} to {limit} tokens to fit in memory; set context_length to override"
                ));
            }
            Ok(trained.min(limit))
        }
    }
}

fn kv_tokens(context_length: usize, options: &LoadOptions, affordable: usize) -> Result<usize> {
    match options.kv_tokens {
        Some(asked) if asked < context_length.max(1) => {
            let reason =
                format!("{asked} tokens do not hold one context of {context_length}; lower context_length too");
            refuse("kv_tokens", reason)
        }
        Some(asked) => Ok(asked),
        None => Ok(context_length.saturating_mul(CONTEXTS).min(affordable).max(context_length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architectures::testing;

    const PLENTY: Option<u64> = Some(1 << 40);

    fn chosen(options: &LoadOptions, memory: Option<u64>) -> Result<(usize, usize, usize)> {
        let config = ModelConfig { context_length: 100_000, layers: 64, ..testing::config() };
        let mut notices = Vec::new();
        let settings = choose(&config, options, memory, &mut notices)?;
        Ok((settings.context_length, settings.pages, notices.len()))
    }

    fn refused(options: LoadOptions) -> String {
        chosen(&options, PLENTY).unwrap_err().to_string()
    }

    #[test]
    fn by_default_four_contexts_fit() {
        assert_eq!(chosen(&LoadOptions::default(), PLENTY).unwrap(), (100_000, 25_000, 0));
    }

    #[test]
    fn little_memory_shortens_the_context_and_says_so() {
        let (context, pages, notices) = chosen(&LoadOptions::default(), Some(1 << 24)).unwrap();
        assert_eq!((context, pages, notices), (LEAST_CONTEXT, LEAST_CONTEXT / PAGE_TOKENS, 1));
        let asked = LoadOptions { context_length: Some(5000), ..Default::default() };
        assert_eq!(chosen(&asked, Some(1 << 24)).unwrap(), (5000, 313, 0));
    }

    #[test]
    fn the_user_decides() {
        let options = LoadOptions { context_length: Some(50), kv_tokens: Some(81), ..Default::default() };
        assert_eq!(chosen(&options, None).unwrap(), (50, 6, 0));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refuse =
            |context_length, kv_tokens| refused(LoadOptions { context_length, kv_tokens, ..Default::default() });
        assert!(refuse(Some(0), None).starts_with("context_length: "));
        assert!(refuse(Some(100_001), None).contains("100000 tokens"));
        assert!(refuse(Some(100), Some(99)).starts_with("kv_tokens: "));
    }
}
