//! Text to tokens and back, chat templates. Knows no model.
mod byte_level;
mod chat_template;
mod gguf;
#[cfg(test)]
pub(crate) mod golden_tests;
mod hugging_face;
mod json;
mod messages;
mod own_stack;
mod piece_encoder;
mod pre_tokenizers;
mod sentence_piece;
mod tokenizer;
mod vocabulary;

pub use chat_template::{ChatOptions, ChatTemplate};
pub(crate) use tokenizer::DecodeCursor;
pub use tokenizer::Tokenizer;
