//! Bytes to text, as they come. Knows no tokens.
use std::str;

/// Turns bytes into the text that `String::from_utf8_lossy` gives for all of them together, whatever the cuts between.
#[derive(Debug, Default)]
pub struct Utf8Stream {
    /// The beginning of a character: at most three bytes.
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// The characters that `bytes` complete; what may still become a character waits.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.pending.len());
        let mut rest = self.pending.as_slice();
        let waiting = loop {
            match str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    break 0;
                }
                Err(error) => {
                    let (valid, invalid) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(length) = error.error_len() else { break invalid.len() };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &invalid[length..];
                }
            }
        };
        self.pending.drain(..self.pending.len() - waiting);
        text
    }

    /// What waited; an incomplete character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streamed(pieces: &[Vec<u8>]) -> String {
        let mut stream = Utf8Stream::default();
        let mut text: String = pieces.iter().map(|piece| stream.push(piece)).collect();
        text.push_str(&stream.finish());
        text
    }

    #[test]
    fn a_character_is_shown_once_it_is_whole() {
        let mut stream = Utf8Stream::default();
        let crab = "🦀".as_bytes();
        assert_eq!(stream.push(&crab[..3]), "");
        assert_eq!(stream.push(&crab[3..]), "🦀");
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn an_interrupted_character_is_shown_as_soon_as_it_is_lost() {
        let mut stream = Utf8Stream::default();
        assert_eq!(stream.push(&[0xF0, 0x9F]), "");
        assert_eq!(stream.push(b"a"), "\u{FFFD}a");
        assert_eq!(stream.push(&[0xE6]), "");
        assert_eq!(stream.finish(), "\u{FFFD}");
    }

    /// Bytes that meet often: ASCII, leads, continuations and bytes that UTF-8 never has.
    fn bytes() -> impl Strategy<Value = u8> {
        prop_oneof![Just(b'a'), 0x80..=0xBFu8, prop_oneof![Just(0xC3), Just(0xE6), Just(0xED), Just(0xF0)], any::<u8>()]
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(
            pieces in prop::collection::vec(prop::collection::vec(bytes(), 0..5), 0..12)
        ) {
            prop_assert_eq!(streamed(&pieces), String::from_utf8_lossy(&pieces.concat()).into_owned());
        }

        #[test]
        fn text_survives_any_cut(text in "\\PC{0,20}", size in 1usize..4) {
            let pieces: Vec<Vec<u8>> = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(streamed(&pieces), text);
        }
    }
}
