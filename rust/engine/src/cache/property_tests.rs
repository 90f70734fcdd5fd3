//! Random histories of sequences against a model that remembers everything it was told.
use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::{Namespace, Pages};
use crate::batch::{PAGE_TOKENS, PageId, TokenId};

#[derive(Debug, Clone)]
enum Action {
    /// A sequence begins: reuses what is known and takes pages for the rest.
    Open {
        namespace: Namespace,
        stems: Vec<TokenId>,
    },
    /// A sequence makes its pages known and goes on.
    Remember(usize),
    /// A sequence ends.
    Close(usize),
    Forget(Namespace),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0..2u64, prop::collection::vec(0..3u32, 0..5)).prop_map(|(namespace, stems)| Action::Open { namespace, stems }),
        2 => (0..8usize).prop_map(Action::Remember),
        3 => (0..8usize).prop_map(Action::Close),
        1 => (0..2u64).prop_map(Action::Forget),
    ]
}

struct Open {
    namespace: Namespace,
    tokens: Vec<TokenId>,
    pages: Vec<PageId>,
}

/// One token per stem and page, the rest of the page filled up; few stems, so that prefixes meet often.
fn spell(stems: &[TokenId]) -> Vec<TokenId> {
    stems.iter().flat_map(|&stem| [stem; PAGE_TOKENS]).collect()
}

#[derive(Default)]
struct World {
    open: Vec<Open>,
    /// What was written to each page: namespace and all tokens up to its end.
    content: HashMap<PageId, (Namespace, Vec<TokenId>)>,
}

impl World {
    fn apply(&mut self, pages: &mut Pages, action: Action) -> Result<(), TestCaseError> {
        match action {
            Action::Open { namespace, stems } => self.open(pages, namespace, spell(&stems))?,
            Action::Remember(index) => {
                let count = self.open.len().max(1);
                if let Some(sequence) = self.open.get_mut(index % count) {
                    pages.remember(sequence.namespace, &sequence.tokens, &mut sequence.pages);
                    let again = pages.reuse(sequence.namespace, &sequence.tokens);
                    prop_assert_eq!(&again, &sequence.pages, "what is remembered is found");
                    pages.release(&again);
                }
            }
            Action::Close(index) if !self.open.is_empty() => {
                let sequence = self.open.swap_remove(index % self.open.len());
                pages.release(&sequence.pages);
            }
            Action::Close(_) => {}
            Action::Forget(namespace) => {
                pages.forget(namespace);
                let found = (0..3).map(|stem| pages.reuse(namespace, &spell(&[stem])).len()).sum::<usize>();
                prop_assert_eq!(found, 0);
            }
        }
        self.check(pages)
    }

    fn open(&mut self, pages: &mut Pages, namespace: Namespace, tokens: Vec<TokenId>) -> Result<(), TestCaseError> {
        let mut own = pages.reuse(namespace, &tokens);
        for (index, page) in own.iter().enumerate() {
            let wanted = (namespace, tokens[..(index + 1) * PAGE_TOKENS].to_vec());
            prop_assert_eq!(self.content.get(page), Some(&wanted), "a known page holds something else");
        }
        while own.len() < tokens.len() / PAGE_TOKENS {
            let obtainable = pages.obtainable();
            let Some(page) = pages.take() else {
                prop_assert_eq!(obtainable, 0, "pages were left");
                pages.release(&own);
                return Ok(());
            };
            prop_assert_eq!(pages.obtainable(), obtainable - 1);
            prop_assert!(self.open.iter().all(|other| !other.pages.contains(&page)) && !own.contains(&page), "in use");
            own.push(page);
            self.content.insert(page, (namespace, tokens[..own.len() * PAGE_TOKENS].to_vec()));
        }
        self.open.push(Open { namespace, tokens, pages: own });
        Ok(())
    }

    fn check(&self, pages: &Pages) -> Result<(), TestCaseError> {
        let used: HashSet<PageId> = self.open.iter().flat_map(|sequence| sequence.pages.iter().copied()).collect();
        prop_assert_eq!(pages.used(), used.len());
        prop_assert!(pages.idle() <= pages.obtainable());
        for sequence in &self.open {
            for (index, page) in sequence.pages.iter().enumerate() {
                let wanted = (sequence.namespace, sequence.tokens[..(index + 1) * PAGE_TOKENS].to_vec());
                prop_assert_eq!(self.content.get(page), Some(&wanted), "a page in use was given away");
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn pages_are_never_lost_shared_wrongly_or_given_twice(
        count in 1usize..12,
        actions in prop::collection::vec(action(), 0..60),
    ) {
        let mut pages = Pages::new(count);
        let mut world = World::default();
        for action in actions {
            world.apply(&mut pages, action)?;
        }
        world.open.drain(..).for_each(|sequence| pages.release(&sequence.pages));
        prop_assert_eq!(pages.used(), 0);
        let all: HashSet<PageId> = std::iter::from_fn(|| pages.take()).collect();
        prop_assert_eq!(all.len(), count, "every page can be had again, prefixes or not");
    }
}

#[test]
fn the_longest_unused_leaf_goes_first_and_a_prefix_outlives_what_hangs_on_it() {
    let mut pages = Pages::new(3);
    for stems in [&[0, 1][..], &[0, 2][..]] {
        let tokens = spell(stems);
        let mut own = pages.reuse(0, &tokens);
        while own.len() < 2 {
            own.push(pages.take().unwrap());
        }
        pages.remember(0, &tokens, &mut own);
        pages.release(&own);
    }
    let refreshed = pages.reuse(0, &spell(&[0, 1]));
    pages.release(&refreshed);
    let known = |pages: &mut Pages, stems: &[TokenId]| {
        let found = pages.reuse(0, &spell(stems));
        pages.release(&found);
        found.len()
    };
    let taken = pages.take().unwrap();
    assert_eq!((known(&mut pages, &[0, 1]), known(&mut pages, &[0, 2])), (2, 1));
    pages.take().unwrap();
    assert_eq!(known(&mut pages, &[0, 1]), 1);
    pages.release(&[taken]);
}
