//! Cuts text with a pipeline of the `tokenizers` crate: added tokens, normalizer, pre-tokenizer, BPE. Knows no file format.
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::{
    AddedVocabulary, Encoding, Model, OffsetType, PostProcessor, PreTokenizer, Token, Tokenizer as Pipeline,
};

use super::tokenizer::Frame;
use crate::{Error, Result, batch::TokenId};

/// A pipeline and its two views of added tokens.
pub(super) struct PieceEncoder {
    pipeline: Pipeline,
    /// Like the pipeline's added tokens, but special ones are not found in text.
    plain: AddedVocabulary,
}

impl PieceEncoder {
    pub fn new(pipeline: Pipeline) -> Self {
        let mut plain = pipeline.get_added_vocabulary().clone();
        plain.set_encode_special_tokens(true);
        PieceEncoder { pipeline, plain }
    }

    pub fn id(&self, token: &str) -> Option<TokenId> {
        self.pipeline.token_to_id(token)
    }

    pub fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<TokenId>> {
        let added = if parse_special { self.pipeline.get_added_vocabulary() } else { &self.plain };
        contained(|| self.encode_with(added, text))
            .map_err(|reason| Error::Internal(format!("the tokenizer failed: {reason}")))
    }

    fn encode_with(&self, added: &AddedVocabulary, text: &str) -> tokenizers::Result<Vec<TokenId>> {
        let mut pieces = added.extract_and_normalize(self.pipeline.get_normalizer(), text);
        if let Some(pre_tokenizer) = self.pipeline.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces)?;
        }
        pieces.tokenize(|piece| self.pipeline.get_model().tokenize(piece.get()))?;
        Ok(pieces.into_encoding(None, 0, OffsetType::None)?.get_ids().to_vec())
    }

    /// What the pipeline's post-processor puts around a text: seen by giving it one token that no vocabulary has.
    pub fn frame(&self) -> std::result::Result<Frame, String> {
        const TEXT: TokenId = TokenId::MAX;
        let Some(post_processor) = self.pipeline.get_post_processor() else { return Ok(Frame::default()) };
        let text = Encoding::from_tokens(vec![Token::new(TEXT, String::new(), (0, 0))], 0);
        let framed = contained(|| post_processor.process(text, None, true))?;
        let ids = framed.get_ids();
        let place = ids.iter().position(|&id| id == TEXT).ok_or("its post_processor drops the text")?;
        Ok(Frame { before: ids[..place].to_vec(), after: ids[place + 1..].to_vec() })
    }
}

/// Runs code of the crate that may panic on a vocabulary nobody has tried.
pub(super) fn contained<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the `tokenizers` crate panicked".into()),
    }
}
