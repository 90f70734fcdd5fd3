//! A model and a vocabulary without weights. What the model says depends on every token it was given and on where.
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::Receiver,
    },
};

use crate::{
    Error, Result,
    batch::{Batch, Limits, Model, PAGE_TOKENS, PageId, Segment, SegmentOutput, TokenId, Want},
    engine::{TokenText, Vocabulary},
    stream::{Piece, StopMatcher},
};

pub const VOCAB: usize = 32;
pub const HIDDEN: usize = 4;
/// Tokens from here on are never generated.
pub const TROUBLE: TokenId = 28;
/// A batch with this token panics.
pub const PANIC: TokenId = 28;
/// A batch with this token is an error.
pub const ERROR: TokenId = 29;
/// After this token the logits are not numbers.
pub const NAN: TokenId = 30;
/// A stop string that makes the detokenizer panic.
pub const TEXT_PANIC: &str = "!";

/// What a page remembers of one token.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Slot {
    position: usize,
    token: TokenId,
    /// Hash of all tokens up to this one.
    chain: u64,
}

pub struct FakeModel {
    pages: Vec<[Option<Slot>; PAGE_TOKENS]>,
    context_length: usize,
    slides: bool,
    echo: Option<usize>,
    /// Tokens computed.
    pub rows: Arc<AtomicUsize>,
    /// If there is one, each forward pass waits for a message.
    pub gate: Option<Receiver<()>>,
}

impl FakeModel {
    pub fn new(pages: usize, context_length: usize) -> Self {
        let (pages, rows) = (vec![[None; PAGE_TOKENS]; pages], Arc::default());
        Self { pages, context_length, slides: false, echo: None, rows, gate: None }
    }

    /// Its sequences may outgrow the context.
    pub fn sliding(self) -> Self {
        Self { slides: true, ..self }
    }

    /// It mostly says again what was said `echo` tokens ago.
    pub fn echoing(self, echo: impl Into<Option<usize>>) -> Self {
        Self { echo: echo.into(), ..self }
    }

    /// What the pages hold before `segment`, and its hash; panics if they hold anything else than a sequence's beginning.
    fn read(&self, segment: &Segment) -> (Vec<TokenId>, u64) {
        assert_eq!(segment.pages.len(), (segment.start + segment.tokens.len()).div_ceil(PAGE_TOKENS), "pages given");
        let mut text = Vec::new();
        let hash = (0..segment.start).fold(0, |chain, position| {
            let slot = self.pages[segment.pages[position / PAGE_TOKENS] as usize][position % PAGE_TOKENS];
            let slot = slot.unwrap_or_else(|| panic!("position {position} was never written"));
            assert_eq!(slot, Slot { position, token: slot.token, chain: link(chain, slot.token, position) });
            text.push(slot.token);
            slot.chain
        });
        (text, hash)
    }

    /// What comes after `text`, whose hash is `chain`.
    fn logits(&self, text: &[TokenId], chain: u64) -> Vec<f32> {
        if text.last() == Some(&NAN) {
            return vec![f32::NAN; VOCAB];
        }
        let noise = |id| if id < TROUBLE { noise(chain ^ u64::from(id)) } else { -1e4 };
        let mut row: Vec<f32> = (0..VOCAB as TokenId).map(noise).collect();
        let said = self.echo.and_then(|distance| text.get(text.len().checked_sub(distance)?).copied());
        let echoes = !scramble(!chain).is_multiple_of(8);
        if let Some(said) = said.filter(|&said| echoes && said < TROUBLE) {
            row[said as usize] += 9.0;
        }
        row
    }

    fn run(&mut self, segment: &Segment, written: &mut HashSet<(PageId, usize)>) -> SegmentOutput {
        let (mut text, mut chain) = self.read(segment);
        let mut output = SegmentOutput::default();
        for (index, &token) in segment.tokens.iter().enumerate() {
            let position = segment.start + index;
            chain = link(chain, token, position);
            let (page, offset) = (segment.pages[position / PAGE_TOKENS], position % PAGE_TOKENS);
            assert!(written.insert((page, offset)), "two sequences write to page {page}");
            self.pages[page as usize][offset] = Some(Slot { position, token, chain });
            text.push(token);
            let last = index + 1 == segment.tokens.len();
            match segment.want {
                Want::AllLogits => output.logits.extend(self.logits(&text, chain)),
                Want::LastLogits if last => output.logits.extend(self.logits(&text, chain)),
                Want::Hidden => output.hidden.extend((0..HIDDEN as u64).map(|i| noise(chain ^ i))),
                Want::Nothing | Want::LastLogits => {}
            }
        }
        output
    }
}

impl Model for FakeModel {
    fn limits(&self) -> Limits {
        let (context_length, slides) = (self.context_length, self.slides);
        Limits { vocab_size: VOCAB, hidden_size: HIDDEN, context_length, slides, page_count: self.pages.len() }
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<SegmentOutput>> {
        self.gate.as_ref().map(Receiver::recv);
        self.rows.fetch_add(batch.rows(), Ordering::Relaxed);
        let mut written = HashSet::new();
        let outputs = batch.segments.iter().map(|segment| self.run(segment, &mut written)).collect();
        let has = |trouble| batch.segments.iter().any(|segment| segment.tokens.contains(&trouble));
        assert!(!has(PANIC), "a token that panics");
        if has(ERROR) { Err(Error::Model("a token that is an error".into())) } else { Ok(outputs) }
    }
}

fn link(chain: u64, token: TokenId, position: usize) -> u64 {
    scramble(chain ^ scramble(u64::from(token) << 32 | position as u64))
}

fn scramble(x: u64) -> u64 {
    let x = (x ^ 0x5851_F42D_4C95_7F2D).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (x ^ (x >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ (x >> 29)
}

/// Evenly between -4 and 4.
fn noise(x: u64) -> f32 {
    (scramble(x) >> 48) as f32 / 8192.0 - 4.0
}

/// One letter per token.
pub struct Letters;

struct LetterText {
    stops: StopMatcher,
    panics: bool,
}

pub fn letter(token: TokenId) -> char {
    char::from(b'a' + (token % 26) as u8)
}

impl Vocabulary for Letters {
    fn token_bytes(&self, token: TokenId) -> Vec<u8> {
        letter(token).to_string().into_bytes()
    }

    fn text_stream(self: Arc<Self>, stops: &[String]) -> Result<Box<dyn TokenText>> {
        let panics = stops.iter().any(|stop| stop == TEXT_PANIC);
        Ok(Box::new(LetterText { stops: StopMatcher::new(stops)?, panics }))
    }
}

impl TokenText for LetterText {
    fn push(&mut self, token: TokenId) -> Piece {
        assert!(!self.panics, "a text that panics");
        let (text, stopped) = self.stops.push(&letter(token).to_string());
        Piece { text, stopped }
    }

    fn finish(&mut self) -> Piece {
        Piece { text: self.stops.finish(), stopped: false }
    }
}
