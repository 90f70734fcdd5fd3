//! Tokens to text, as they come. Knows no stop strings.
use std::sync::Arc;

use super::Utf8Stream;
use crate::{
    batch::TokenId,
    tokenize::{DecodeCursor, Tokenizer},
};

/// Where decoded text begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the start of a text: the space that some tokenizers put there is taken away.
    Text,
    /// After a prompt: every space is the model's.
    Continuation,
}

/// Incremental [`Tokenizer::decode`]: the pieces together are what decoding all tokens gives.
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    skip_special: bool,
    cursor: DecodeCursor,
    text: Utf8Stream,
}

impl Detokenizer {
    /// `skip_special` leaves special tokens out of the text.
    pub fn new(tokenizer: Arc<Tokenizer>, start: Start, skip_special: bool) -> Self {
        let cursor = tokenizer.decode_from(start);
        Detokenizer { tokenizer, skip_special, cursor, text: Utf8Stream::default() }
    }

    /// The characters that `token` completes; may be empty.
    pub fn push(&mut self, token: TokenId) -> String {
        self.text.push(self.cursor.visible_bytes(&self.tokenizer, token, self.skip_special))
    }

    /// What waited for more tokens; an incomplete character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        self.text.finish()
    }
}
