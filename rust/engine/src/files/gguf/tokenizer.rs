//! The `tokenizer.ggml.*` metadata, bounds checked. Knows no tokenizer.
use super::GgufFile;
use crate::{Error, Result, batch::TokenId, files::GgufTokenizer};

pub(super) fn read(file: &GgufFile, vocab_size: usize) -> Result<GgufTokenizer> {
    let tokens = file.texts("tokenizer.ggml.tokens")?.ok_or_else(|| {
        Error::Model("`tokenizer.ggml.tokens` is missing: the file holds weights but no tokenizer".into())
    })?;
    if tokens.len() > vocab_size {
        let count = tokens.len();
        return Err(
            file.fault(format!("`tokenizer.ggml.tokens`: {count} tokens, but embeddings for {vocab_size} only"))
        );
    }
    let count = tokens.len();
    let model = file.text("tokenizer.ggml.model")?;
    Ok(GgufTokenizer {
        model: file.required("tokenizer.ggml.model", model)?.to_owned(),
        pre: file.text("tokenizer.ggml.pre")?.unwrap_or_default().to_owned(),
        scores: one_each(file, "tokenizer.ggml.scores", file.floats("tokenizer.ggml.scores")?, count)?,
        token_types: one_each(file, "tokenizer.ggml.token_type", file.signed("tokenizer.ggml.token_type")?, count)?,
        merges: file.texts("tokenizer.ggml.merges")?.unwrap_or_default(),
        bos: token(file, "tokenizer.ggml.bos_token_id", count)?,
        eos: token(file, "tokenizer.ggml.eos_token_id", count)?,
        unknown: token(file, "tokenizer.ggml.unknown_token_id", count)?,
        add_bos: file.flag("tokenizer.ggml.add_bos_token")?,
        add_eos: file.flag("tokenizer.ggml.add_eos_token")?,
        add_space_prefix: file.flag("tokenizer.ggml.add_space_prefix")?,
        tokens,
    })
}

/// Tokens that end a turn: end of sequence, of turn and of message, as far as the file names them.
pub(super) fn end_tokens(file: &GgufFile, count: usize) -> Result<Vec<TokenId>> {
    let mut ends = Vec::new();
    for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
        ends.extend(token(file, key, count)?.filter(|id| !ends.contains(id)));
    }
    Ok(ends)
}

fn token(file: &GgufFile, key: &str, count: usize) -> Result<Option<TokenId>> {
    match file.integer(key)? {
        None => Ok(None),
        Some(id) if id < count => Ok(TokenId::try_from(id).ok()),
        // Some converters write all ones for "none".
        Some(id) if id == u32::MAX as usize => Ok(None),
        Some(id) => Err(file.fault(format!("`{key}`: expected an id under {count}, found {id}"))),
    }
}

fn one_each<T>(file: &GgufFile, key: &str, values: Option<Vec<T>>, count: usize) -> Result<Vec<T>> {
    match values {
        None => Ok(Vec::new()),
        Some(values) if values.is_empty() || values.len() == count => Ok(values),
        Some(values) => Err(file.fault(format!("`{key}`: expected one per token ({count}), found {}", values.len()))),
    }
}
