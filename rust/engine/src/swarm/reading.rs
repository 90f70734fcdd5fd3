//! What the coordinator reads of a conversation: tokens, at most a window of them. Knows no model.
//!
//! `python/synapse_engine/train/coordinator/reading.py` reads the same way when it trains.
use std::ops::Range;

use crate::{Error, Result, batch::TokenId, tokenize::Tokenizer};

/// The request may take so many tokens, the first ones among them; what is wanted mostly stands at the end.
const REQUEST: Limit = Limit { most: 152, head: 48 };
/// So many turns before it, and of each so much.
const TURNS: usize = 3;
const TURN: Limit = Limit { most: 32, head: 16 };
/// Characters beyond this are not even tokenized.
const LETTERS: Limit = Limit { most: 4096, head: 1024 };

/// Of a longer sequence the first `head` and the last, `most` in all.
#[derive(Clone, Copy)]
struct Limit {
    most: usize,
    head: usize,
}

/// Tokens; those in `request` are the request, those before it its context.
#[derive(Debug, PartialEq)]
pub struct Reading {
    pub tokens: Vec<TokenId>,
    pub request: Range<usize>,
}

/// Turns text into tokens between markers.
pub struct Reader {
    tokenizer: Tokenizer,
    request: TokenId,
    user: TokenId,
    assistant: TokenId,
    description: TokenId,
}

impl Reader {
    /// The vocabulary must have the markers.
    pub fn new(tokenizer: Tokenizer) -> Result<Self> {
        let marker = |text: &str| {
            let missing =
                || Error::Model(format!("tokenizer.json: expected the token {text}, found none of this name"));
            tokenizer.id(text).ok_or_else(missing)
        };
        let [request, user, assistant, description] =
            ["<|request|>", "<|user|>", "<|assistant|>", "<|description|>"].map(marker);
        let (request, user, assistant, description) = (request?, user?, assistant?, description?);
        Ok(Self { request, user, assistant, description, tokenizer })
    }

    /// `(role, text)` turns, the last one the request whatever its role; others than of user and assistant are passed over.
    pub fn conversation(&self, turns: &[(String, String)]) -> Result<Reading> {
        let Some(((_, request), before)) = turns.split_last() else {
            return Err(Error::Request { param: "turns".into(), reason: "expected a request, found no turn".into() });
        };
        let marked = before.iter().filter_map(|(role, text)| match role.as_str() {
            "user" => Some((self.user, text)),
            "assistant" => Some((self.assistant, text)),
            _ => None,
        });
        let marked: Vec<_> = marked.collect();
        let mut tokens = Vec::new();
        for (marker, text) in &marked[marked.len().saturating_sub(TURNS)..] {
            self.push(&mut tokens, *marker, text, TURN)?;
        }
        let start = tokens.len();
        self.push(&mut tokens, self.request, request, REQUEST)?;
        Ok(Reading { request: start..tokens.len(), tokens })
    }

    /// What a specialist says about itself.
    pub fn description(&self, text: &str) -> Result<Reading> {
        let mut tokens = Vec::new();
        self.push(&mut tokens, self.description, text, REQUEST)?;
        Ok(Reading { request: 0..tokens.len(), tokens })
    }

    fn push(&self, tokens: &mut Vec<TokenId>, marker: TokenId, text: &str, limit: Limit) -> Result<()> {
        tokens.push(marker);
        let found = self.tokenizer.encode(&shortened(text), false, false)?;
        match found.len() <= limit.most {
            true => tokens.extend(found),
            false => {
                tokens.extend(&found[..limit.head]);
                tokens.extend(&found[found.len() - (limit.most - limit.head)..]);
            }
        }
        Ok(())
    }
}

/// Without the middle of a text that is too long.
fn shortened(text: &str) -> String {
    // As many bytes hold no more characters.
    if text.len() <= LETTERS.most {
        return text.to_owned();
    }
    let count = text.chars().count();
    let tail = LETTERS.most - LETTERS.head;
    match count <= LETTERS.most {
        true => text.to_owned(),
        false => text.chars().take(LETTERS.head).chain(text.chars().skip(count - tail)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_both_ends() {
        let text: String = (0..5000)
            .map(|at| {
                if at < 1024 {
                    'ä'
                } else if at < 1928 {
                    '-'
                } else {
                    'z'
                }
            })
            .collect();
        let short = shortened(&text);
        assert_eq!(short.chars().count(), LETTERS.most);
        assert!(!short.contains('-'));
        assert_eq!(short.chars().filter(|&letter| letter == 'ä').count(), LETTERS.head);
        assert_eq!(shortened("äöü"), "äöü");
        let exact = "ö".repeat(LETTERS.most);
        assert_eq!(shortened(&exact), exact);
    }
}
