//! Finds where the latest tokens of a sequence stood before. Knows no chances: what followed there may follow here or not.
use ahash::AHashMap;

use crate::batch::TokenId;

/// Tokens that must agree for a match.
pub const LEAST: usize = 2;
/// A longer agreement counts as this many tokens.
pub const MOST: usize = 16;
/// Earlier places that are compared per token: what frequent pairs may cost.
const TRIES: usize = 32;

/// A place in a sequence that follows the same tokens as its end does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Index of the token that followed there.
    pub place: usize,
    /// How many tokens before agree, `LEAST..=MOST`.
    pub length: usize,
}

/// An index over one sequence, which grows with it: a few comparisons per token, whatever the length.
#[derive(Debug, Default)]
pub struct Lookup {
    /// Place after the latest occurrence of each pair.
    latest: AHashMap<[TokenId; LEAST], usize>,
    /// By number of tokens less one: the place before it that follows the same pair.
    earlier: Vec<Option<usize>>,
    found: Option<Match>,
}

impl Lookup {
    /// Tokens taken in.
    pub fn len(&self) -> usize {
        self.earlier.len()
    }

    /// The best match for the end of what was taken in.
    pub fn found(&self) -> Option<Match> {
        self.found
    }

    /// Takes in the last of `tokens`, without looking for a match; those before it were taken in one by one.
    pub fn note(&mut self, tokens: &[TokenId]) {
        debug_assert_eq!(tokens.len(), self.len() + 1, "a token was left out");
        let pair = tokens.last_chunk::<LEAST>();
        self.earlier.push(pair.and_then(|pair| self.latest.insert(*pair, tokens.len())));
        self.found = None;
    }

    /// Takes in the last of `tokens` and looks for the best match.
    pub fn push(&mut self, tokens: &[TokenId]) {
        let found = self.found;
        self.note(tokens);
        let went_on = found.filter(|found| tokens.get(found.place) == tokens.last());
        let went_on = went_on.map(|Match { place, length }| Match { place: place + 1, length: MOST.min(length + 1) });
        self.found = self.longest(tokens, went_on);
    }

    /// The longest of the match that went on and the latest places that follow the same pair; the former if all are equal.
    fn longest(&self, tokens: &[TokenId], went_on: Option<Match>) -> Option<Match> {
        let before = |&place: &usize| self.earlier[place - 1];
        let places = std::iter::successors(before(&tokens.len()), before).take(TRIES);
        let mut best = went_on;
        for place in places {
            if best.is_some_and(|best| best.length == MOST) {
                break;
            }
            let length = agreement(&tokens[..place], tokens);
            if best.is_none_or(|best| length > best.length) {
                best = Some(Match { place, length });
            }
        }
        best
    }
}

fn agreement(before: &[TokenId], tokens: &[TokenId]) -> usize {
    before.iter().rev().zip(tokens.iter().rev()).take(MOST).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(tokens: &[TokenId]) -> Vec<Option<Match>> {
        let mut lookup = Lookup::default();
        (1..=tokens.len())
            .map(|end| {
                lookup.push(&tokens[..end]);
                lookup.found()
            })
            .collect()
    }

    #[test]
    fn the_longest_agreement_wins_and_then_the_latest() {
        //                       0  1  2  3  4  5  6  7  8  9 10 11
        let last = *found(&[1, 2, 3, 9, 2, 3, 8, 5, 2, 3, 1, 2, 3]).last().unwrap();
        assert_eq!(last, Some(Match { place: 3, length: 3 }));
        assert_eq!(*found(&[1, 2, 7, 1, 2, 8, 1, 2]).last().unwrap(), Some(Match { place: 5, length: 2 }));
        assert_eq!(*found(&[1, 2, 3, 4]).last().unwrap(), None);
    }

    #[test]
    fn a_match_that_goes_on_is_kept() {
        let text: Vec<TokenId> = (0..20).chain(30..32).chain(0..20).collect();
        let matches = found(&text);
        for (place, found) in matches[24..].iter().enumerate() {
            assert_eq!(*found, Some(Match { place: place + 3, length: MOST.min(place + 3) }));
        }
    }

    #[test]
    fn a_loop_is_a_match_with_itself() {
        assert_eq!(*found(&[7, 7, 7, 7]).last().unwrap(), Some(Match { place: 3, length: 3 }));
    }

    proptest! {
        /// Against trying every place.
        #[test]
        fn it_is_as_good_as_looking_everywhere(tokens in prop::collection::vec(0..4u32, 1..30)) {
            for (end, found) in found(&tokens).into_iter().enumerate() {
                let tokens = &tokens[..=end];
                let longest = (1..tokens.len()).map(|place| agreement(&tokens[..place], tokens)).max().unwrap_or(0);
                prop_assert_eq!(found.map_or(0, |found| found.length), if longest < LEAST { 0 } else { longest });
                if let Some(Match { place, length }) = found {
                    prop_assert_eq!(agreement(&tokens[..place], tokens), length);
                }
            }
        }
    }
}
