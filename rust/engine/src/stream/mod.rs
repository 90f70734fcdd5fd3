//! Tokens to text, as they come: whole UTF-8 characters, stop strings. Knows neither models nor who reads the text.
mod detokenizer;
mod stop;
mod text_stream;
mod utf8;

pub use detokenizer::{Detokenizer, Start};
pub use stop::StopMatcher;
pub use text_stream::{Piece, TextStream};
pub use utf8::Utf8Stream;
