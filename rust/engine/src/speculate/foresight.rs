//! What is foretold of one choice, and how often that came true. Knows the choice's tokens, not the other choices.
use super::{Chances, Lookup, MAX_DRAFT, Source, Trust, Wish, lookup::Match};
use crate::batch::TokenId;

/// Foretells one choice's tokens.
///
/// Each token is compared with what the match before it foretold, drafted or not. So watching costs no pass: where the text
/// does not repeat itself drafting stops by itself, and begins again when it would have helped.
#[derive(Debug)]
pub struct Foresight {
    /// Tokens of the prompt. How it repeats itself says little of how the answer will.
    prompt: usize,
    lookup: Lookup,
    chances: Chances,
    trust: Trust,
}

impl Foresight {
    /// Before anything was seen.
    pub fn new(prompt: usize) -> Self {
        Self { prompt, lookup: Lookup::default(), chances: Chances::default(), trust: Trust::default() }
    }

    fn watch(&mut self, tokens: &[TokenId]) {
        for end in self.lookup.len() + 1..=tokens.len() {
            if end < self.prompt {
                self.lookup.note(&tokens[..end]);
                continue;
            }
            if let Some(Match { place, length }) = self.lookup.found().filter(|_| end > self.prompt) {
                self.chances.note(length, tokens[place] == tokens[end - 1]);
            }
            self.lookup.push(&tokens[..end]);
        }
    }

    /// Takes in what is new in `tokens`: the prompt, then the answer, which only ever grows. Says who would best draft at most
    /// `room` tokens, and how likely they would be; `price` is that of a pass of the draft model, if there is one.
    pub fn wish(&mut self, tokens: &[TokenId], room: usize, price: Option<f64>) -> Wish {
        self.watch(tokens);
        let known = self.look_up(room);
        let Some(price) = price else { return known };
        let drafted = self.trust.wish(tokens, room, price);
        let gain = |wish: &Wish| wish.chances.first().map_or(0.0, |chance| chance - wish.price);
        if gain(&drafted) > gain(&known) { drafted } else { known }
    }

    /// How likely the next tokens are those that followed before.
    fn look_up(&self, room: usize) -> Wish {
        let Some(found) = self.lookup.found() else { return Wish::default() };
        let agreed = found.length..found.length + room.min(MAX_DRAFT);
        let together = |chance: &mut f64, length| {
            *chance *= self.chances.value(length);
            Some(*chance)
        };
        Wish { source: Source::Ngram, price: 0.0, chances: agreed.scan(1.0, together).collect() }
    }

    /// What the draft model drafted to follow `tokens`.
    pub fn note_drafted(&mut self, tokens: &[TokenId], draft: &[TokenId]) {
        self.trust.note(tokens, draft);
    }

    /// The next `count` tokens as they followed before. A match that reaches the end is a loop, and goes round.
    pub fn draft(&self, tokens: &[TokenId], count: usize) -> Vec<TokenId> {
        let followed = self.lookup.found().map_or(&[][..], |found| &tokens[found.place..]);
        followed.iter().cycle().take(count).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chances and draft after a text of which everything is answer.
    fn foretold(tokens: &[TokenId], count: usize) -> (Vec<f64>, Vec<TokenId>) {
        let mut foresight = Foresight::new(0);
        (foresight.wish(tokens, count, None).chances, foresight.draft(tokens, count))
    }

    #[test]
    fn what_followed_is_drafted_and_a_loop_goes_round() {
        let (chances, draft) = foretold(&[5, 6, 7, 8, 9, 1, 5, 6], 4);
        assert_eq!((chances.len(), draft), (4, vec![7, 8, 9, 1]));
        assert_eq!(foretold(&[1, 2, 3, 1, 2, 3, 1, 2], 7).1, [3, 1, 2, 3, 1, 2, 3]);
        assert_eq!(foretold(&[1, 2, 3], 3), (vec![], vec![]));
        assert_eq!(foretold(&[1; 40], 40).0.len(), MAX_DRAFT);
    }

    #[test]
    fn chances_follow_what_is_seen() {
        let copied: Vec<TokenId> = (0..60).chain(0..40).collect();
        let more = foretold(&copied, 8).0;
        assert!(more[0] > 0.9 && more.windows(2).all(|pair| pair[0] > pair[1]), "{more:?}");
        // The same pair again and again, each time with another token behind.
        let random: Vec<TokenId> = (0..60).flat_map(|turn| [1, 2, 100 + turn]).chain([1, 2]).collect();
        assert!(foretold(&random, 8).0[0] < 0.02);
    }

    #[test]
    fn whoever_is_likelier_to_be_right_drafts() {
        let text: Vec<TokenId> = (0..60).chain(0..40).collect();
        let source = |tokens: &[TokenId], price| Foresight::new(0).wish(tokens, 5, price).source;
        assert_eq!([source(&text, Some(0.2)), source(&text, None)], [Source::Ngram; 2]);
        assert_eq!(source(&text[..50], Some(0.2)), Source::Model);
        assert_eq!(source(&text[..50], Some(1.2)), Source::Ngram);
    }

    #[test]
    fn a_prompt_that_repeats_itself_raises_no_hopes() {
        let text = [1, 2, 3, 4].repeat(30);
        let chances = Foresight::new(text.len()).wish(&text, 1, None).chances;
        assert_eq!(chances, [Chances::default().value(16)]);
    }

    #[test]
    fn watching_in_pieces_is_watching_at_once() {
        let text: Vec<TokenId> = (0..200).map(|i| (i * i / 7) % 11).collect();
        let mut pieces = Foresight::new(9);
        for end in [1, 2, 3, 50, 51, 120, 200] {
            pieces.wish(&text[..end], 3, None);
        }
        let mut whole = Foresight::new(9);
        assert_eq!(pieces.wish(&text, 15, None).chances, whole.wish(&text, 15, None).chances);
        assert_eq!(pieces.draft(&text, 15), whole.draft(&text, 15));
    }
}
