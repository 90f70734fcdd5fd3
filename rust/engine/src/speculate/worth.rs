//! How many drafted tokens a step should check: as many as are likely to save more than their rows cost. Knows no tokens and no
//! clock: the same chances give the same answer.
use super::Wish;

/// Time of a pass over so many rows, where a pass over one row takes 1. Between these, and after them, lines.
///
/// Quantized weights on two cores, as `python -m bench.speculation --rows` measures it; the slower of several models.
const COSTS: [(f64, f64); 5] = [(1.0, 1.0), (4.0, 1.2), (8.0, 1.7), (16.0, 3.3), (32.0, 6.5)];

/// How many tokens of each wish to draft, in a step that decodes one token for each beside `prompt_rows` prompt tokens.
///
/// A token is worth the time that one takes as things stand. The likeliest is granted first, as long as its chance times that
/// is more than what one more row costs, and the sequence's share of the pass that drafts it.
pub fn share(wishes: &[Wish], prompt_rows: usize) -> Vec<usize> {
    let mut granted = vec![0; wishes.len()];
    let (mut rows, mut tokens) = (wishes.len() as f64, wishes.len() as f64);
    let drafters = wishes.iter().filter(|wish| wish.price > 0.0).count().max(1) as f64;
    while let Some((place, chance)) = likeliest(wishes, &granted) {
        let all_rows = rows + prompt_rows as f64;
        let price = wishes[place].price * cost(drafters) / drafters;
        if chance * cost(rows) / tokens <= cost(all_rows + 1.0) - cost(all_rows) + price {
            break;
        }
        granted[place] += 1;
        rows += 1.0;
        tokens += chance;
    }
    granted
}

/// What the chance of a drafted token must be for a sequence alone, if drafting it has this price.
pub fn least_chance(price: f64) -> f64 {
    cost(2.0) - cost(1.0) + price
}

/// The wish with the likeliest token that is not granted yet; the first if several are.
fn likeliest(wishes: &[Wish], granted: &[usize]) -> Option<(usize, f64)> {
    let next = |(place, wish): (usize, &Wish)| Some((place, *wish.chances.get(granted[place])?));
    wishes.iter().enumerate().filter_map(next).reduce(|best, next| if next.1 > best.1 { next } else { best })
}

fn cost(rows: f64) -> f64 {
    let above = COSTS.iter().position(|(at, _)| *at >= rows).unwrap_or(COSTS.len() - 1).max(1);
    let ((left, low), (right, high)) = (COSTS[above - 1], COSTS[above]);
    low + (rows - left) * (high - low) / (right - left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(chance: f64, most: usize) -> Wish {
        Wish { chances: (1..=most as i32).map(|turn| chance.powi(turn)).collect(), ..Wish::default() }
    }

    /// Tokens per time, against a step that drafts nothing.
    fn speedup(chance: f64, drafted: usize) -> f64 {
        (1.0 + wish(chance, drafted).chances.iter().sum::<f64>()) / cost(1.0 + drafted as f64)
    }

    #[test]
    fn costs_are_lines_between_the_points() {
        assert_eq!(
            [1.0, 4.0, 6.0, 16.0, 48.0].map(|rows| (100.0 * cost(rows)).round()),
            [100.0, 120.0, 145.0, 330.0, 970.0]
        );
    }

    #[test]
    fn a_sequence_alone_drafts_about_what_is_fastest() {
        for percent in [5, 15, 30, 50, 70, 80, 90, 95, 99] {
            let chance = f64::from(percent) / 100.0;
            let granted = share(&[wish(chance, 15)], 0)[0];
            let best = (0..=15).map(|drafted| speedup(chance, drafted)).fold(0.0, f64::max);
            assert!(speedup(chance, granted) > 0.98 * best, "{chance}: {granted}");
        }
        assert_eq!(share(&[wish(0.05, 15)], 0), [0]);
        assert_eq!(share(&[wish(1.0, 15)], 0), [15]);
    }

    #[test]
    fn a_draft_that_costs_must_be_likelier() {
        let drafted = |price, sequences| share(&vec![Wish { price, ..wish(0.8, 15) }; sequences], 0)[0];
        assert!(drafted(0.0, 1) > drafted(0.2, 1) && drafted(0.2, 1) > 0, "{:?}", [drafted(0.0, 1), drafted(0.2, 1)]);
        assert_eq!([drafted(0.8, 1), drafted(0.8, 4)], [0, 0]);
        assert!(least_chance(0.2) > 0.2 && least_chance(0.2) < 0.4);
    }

    #[test]
    fn many_sequences_leave_less_to_each() {
        let drafted = |sequences: usize| share(&vec![wish(0.7, 15); sequences], 0)[0];
        assert!(drafted(1) > drafted(4) && drafted(4) > drafted(16), "{:?}", [1, 4, 16].map(drafted));
        assert_eq!(share(&vec![wish(0.3, 15); 64], 0), [0; 64]);
    }

    #[test]
    fn the_likeliest_go_first() {
        let granted = share(&[wish(0.3, 9), wish(0.95, 9), wish(0.6, 9)], 0);
        assert!(granted[1] > granted[2] && granted[2] >= granted[0], "{granted:?}");
    }
}
