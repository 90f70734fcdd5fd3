//! One choice's way from tokens to the text that the caller sees. Knows neither sampling nor the other choices.
use std::sync::Arc;

use super::{Detokenizer, Start, StopMatcher};
use crate::{Result, batch::TokenId, tokenize::Tokenizer};

/// Text to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Piece {
    /// Whole characters; may be empty.
    pub text: String,
    /// A stop string was found: the text before it is complete, the choice is over.
    pub stopped: bool,
}

/// Detokenizer and stop strings of one choice.
pub struct TextStream {
    detokenizer: Detokenizer,
    stops: StopMatcher,
}

impl TextStream {
    /// Text that continues a prompt, without special tokens, up to the first of `stops`.
    ///
    /// # Errors
    /// An empty stop string.
    pub fn new(tokenizer: Arc<Tokenizer>, stops: &[String]) -> Result<Self> {
        Self::with_special(tokenizer, stops, false)
    }

    /// As [`TextStream::new`]; `show_special` keeps special tokens in the text.
    pub fn with_special(tokenizer: Arc<Tokenizer>, stops: &[String], show_special: bool) -> Result<Self> {
        let detokenizer = Detokenizer::new(tokenizer, Start::Continuation, !show_special);
        Ok(TextStream { detokenizer, stops: StopMatcher::new(stops)? })
    }

    /// Takes the next token.
    pub fn push(&mut self, token: TokenId) -> Piece {
        let (text, stopped) = self.stops.push(&self.detokenizer.push(token));
        Piece { text, stopped }
    }

    /// The rest, when no more tokens come. Empty after a stop string.
    pub fn finish(&mut self) -> Piece {
        let (mut text, stopped) = self.stops.push(&self.detokenizer.finish());
        text.push_str(&self.stops.finish());
        Piece { text, stopped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenize::golden_tests::{small_bpe, small_sentence_piece};

    fn run(tokenizer: Tokenizer, text: &str, stops: &[&str]) -> (String, bool) {
        let tokens = tokenizer.encode(text, false, true).unwrap();
        let stops: Vec<String> = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut stream = TextStream::new(Arc::new(tokenizer), &stops).unwrap();
        let mut shown = String::new();
        for token in tokens {
            let piece = stream.push(token);
            shown.push_str(&piece.text);
            if piece.stopped {
                return (shown, true);
            }
        }
        let rest = stream.finish();
        (shown + &rest.text, rest.stopped)
    }

    #[test]
    fn a_stop_string_across_tokens_ends_the_text() {
        assert_eq!(run(small_bpe(), "Grüße 🦀 aus München. Ende?", &["🦀 aus", "Ende"]), ("Grüße ".into(), true));
        assert_eq!(run(small_bpe(), "nothing to stop 🦀", &["stop!"]), ("nothing to stop 🦀".into(), false));
    }

    #[test]
    fn special_tokens_are_not_shown() {
        assert_eq!(run(small_bpe(), "<|im_start|>Hi<|im_end|>", &[]), ("Hi".into(), false));
    }

    #[test]
    fn a_continuation_keeps_its_first_space() {
        assert_eq!(run(small_sentence_piece(), "Paris", &[]), (" Paris".into(), false));
    }

    #[test]
    fn an_incomplete_character_can_complete_a_stop_string() {
        let tokenizer = small_bpe();
        let lead = tokenizer.id("ð").unwrap();
        let mut stream = TextStream::new(Arc::new(tokenizer), &["\u{FFFD}".into()]).unwrap();
        assert_eq!(stream.push(lead), Piece::default());
        assert_eq!(stream.finish(), Piece { text: String::new(), stopped: true });
    }
}
