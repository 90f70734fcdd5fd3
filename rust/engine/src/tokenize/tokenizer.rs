//! The tokenizer as the rest of the engine sees it. Knows neither where the vocabulary came from nor how text is cut.
use super::{gguf, hugging_face, piece_encoder::PieceEncoder, sentence_piece::SentencePiece, vocabulary::Vocabulary};
use crate::{
    Result,
    batch::TokenId,
    files::TokenizerSource,
    stream::{Start, Utf8Stream},
};

/// Turns text into tokens and back.
pub struct Tokenizer {
    pub(super) encoder: Encoder,
    pub(super) vocabulary: Vocabulary,
    /// Put before and after a text by `add_special`.
    pub(super) frame: Frame,
    pub(super) bos: Option<TokenId>,
    pub(super) eos: Option<TokenId>,
    /// Encoding puts a space before a text, so decoding takes it away.
    pub(super) adds_leading_space: bool,
}

/// The two ways to cut text into tokens.
pub(super) enum Encoder {
    Pieces(Box<PieceEncoder>),
    SentencePiece(Box<SentencePiece>),
}

/// Tokens around a text.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Frame {
    pub before: Vec<TokenId>,
    pub after: Vec<TokenId>,
}

impl Tokenizer {
    /// Reads the vocabulary.
    ///
    /// # Errors
    /// The source is damaged, or of a kind whose tokens this engine would cut differently from how the model was trained.
    pub fn new(source: &TokenizerSource) -> Result<Self> {
        match source {
            TokenizerSource::HuggingFace(path) => hugging_face::load(path),
            TokenizerSource::Gguf(metadata) => gguf::load(metadata),
        }
    }

    /// Cuts `text` into tokens.
    ///
    /// `add_special` puts the model's own tokens around the text (often `bos` before it). With `parse_special`, text that
    /// spells a special token becomes that token, as in a rendered chat template; without it such text stays text.
    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<TokenId>> {
        let tokens = match &self.encoder {
            Encoder::Pieces(pieces) => pieces.encode(text, parse_special)?,
            Encoder::SentencePiece(model) => model.encode(text, parse_special),
        };
        if !add_special {
            return Ok(tokens);
        }
        Ok([self.frame.before.as_slice(), &tokens, &self.frame.after].concat())
    }

    /// The text of `tokens`; bytes that are not UTF-8 become U+FFFD. `skip_special` leaves special tokens out.
    pub fn decode(&self, tokens: &[TokenId], skip_special: bool) -> String {
        let mut text = Utf8Stream::default();
        let mut cursor = self.decode_from(Start::Text);
        let mut out: String =
            tokens.iter().map(|&token| text.push(cursor.visible_bytes(self, token, skip_special))).collect();
        out.push_str(&text.finish());
        out
    }

    /// Where a decoding stands that begins at `start`.
    pub(crate) fn decode_from(&self, start: Start) -> DecodeCursor {
        DecodeCursor { strip_space: self.adds_leading_space && start == Start::Text }
    }

    /// The exact bytes of a token; special tokens give their text, unknown ids nothing.
    pub fn token_bytes(&self, id: TokenId) -> Vec<u8> {
        self.vocabulary.bytes(id).to_vec()
    }

    /// Whether the token steers the model rather than being text.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.vocabulary.is_special(id)
    }

    /// One more than the highest token id. A model's logits may have more rows, for padding.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// Beginning of sequence.
    pub fn bos(&self) -> Option<TokenId> {
        self.bos
    }

    /// End of sequence.
    pub fn eos(&self) -> Option<TokenId> {
        self.eos
    }

    /// The token spelled so in the vocabulary (`<|im_end|>`, `Ġthe`).
    pub fn id(&self, token: &str) -> Option<TokenId> {
        match &self.encoder {
            Encoder::Pieces(pieces) => pieces.id(token),
            Encoder::SentencePiece(model) => model.id(token),
        }
    }

    /// `encode` puts `bos` before a text when asked to add special tokens.
    pub fn adds_bos(&self) -> bool {
        self.bos.is_some() && self.frame.before.first() == self.bos.as_ref()
    }
}

/// What decoding must remember between tokens, besides incomplete characters.
#[derive(Debug)]
pub(crate) struct DecodeCursor {
    strip_space: bool,
}

impl DecodeCursor {
    /// The bytes that `token` adds to the text.
    pub(crate) fn visible_bytes<'a>(
        &mut self,
        tokenizer: &'a Tokenizer,
        token: TokenId,
        skip_special: bool,
    ) -> &'a [u8] {
        let special = tokenizer.vocabulary.is_special(token);
        if special && skip_special {
            return &[];
        }
        let bytes = tokenizer.vocabulary.bytes(token);
        let strip = self.strip_space && !special;
        // The space stands before the first text token, whatever special tokens come earlier.
        self.strip_space &= special;
        if strip { bytes.strip_prefix(b" ").unwrap_or(bytes) } else { bytes }
    }
}
