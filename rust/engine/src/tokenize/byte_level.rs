//! The alphabet in which byte-level BPE (GPT-2) writes bytes: printable Latin-1 characters stand for themselves, the
//! other 68 bytes for the characters from U+0100 on.

/// The bytes that `token` stands for. Characters outside the alphabet stand for themselves.
pub(super) fn token_bytes(token: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(token.len());
    for character in token.chars() {
        match byte_of(character) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        code if code < 0x100 => u8::try_from(code).ok().filter(|&byte| stands_for_itself(byte)),
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 0x7F).ok(),
        0x143 => Some(0xAD),
        _ => None,
    }
}

fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    use super::*;

    #[test]
    fn the_alphabet_has_one_character_per_byte() {
        let bytes: BTreeSet<u8> = ByteLevel::alphabet().into_iter().filter_map(byte_of).collect();
        assert_eq!(bytes.len(), 256);
    }

    #[test]
    fn spaces_newlines_and_split_characters() {
        assert_eq!(token_bytes("ĠheĊ"), b" he\n");
        assert_eq!(token_bytes("æĹ"), [0xE6, 0x97]);
        assert_eq!(token_bytes("日"), "日".as_bytes());
    }
}
