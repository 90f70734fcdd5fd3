//! Finds stop strings in text that comes in pieces. Knows no tokens.
use crate::{Error, Result};

/// Lets text through up to the first stop string.
///
/// The first is the one complete earliest as the text is read character by character; of several that end together the
/// longest. So the outcome does not depend on how the text was cut, and no text after a stop string is ever waited for.
#[derive(Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    /// Text not let through: the beginning of a stop string, as far as one can tell.
    held: String,
    stopped: bool,
}

impl StopMatcher {
    /// # Errors
    /// An empty stop string, which every text contains.
    pub fn new(stops: &[String]) -> Result<Self> {
        if let Some(index) = stops.iter().position(String::is_empty) {
            return Err(Error::Request {
                param: "stop".into(),
                reason: format!("expected non-empty strings, found an empty one at index {index}"),
            });
        }
        Ok(StopMatcher { stops: stops.to_vec(), held: String::new(), stopped: false })
    }

    /// The text to let through, and whether a stop string was found; from then on nothing more comes.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        if self.stopped {
            return (String::new(), true);
        }
        let seen = self.held.len();
        self.held.push_str(text);
        if let Some(start) = self.first_stop(seen) {
            self.stopped = true;
            self.held.truncate(start);
            return (std::mem::take(&mut self.held), true);
        }
        let keep = self.held.split_off(self.held.len() - self.beginning_length());
        (std::mem::replace(&mut self.held, keep), false)
    }

    /// What was held back, when no more text comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Where the first stop string that ends after `seen` starts.
    fn first_stop(&self, seen: usize) -> Option<usize> {
        let ends = self.held[seen..].char_indices().map(|(at, character)| seen + at + character.len_utf8());
        ends.into_iter().find_map(|end| {
            let read = &self.held[..end];
            let longest = self.stops.iter().filter(|stop| read.ends_with(stop.as_str())).map(String::len).max()?;
            Some(end - longest)
        })
    }

    /// Length of the longest end of `held` with which a stop string begins.
    fn beginning_length(&self) -> usize {
        let lengths = self.held.char_indices().map(|(at, _)| self.held.len() - at);
        let begins = |length: &usize| {
            let end = &self.held[self.held.len() - length..];
            self.stops.iter().any(|stop| stop.len() > *length && stop.starts_with(end))
        };
        lengths.into_iter().find(begins).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matcher(stops: &[&str]) -> StopMatcher {
        let stops: Vec<String> = stops.iter().map(|&stop| stop.to_owned()).collect();
        StopMatcher::new(&stops).unwrap()
    }

    fn run(mut matcher: StopMatcher, pieces: &[&str]) -> (String, bool) {
        let mut out = String::new();
        for piece in pieces {
            let (text, stopped) = matcher.push(piece);
            out.push_str(&text);
            if stopped {
                return (out, true);
            }
        }
        out.push_str(&matcher.finish());
        (out, false)
    }

    #[test]
    fn only_what_may_begin_a_stop_string_waits() {
        let mut matcher = matcher(&["\n\nUser:"]);
        assert_eq!(matcher.push("Hello\n"), ("Hello".into(), false));
        assert_eq!(matcher.push("\nUs"), (String::new(), false));
        assert_eq!(matcher.push("ually"), ("\n\nUsually".into(), false));
        assert_eq!(matcher.push(" fine\n\nUser: x"), (" fine".into(), true));
        assert_eq!(matcher.push("more"), (String::new(), true));
        assert_eq!(matcher.finish(), "");
    }

    #[test]
    fn overlaps_within_one_stop_string() {
        assert_eq!(run(matcher(&["aab"]), &["a", "a", "a", "b", "c"]), ("a".into(), true));
        assert_eq!(run(matcher(&["aba"]), &["ab", "c"]), ("abc".into(), false));
    }

    #[test]
    fn the_stop_string_complete_first_wins() {
        assert_eq!(run(matcher(&["abcd", "bc"]), &["abcd"]), ("a".into(), true));
        assert_eq!(run(matcher(&["c", "abc"]), &["x", "abc"]), ("x".into(), true));
    }

    #[test]
    fn an_empty_stop_string_is_refused() {
        let error = StopMatcher::new(&["a".into(), String::new()]).unwrap_err().to_string();
        assert!(error.contains("stop") && error.contains("index 1"), "{error}");
    }

    /// The definition, over the whole text.
    fn naive(text: &str, stops: &[String]) -> (String, bool) {
        for end in (0..=text.len()).filter(|&end| text.is_char_boundary(end)) {
            let read = &text[..end];
            if let Some(longest) = stops.iter().filter(|stop| read.ends_with(stop.as_str())).map(String::len).max() {
                return (read[..end - longest].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn any_cut_gives_what_the_whole_text_gives(
            pieces in prop::collection::vec("[abé🦀]{0,4}", 0..10),
            stops in prop::collection::vec("[abé🦀]{1,5}", 0..4),
        ) {
            let matcher = StopMatcher::new(&stops).unwrap();
            let cut: Vec<&str> = pieces.iter().map(String::as_str).collect();
            prop_assert_eq!(run(matcher, &cut), naive(&pieces.concat(), &stops));
        }

        #[test]
        fn nothing_is_held_that_cannot_begin_a_stop_string(
            pieces in prop::collection::vec("[abc]{0,3}", 1..8),
            stops in prop::collection::vec("[abc]{1,4}", 1..3),
        ) {
            let mut matcher = StopMatcher::new(&stops).unwrap();
            let (mut shown, mut text) = (String::new(), String::new());
            for piece in &pieces {
                text.push_str(piece);
                let (emit, stopped) = matcher.push(piece);
                shown.push_str(&emit);
                if stopped { break; }
                let held = &text[shown.len()..];
                prop_assert!(held.is_empty() || stops.iter().any(|stop| stop.starts_with(held)), "held {held:?}");
            }
        }
    }
}
