//! What the engine needs of a tokenizer. Knows no vocabulary file.
use std::sync::Arc;

use crate::{
    Result,
    batch::TokenId,
    stream::{Piece, TextStream},
    tokenize::Tokenizer,
};

/// Turns tokens into bytes and text.
pub trait Vocabulary: Send + Sync {
    /// The bytes of a token.
    fn token_bytes(&self, token: TokenId) -> Vec<u8>;
    /// A stream for one choice, whose text ends before the first of `stops`.
    ///
    /// # Errors
    /// A stop string that cannot be one.
    fn text_stream(self: Arc<Self>, stops: &[String]) -> Result<Box<dyn TokenText>>;
}

/// Turns the tokens of one choice into text.
pub trait TokenText: Send {
    /// Takes the next token; gives whole characters that no stop string can begin.
    fn push(&mut self, token: TokenId) -> Piece;
    /// What was held back, when no more tokens come.
    fn finish(&mut self) -> Piece;
}

impl Vocabulary for Tokenizer {
    fn token_bytes(&self, token: TokenId) -> Vec<u8> {
        Tokenizer::token_bytes(self, token)
    }

    fn text_stream(self: Arc<Self>, stops: &[String]) -> Result<Box<dyn TokenText>> {
        Ok(Box::new(TextStream::new(self, stops)?))
    }
}

impl TokenText for TextStream {
    fn push(&mut self, token: TokenId) -> Piece {
        TextStream::push(self, token)
    }

    fn finish(&mut self) -> Piece {
        TextStream::finish(self)
    }
}
