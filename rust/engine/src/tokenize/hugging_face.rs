//! Builds a tokenizer from Hugging Face's `tokenizer.json` and the `tokenizer_config.json` beside it.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tokenizers::{PreTokenizedString, PreTokenizer, Tokenizer as Pipeline};

use super::{
    byte_level,
    gguf::byte_token,
    piece_encoder::{PieceEncoder, contained},
    tokenizer::{Encoder, Frame, Tokenizer},
    vocabulary::Vocabulary,
};
use crate::{Error, Result, batch::TokenId};

/// How a vocabulary writes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// GPT-2's alphabet.
    ByteLevel,
    /// `▁` for a space, `<0x0A>` for other bytes.
    SentencePiece {
        /// A space is put before the text and taken away by decoding.
        leading_space: bool,
    },
}

/// Reads `path` (the `tokenizer.json`).
pub(super) fn load(path: &Path) -> Result<Tokenizer> {
    let config_path = path.with_file_name("tokenizer_config.json");
    let config = if config_path.exists() { read_json(&config_path)? } else { Value::Null };
    let bytes = read(path)?;
    let format_error = |reason: String| Error::Format { path: path.into(), reason };
    let pipeline = contained(|| Pipeline::from_bytes(&bytes)).map_err(format_error)?;
    let spelling = spelling(&pipeline).map_err(format_error)?;
    let vocabulary = vocabulary(&pipeline, spelling).map_err(format_error)?;
    let encoder = PieceEncoder::new(pipeline);
    let special = |key: &str| special_token(&config, key, &encoder, &config_path);
    let (bos, eos) = (special("bos_token")?, special("eos_token")?);
    let mut frame = encoder.frame().map_err(format_error)?;
    override_frame(&mut frame, &config, bos, eos);
    Ok(Tokenizer {
        adds_leading_space: spelling == Spelling::SentencePiece { leading_space: true },
        encoder: Encoder::Pieces(Box::new(encoder)),
        vocabulary,
        frame,
        bos,
        eos,
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::Io { path: path.into(), reason: error.to_string() })
}

fn read_json(path: &PathBuf) -> Result<Value> {
    serde_json::from_slice(&read(path)?).map_err(|error| Error::Format { path: path.into(), reason: error.to_string() })
}

/// `bos_token` and the like: a string, or an object with the string as `content`.
fn special_token(config: &Value, key: &str, encoder: &PieceEncoder, path: &Path) -> Result<Option<TokenId>> {
    let value = &config[key];
    let Some(text) = value.as_str().or_else(|| value["content"].as_str()) else { return Ok(None) };
    let id = encoder.id(text).ok_or_else(|| Error::Format {
        path: path.into(),
        reason: format!("{key}: expected a token of tokenizer.json, found {text:?}"),
    })?;
    Ok(Some(id))
}

/// `add_bos_token` and `add_eos_token`, where given, win over the post-processor in `tokenizer.json`.
fn override_frame(frame: &mut Frame, config: &Value, bos: Option<TokenId>, eos: Option<TokenId>) {
    if let (Some(add), Some(bos)) = (config["add_bos_token"].as_bool(), bos) {
        frame.before.retain(|&id| id != bos);
        if add {
            frame.before.insert(0, bos);
        }
    }
    if let (Some(add), Some(eos)) = (config["add_eos_token"].as_bool(), eos) {
        frame.after.retain(|&id| id != eos);
        if add {
            frame.after.push(eos);
        }
    }
}

/// The decoder says how tokens spell bytes.
fn spelling(pipeline: &Pipeline) -> std::result::Result<Spelling, String> {
    let decoder = serde_json::to_value(pipeline.get_decoder()).map_err(|error| error.to_string())?;
    let mut kinds = Vec::new();
    collect_kinds(&decoder, &mut kinds);
    let known = ["ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"];
    if let Some(unknown) = kinds.iter().find(|kind| !known.contains(kind)) {
        return Err(format!("decoder: expected ByteLevel, Metaspace or ByteFallback, found {unknown}"));
    }
    if kinds.contains(&"ByteLevel") {
        return Ok(Spelling::ByteLevel);
    }
    if kinds.contains(&"Metaspace") || kinds.contains(&"ByteFallback") {
        return Ok(Spelling::SentencePiece { leading_space: adds_leading_space(pipeline)? });
    }
    Err("decoder: expected ByteLevel, Metaspace or ByteFallback, found none of them".into())
}

fn collect_kinds<'a>(decoder: &'a Value, kinds: &mut Vec<&'a str>) {
    match decoder["decoders"].as_array() {
        Some(steps) => steps.iter().for_each(|step| collect_kinds(step, kinds)),
        None => kinds.extend(decoder["type"].as_str()),
    }
}

/// Asks the pipeline itself: does it put a space before a letter?
fn adds_leading_space(pipeline: &Pipeline) -> std::result::Result<bool, String> {
    contained(|| {
        let mut pieces: PreTokenizedString =
            pipeline.get_added_vocabulary().extract_and_normalize(pipeline.get_normalizer(), "a");
        if let Some(pre_tokenizer) = pipeline.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces)?;
        }
        let first = pieces.get_splits(tokenizers::OffsetReferential::Normalized, tokenizers::OffsetType::Byte);
        Ok(first.first().is_some_and(|(text, ..)| text.starts_with('\u{2581}')))
    })
}

fn vocabulary(pipeline: &Pipeline, spelling: Spelling) -> std::result::Result<Vocabulary, String> {
    let added = pipeline.get_added_tokens_decoder();
    let tokens: BTreeMap<TokenId, String> =
        pipeline.get_vocab(true).into_iter().map(|(token, id)| (id, token)).collect();
    let Some((&highest, _)) = tokens.last_key_value() else {
        return Err("expected a vocabulary, found no token".into());
    };
    // Gaps between ids exist, but a table may not be much larger than the file that asks for it.
    let most = tokens.len().saturating_mul(4).saturating_add(65_536);
    if highest as usize >= most {
        return Err(format!("expected token ids below {most} for {} tokens, found {highest}", tokens.len()));
    }
    let mut vocabulary = Vocabulary::default();
    for id in 0..=highest {
        match (added.get(&id), tokens.get(&id)) {
            (Some(token), _) => vocabulary.push(token.content.as_bytes(), token.special),
            (None, Some(token)) => vocabulary.push(&spelled_bytes(token, spelling), false),
            (None, None) => vocabulary.push(&[], false),
        }
    }
    Ok(vocabulary)
}

fn spelled_bytes(token: &str, spelling: Spelling) -> Vec<u8> {
    match (spelling, byte_token(token)) {
        (Spelling::ByteLevel, _) => byte_level::token_bytes(token),
        (Spelling::SentencePiece { .. }, Some(byte)) => vec![byte],
        (Spelling::SentencePiece { .. }, None) => token.replace('\u{2581}', " ").into_bytes(),
    }
}
