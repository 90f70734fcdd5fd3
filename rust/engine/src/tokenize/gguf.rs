//! Builds a tokenizer from GGUF metadata. Knows how GGUF describes vocabularies, not how they are stored.
use tokenizers::{
    AddedToken, Tokenizer as Pipeline,
    models::bpe::BPE,
    normalizers::{NormalizerWrapper, unicode::NFC},
};

use super::{
    byte_level,
    piece_encoder::{PieceEncoder, contained},
    pre_tokenizers::{self, PreTokenizer},
    sentence_piece::SentencePiece,
    tokenizer::{Encoder, Frame, Tokenizer},
    vocabulary::Vocabulary,
};
use crate::{Error, Result, batch::TokenId, files::GgufTokenizer};

/// `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenType {
    /// Text. Also unused tokens: they have a text, but no model gives them.
    Normal,
    Unknown,
    Control,
    UserDefined,
    /// `<0x0A>`.
    Byte,
}

impl TokenType {
    /// Control and unknown tokens are not text.
    pub fn is_special(self) -> bool {
        matches!(self, TokenType::Control | TokenType::Unknown)
    }

    /// Found in text before it is cut.
    pub fn is_added(self) -> bool {
        self.is_special() || self == TokenType::UserDefined
    }
}

/// Builds the tokenizer that `metadata` describes.
pub(super) fn load(metadata: &GgufTokenizer) -> Result<Tokenizer> {
    if metadata.tokens.is_empty() {
        return Err(Error::Model("tokenizer.ggml.tokens: expected a vocabulary, found none".into()));
    }
    check_length("scores", metadata.scores.len(), metadata)?;
    check_length("token_type", metadata.token_types.len(), metadata)?;
    match metadata.model.as_str() {
        "gpt2" => byte_level_bpe(metadata),
        "llama" => sentence_piece(metadata),
        other => Err(Error::Model(format!(
            "tokenizer.ggml.model: expected gpt2 (byte-level BPE) or llama (SentencePiece), found {other:?}"
        ))),
    }
}

fn check_length(key: &str, found: usize, metadata: &GgufTokenizer) -> Result<()> {
    let wanted = metadata.tokens.len();
    if found == 0 || found == wanted {
        return Ok(());
    }
    Err(Error::Model(format!("tokenizer.ggml.{key}: expected {wanted} values, one per token, found {found}")))
}

/// The type of every token.
fn token_types(metadata: &GgufTokenizer) -> Vec<TokenType> {
    let of = |id: usize| {
        let kind = match metadata.token_types.get(id) {
            Some(2) => TokenType::Unknown,
            Some(3) => TokenType::Control,
            Some(4) => TokenType::UserDefined,
            Some(6) => TokenType::Byte,
            _ => TokenType::Normal,
        };
        // Some converters call the end-of-turn token user-defined; shown as text it would end every answer.
        let ends = [metadata.bos, metadata.eos].contains(&TokenId::try_from(id).ok());
        if ends && kind == TokenType::UserDefined { TokenType::Control } else { kind }
    };
    (0..metadata.tokens.len()).map(of).collect()
}

fn byte_level_bpe(metadata: &GgufTokenizer) -> Result<Tokenizer> {
    let pre = pre_tokenizers::named(&metadata.pre).ok_or_else(|| {
        Error::Model(format!(
            "tokenizer.ggml.pre: expected one of {}, found {:?}; another way to cut text would give the model tokens \
             that it was not trained on",
            pre_tokenizers::NAMES,
            metadata.pre
        ))
    })?;
    let types = token_types(metadata);
    let pipeline =
        pipeline(metadata, &types, &pre).map_err(|reason| Error::Model(format!("tokenizer.ggml: {reason}")))?;
    let mut vocabulary = Vocabulary::default();
    for (token, kind) in metadata.tokens.iter().zip(&types) {
        match kind.is_added() {
            true => vocabulary.push(token.as_bytes(), kind.is_special()),
            false => vocabulary.push(&byte_level::token_bytes(token), false),
        }
    }
    Ok(Tokenizer {
        encoder: Encoder::Pieces(Box::new(PieceEncoder::new(pipeline))),
        vocabulary,
        frame: frame(metadata, pre.add_bos),
        bos: metadata.bos,
        eos: metadata.eos,
        adds_leading_space: false,
    })
}

fn pipeline(
    metadata: &GgufTokenizer,
    types: &[TokenType],
    pre: &PreTokenizer,
) -> std::result::Result<Pipeline, String> {
    let merges = metadata.merges.iter().map(|merge| split_merge(merge)).collect::<std::result::Result<Vec<_>, _>>()?;
    let vocab = metadata.tokens.iter().cloned().zip(0..).collect::<std::collections::HashMap<String, TokenId>>();
    contained(|| {
        let builder = BPE::builder().vocab_and_merges(vocab.into_iter().collect::<ahash::AHashMap<_, _>>(), merges);
        let mut pipeline = Pipeline::new(builder.ignore_merges(pre.ignore_merges).build()?);
        pipeline.with_pre_tokenizer(Some(pre.stage()?));
        if pre.compose {
            pipeline.with_normalizer(Some(NormalizerWrapper::NFC(NFC)));
        }
        pipeline.add_tokens(&added_tokens(metadata, types));
        Ok(pipeline)
    })
}

fn added_tokens(metadata: &GgufTokenizer, types: &[TokenType]) -> Vec<AddedToken> {
    let tokens = metadata.tokens.iter().zip(types).filter(|(_, kind)| kind.is_added());
    tokens.map(|(token, kind)| AddedToken::from(token.as_str(), kind.is_special()).normalized(false)).collect()
}

/// A merge is two tokens and a space; the first token may itself be a space.
fn split_merge(merge: &str) -> std::result::Result<(String, String), String> {
    let space = merge.char_indices().skip(1).find(|&(_, character)| character == ' ').map(|(at, _)| at);
    let (left, right) = space
        .map(|at| (&merge[..at], &merge[at + 1..]))
        .ok_or_else(|| format!("merges: expected two tokens with a space between, found {merge:?}"))?;
    Ok((left.to_owned(), right.to_owned()))
}

fn sentence_piece(metadata: &GgufTokenizer) -> Result<Tokenizer> {
    let types = token_types(metadata);
    let adds_leading_space = metadata.add_space_prefix.unwrap_or(true);
    let model = SentencePiece::new(metadata, &types, adds_leading_space)?;
    let mut vocabulary = Vocabulary::default();
    for (token, kind) in metadata.tokens.iter().zip(&types) {
        match kind {
            TokenType::Normal => vocabulary.push(token.replace('\u{2581}', " ").as_bytes(), false),
            TokenType::Byte => match byte_token(token) {
                Some(byte) => vocabulary.push(&[byte], false),
                None => vocabulary.push(token.as_bytes(), false),
            },
            _ => vocabulary.push(token.as_bytes(), kind.is_special()),
        }
    }
    Ok(Tokenizer {
        encoder: Encoder::SentencePiece(Box::new(model)),
        vocabulary,
        frame: frame(metadata, true),
        bos: metadata.bos,
        eos: metadata.eos,
        adds_leading_space,
    })
}

/// The byte that `<0x0A>` stands for.
pub(super) fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

fn frame(metadata: &GgufTokenizer, bos_by_default: bool) -> Frame {
    let before = metadata.bos.filter(|_| metadata.add_bos.unwrap_or(bos_by_default));
    let after = metadata.eos.filter(|_| metadata.add_eos.unwrap_or(false));
    Frame { before: before.into_iter().collect(), after: after.into_iter().collect() }
}
