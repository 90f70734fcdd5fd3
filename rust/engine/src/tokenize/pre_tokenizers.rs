//! The pre-tokenizers that GGUF names in `tokenizer.ggml.pre`: how text is cut before BPE, and what goes with that.
//! The patterns are those the models were trained with (their `tokenizer.json`).
use tokenizers::{
    SplitDelimiterBehavior,
    pre_tokenizers::{
        PreTokenizerWrapper,
        byte_level::ByteLevel,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

/// What a name stands for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PreTokenizer {
    /// Cuts one after the other; what a pattern finds and what lies between are pieces.
    patterns: &'static [&'static str],
    /// A piece that is a token is taken as it is, whatever the merges say.
    pub ignore_merges: bool,
    /// `bos` comes first unless the file says otherwise.
    pub add_bos: bool,
    /// Text is brought to Unicode's composed form. llama.cpp omits this step of Qwen2's tokenizer.
    pub compose: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const DIGIT: &str = r"\p{N}";
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// All names, for the message that refuses another.
pub(super) const NAMES: &str = "default, gpt-2, phi-2, smollm, starcoder, refact, command-r, llama-bpe, llama3, llama-v3, falcon3, qwen2, \
     deepseek-r1-qwen, tekken";

/// The pre-tokenizer of this name.
pub(super) fn named(name: &str) -> Option<PreTokenizer> {
    Some(match name {
        // What llama.cpp does with files older than the key.
        "" | "default" => PreTokenizer {
            patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
            ..Default::default()
        },
        "gpt-2" | "phi-2" => PreTokenizer { patterns: &[GPT2], ..Default::default() },
        "smollm" | "starcoder" | "refact" | "command-r" => {
            PreTokenizer { patterns: &[DIGIT, GPT2], ..Default::default() }
        }
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" => {
            PreTokenizer { patterns: &[LLAMA3], ignore_merges: true, add_bos: true, compose: false }
        }
        "qwen2" | "deepseek-r1-qwen" => PreTokenizer { patterns: &[QWEN2], compose: true, ..Default::default() },
        "tekken" => PreTokenizer { patterns: &[TEKKEN], ignore_merges: true, add_bos: true, compose: false },
        _ => return None,
    })
}

impl PreTokenizer {
    /// As a stage of the pipeline; the last step writes bytes in the byte-level alphabet.
    pub fn stage(&self) -> tokenizers::Result<PreTokenizerWrapper> {
        let mut steps = Vec::with_capacity(self.patterns.len() + 1);
        for &pattern in self.patterns {
            let pattern = SplitPattern::Regex(pattern.to_owned());
            steps.push(PreTokenizerWrapper::Split(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?));
        }
        steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false)));
        Ok(PreTokenizerWrapper::Sequence(Sequence::new(steps)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_is_known_and_builds() {
        for name in NAMES.split(", ").chain([""]) {
            let stage = named(name).unwrap_or_else(|| panic!("{name}")).stage();
            assert!(stage.is_ok(), "{name}: {:?}", stage.err());
        }
        assert_eq!(named("qwen99"), None);
    }
}
