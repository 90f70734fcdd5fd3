//! SentencePiece BPE with scores, as llama.cpp runs it for GGUF's `llama` vocabularies: neighbours whose union is the
//! best-scored token are joined until none is; what is no token is spelled in bytes. Knows no file format.
use std::{cmp::Ordering, collections::BinaryHeap};

use ahash::AHashMap;
use aho_corasick::{AhoCorasick, MatchKind};

use super::gguf::{TokenType, byte_token};
use crate::{Error, Result, batch::TokenId, files::GgufTokenizer};

/// How SentencePiece writes a space.
const SPACE: &str = "\u{2581}";

/// The vocabulary, arranged for cutting text.
pub(super) struct SentencePiece {
    ids: AHashMap<String, TokenId>,
    /// What a union of two neighbours may be. Unlike in llama.cpp control tokens are never joined from user text.
    pieces: AHashMap<String, (TokenId, f32)>,
    /// The token of each byte, for text that is no token.
    bytes: [TokenId; 256],
    added: AddedTokens,
    /// Added tokens without the special ones.
    plain: AddedTokens,
    add_space_prefix: bool,
}

/// Tokens that are found in text before it is cut.
struct AddedTokens {
    finder: AhoCorasick,
    ids: Vec<TokenId>,
}

impl SentencePiece {
    pub fn new(metadata: &GgufTokenizer, types: &[TokenType], add_space_prefix: bool) -> Result<Self> {
        if metadata.scores.is_empty() {
            return Err(Error::Model("tokenizer.ggml.scores: expected one per token, found none".into()));
        }
        let numbered = || metadata.tokens.iter().zip(0..).zip(types);
        let pieces = numbered().zip(&metadata.scores);
        let pieces = pieces.filter(|((_, kind), _)| matches!(kind, TokenType::Normal | TokenType::UserDefined));
        Ok(SentencePiece {
            ids: numbered().map(|((token, id), _)| (token.clone(), id)).collect(),
            pieces: pieces.map(|(((token, id), _), &score)| (token.clone(), (id, score))).collect(),
            bytes: byte_table(metadata, types)?,
            added: AddedTokens::new(numbered().filter(|(_, kind)| kind.is_added()).map(|(token, _)| token))?,
            plain: AddedTokens::new(
                numbered().filter(|(_, kind)| **kind == TokenType::UserDefined).map(|(token, _)| token),
            )?,
            add_space_prefix,
        })
    }

    pub fn id(&self, token: &str) -> Option<TokenId> {
        self.ids.get(token).copied()
    }

    /// Text after a special token, and at the start, gets a space before it if the vocabulary says so.
    pub fn encode(&self, text: &str, parse_special: bool) -> Vec<TokenId> {
        let added = if parse_special { &self.added } else { &self.plain };
        let mut out = Vec::new();
        let mut rest = 0;
        for found in added.finder.find_iter(text) {
            self.encode_text(&text[rest..found.start()], &mut out);
            out.push(added.ids[found.pattern().as_usize()]);
            rest = found.end();
        }
        self.encode_text(&text[rest..], &mut out);
        out
    }

    fn encode_text(&self, text: &str, out: &mut Vec<TokenId>) {
        if text.is_empty() {
            return;
        }
        let prefix = if self.add_space_prefix { SPACE } else { "" };
        let escaped = format!("{prefix}{}", text.replace(' ', SPACE));
        for piece in Joining::new(&escaped, &self.pieces).run() {
            match self.pieces.get(piece) {
                Some(&(id, _)) => out.push(id),
                None => out.extend(piece.bytes().map(|byte| self.bytes[usize::from(byte)])),
            }
        }
    }
}

impl AddedTokens {
    fn new<'a>(tokens: impl Iterator<Item = (&'a String, TokenId)>) -> Result<Self> {
        let (texts, ids): (Vec<&String>, Vec<TokenId>) = tokens.filter(|(token, _)| !token.is_empty()).unzip();
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(texts)
            .map_err(|error| Error::Model(format!("tokenizer.ggml.tokens: too many special tokens: {error}")))?;
        Ok(AddedTokens { finder, ids })
    }
}

fn byte_table(metadata: &GgufTokenizer, types: &[TokenType]) -> Result<[TokenId; 256]> {
    let mut table = [metadata.unknown; 256];
    for ((token, id), kind) in metadata.tokens.iter().zip(0..).zip(types) {
        if let (TokenType::Byte, Some(byte)) = (kind, byte_token(token)) {
            table[usize::from(byte)] = Some(id);
        }
    }
    let mut complete = [0; 256];
    for (byte, (slot, id)) in complete.iter_mut().zip(table).enumerate() {
        *slot = id.ok_or_else(|| {
            Error::Model(format!(
                "tokenizer.ggml.tokens: expected a token <0x{byte:02X}> of type 6 or an unknown token, found neither"
            ))
        })?;
    }
    Ok(complete)
}

/// One text on its way from characters to tokens.
struct Joining<'a> {
    text: &'a str,
    pieces: &'a AHashMap<String, (TokenId, f32)>,
    symbols: Vec<Symbol>,
    candidates: BinaryHeap<Candidate>,
}

/// A stretch of the text, linked to its neighbours; empty once it was joined to the one before.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours whose union is a token.
#[derive(Debug)]
struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    /// Length of the union when it was found: another length means that one of the two has changed since.
    length: usize,
}

impl<'a> Joining<'a> {
    fn new(text: &'a str, pieces: &'a AHashMap<String, (TokenId, f32)>) -> Self {
        let count = text.chars().count();
        let symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(index, (start, character))| Symbol {
                start,
                end: start + character.len_utf8(),
                previous: index.checked_sub(1),
                next: Some(index + 1).filter(|&next| next < count),
            })
            .collect();
        Joining { text, pieces, symbols, candidates: BinaryHeap::new() }
    }

    /// The pieces, in order.
    fn run(mut self) -> impl Iterator<Item = &'a str> {
        for right in 1..self.symbols.len() {
            self.consider(Some(right - 1), Some(right));
        }
        while let Some(best) = self.candidates.pop() {
            self.join(&best);
        }
        let text = self.text;
        self.symbols
            .into_iter()
            .filter(|symbol| symbol.start < symbol.end)
            .map(|symbol| &text[symbol.start..symbol.end])
    }

    fn consider(&mut self, left: Option<usize>, right: Option<usize>) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let union = self.symbols[left].start..self.symbols[right].end;
        if let Some(&(_, score)) = self.pieces.get(&self.text[union.clone()]) {
            self.candidates.push(Candidate { score, left, right, length: union.len() });
        }
    }

    fn join(&mut self, candidate: &Candidate) {
        let (left, right) = (self.symbols[candidate.left], self.symbols[candidate.right]);
        let gone = left.start == left.end || right.start == right.end;
        if gone || right.end - left.start != candidate.length {
            return;
        }
        self.symbols[candidate.left] = Symbol { end: right.end, next: right.next, ..left };
        self.symbols[candidate.right].end = right.start;
        if let Some(next) = right.next {
            self.symbols[next].previous = Some(candidate.left);
        }
        self.consider(left.previous, Some(candidate.left));
        self.consider(Some(candidate.left), right.next);
    }
}

impl Ord for Candidate {
    /// The best score first; of equals the leftmost.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Candidate {}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
