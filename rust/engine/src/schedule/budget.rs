//! Shares a step's prompt tokens among sequences. Knows only how much each has left.

/// How many tokens each may run; `left` is in order of age, and the grants add up to `budget` or to all that is left.
///
/// The oldest may take half, so that it always gets on; then the shortest go first, so that a short prompt does not wait
/// for a long one.
pub fn share(budget: usize, left: &[usize]) -> Vec<usize> {
    let mut granted = vec![0; left.len()];
    let mut rest = budget;
    let mut by_length: Vec<usize> = (0..left.len()).collect();
    by_length.sort_by_key(|&place| left[place]);
    let oldest = (!left.is_empty()).then_some((0, budget.div_ceil(2)));
    for (place, most) in oldest.into_iter().chain(by_length.into_iter().map(|place| (place, budget))) {
        let grant = (left[place] - granted[place]).min(most).min(rest);
        granted[place] += grant;
        rest -= grant;
    }
    granted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::share;

    #[test]
    fn a_short_prompt_passes_a_long_one_which_still_gets_on() {
        assert_eq!(share(512, &[8000, 40, 3000]), [256, 40, 216]);
        assert_eq!(share(512, &[8000, 400, 100]), [256, 156, 100]);
        assert_eq!(share(1, &[10, 1]), [1, 0]);
        assert!(share(8, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_wasted_and_the_oldest_gets_on(
            budget in 1usize..600,
            left in prop::collection::vec(1usize..900, 1..20),
        ) {
            let granted = share(budget, &left);
            prop_assert!(granted.iter().zip(&left).all(|(grant, left)| grant <= left));
            prop_assert_eq!(granted.iter().sum::<usize>(), budget.min(left.iter().sum()));
            prop_assert!(granted[0] > 0);
        }
    }
}
