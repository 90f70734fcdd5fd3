//! How far a draft model is trusted with one sequence. Knows its drafts and what followed, not the model.
use super::{MAX_DRAFT, Source, Wish, chance::Chance, worth::least_chance};
use crate::batch::TokenId;

/// Belief in a draft model before it drafted anything.
const PRIOR: f64 = 0.7;
/// Tokens until a draft model that did badly is tried again, at first and at most.
const PATIENCE: (usize, usize) = (64, 1024);

/// Watches the drafts of one sequence. Unlike a look-up, a draft model costs time to watch: one that does badly gets a rest, a
/// longer one each time.
#[derive(Debug)]
pub struct Trust {
    chance: Chance,
    /// Where the last draft begins, and the draft.
    last: Option<(usize, Vec<TokenId>)>,
    rests_until: usize,
    patience: usize,
}

impl Default for Trust {
    fn default() -> Self {
        Self { chance: Chance::new(PRIOR), last: None, rests_until: 0, patience: PATIENCE.0 }
    }
}

impl Trust {
    /// How likely its drafts are, for at most `room` tokens after `tokens`. `price` is that of one of its passes.
    pub fn wish(&mut self, tokens: &[TokenId], room: usize, price: f64) -> Wish {
        self.judge(tokens);
        if self.chance.value() < least_chance(price) {
            self.rests_until = tokens.len() + self.patience;
            self.patience = PATIENCE.1.min(self.patience * 2);
            self.chance = Chance::new(PRIOR);
        }
        let most = if tokens.len() < self.rests_until { 0 } else { room.min(MAX_DRAFT) as i32 };
        Wish {
            source: Source::Model,
            price,
            chances: (1..=most).map(|count| self.chance.value().powi(count)).collect(),
        }
    }

    /// What was drafted to follow `tokens`.
    pub fn note(&mut self, tokens: &[TokenId], draft: &[TokenId]) {
        self.last = Some((tokens.len(), draft.to_vec()));
    }

    /// Compares the last draft with what came, up to the first difference: nothing is known of what it would have been after.
    fn judge(&mut self, tokens: &[TokenId]) {
        let Some((start, draft)) = self.last.take() else { return };
        for (drafted, token) in draft.iter().zip(&tokens[start..]) {
            self.chance.note(drafted == token);
            if drafted != token {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the next 3000 tokens get a draft of two tokens, which is right or wrong.
    fn drafts(right: bool, price: f64) -> usize {
        let (mut trust, mut tokens, mut count) = (Trust::default(), vec![1, 2], 0);
        for token in 0..3000 {
            if !trust.wish(&tokens, 2, price).chances.is_empty() {
                count += 1;
                trust.note(&tokens, &if right { [token, token + 1] } else { [9999, 9999] });
            }
            tokens.push(token);
        }
        count
    }

    #[test]
    fn who_is_right_is_always_asked_and_who_is_wrong_now_and_then() {
        assert_eq!(drafts(true, 0.2), 3000);
        assert!((20..120).contains(&drafts(false, 0.2)), "{}", drafts(false, 0.2));
        assert_eq!(drafts(true, 1.0), 0);
    }

    #[test]
    fn a_draft_is_judged_up_to_its_first_difference() {
        let mut trust = Trust::default();
        trust.note(&[5], &[1, 2, 3, 4]);
        trust.wish(&[5, 1, 7, 3, 4], 1, 0.1);
        let mut same = Chance::new(PRIOR);
        same.note(true);
        same.note(false);
        assert_eq!(trust.chance.value(), same.value());
    }
}
