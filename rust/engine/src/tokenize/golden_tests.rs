//! Tokens and texts held against llama.cpp, `tokenizers` and `sentencepiece`; `tests/goldens/tokenizer/make.py` asked them.
use std::{
    fs,
    path::PathBuf,
    sync::{Arc, LazyLock},
};

use proptest::prelude::*;
use serde_json::Value;

use super::Tokenizer;
use crate::{
    batch::TokenId,
    files::{GgufTokenizer, TokenizerSource},
    stream::{Detokenizer, Start},
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens/tokenizer")
}

pub(super) fn golden(name: &str) -> Value {
    let path = folder().join(name);
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

fn list<T>(value: &Value, item: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().map(|items| items.iter().map(item).collect()).unwrap_or_default()
}

fn texts() -> Vec<String> {
    list(&golden("texts.json"), |text| text.as_str().unwrap().to_owned())
}

fn ids(value: &Value) -> Vec<TokenId> {
    list(value, |id| TokenId::try_from(id.as_u64().unwrap()).unwrap())
}

/// The metadata in `bpe.json` or `sentence_piece.json`.
fn metadata(name: &str, pre: &str) -> GgufTokenizer {
    let vocabulary = golden(name);
    let strings = |key: &str| list(&vocabulary[key], |text| text.as_str().unwrap().to_owned());
    let id = |key: &str| vocabulary[key].as_u64().map(|id| TokenId::try_from(id).unwrap());
    GgufTokenizer {
        model: vocabulary["model"].as_str().unwrap().to_owned(),
        pre: pre.to_owned(),
        tokens: strings("tokens"),
        scores: list(&vocabulary["scores"], |score| score.as_f64().unwrap() as f32),
        token_types: list(&vocabulary["token_types"], |kind| i32::try_from(kind.as_i64().unwrap()).unwrap()),
        merges: strings("merges"),
        bos: id("bos"),
        eos: id("eos"),
        unknown: id("unknown"),
        ..Default::default()
    }
}

fn gguf(metadata: GgufTokenizer) -> Tokenizer {
    Tokenizer::new(&TokenizerSource::Gguf(metadata)).unwrap()
}

pub(crate) fn small_bpe() -> Tokenizer {
    gguf(metadata("bpe.json", "llama-bpe"))
}

pub(crate) fn small_sentence_piece() -> Tokenizer {
    gguf(metadata("sentence_piece.json", ""))
}

fn hugging_face(name: &str) -> Tokenizer {
    Tokenizer::new(&TokenizerSource::HuggingFace(folder().join(name).join("tokenizer.json"))).unwrap()
}

/// Compares every text.
fn check(tokenizer: &Tokenizer, expected: &Value, name: &str) {
    for (index, text) in texts().iter().enumerate() {
        for (parse_special, key) in [(true, "parse_special"), (false, "plain")] {
            let found = tokenizer.encode(text, false, parse_special).unwrap();
            assert_eq!(found, ids(&expected[key][index]), "{name}, {key}, text {index}: {text:?}");
        }
    }
}

#[test]
fn gguf_byte_level_bpe_cuts_as_llama_cpp_does() {
    let expected = golden("expected.json");
    for pre in ["smollm", "gpt-2", "llama-bpe", "qwen2", "tekken", "default"] {
        let tokenizer = gguf(metadata("bpe.json", pre));
        let expected = &expected[format!("gpt2/{pre}")];
        check(&tokenizer, expected, pre);
        assert_eq!(tokenizer.encode("Hello", true, true).unwrap(), ids(&expected["add_special"]), "{pre}");
    }
}

/// Runs where `SYNAPSE_TEST_MODEL` names SmolLM2-135M-Instruct.
#[test]
fn smollm2_cuts_as_llama_cpp_does() {
    let Some(path) = std::env::var_os("SYNAPSE_TEST_MODEL") else { return };
    let checkpoint = crate::files::open(path.as_ref()).unwrap();
    let tokenizer = Tokenizer::new(&checkpoint.tokenizer).unwrap();
    check(&tokenizer, &golden("smollm2.json"), "smollm2");
    assert_eq!(tokenizer.vocab_size(), 49_152);
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (tokenizer.id("<|im_start|>"), tokenizer.id("<|im_end|>")));
    assert!(!tokenizer.adds_bos());
    let template = super::ChatTemplate::new(&checkpoint.chat_template.unwrap()).unwrap();
    let messages = serde_json::json!([{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]);
    let options = super::ChatOptions { add_generation_prompt: true, ..Default::default() };
    assert_eq!(
        template.render(&messages, options).unwrap(),
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    );
}

#[test]
fn gguf_sentence_piece_cuts_as_llama_cpp_does() {
    let expected = golden("expected.json");
    for (key, add_space_prefix) in [("llama", None), ("llama/no-space-prefix", Some(false))] {
        let metadata = GgufTokenizer { add_space_prefix, ..metadata("sentence_piece.json", "") };
        let tokenizer = gguf(metadata);
        check(&tokenizer, &expected[key], key);
        assert_eq!(tokenizer.encode("Hello", true, true).unwrap(), ids(&expected[key]["add_special"]));
    }
}

#[test]
fn hugging_face_files_cut_and_decode_as_tokenizers_does() {
    let expected = golden("expected.json");
    for name in ["byte-level", "byte-fallback"] {
        let tokenizer = hugging_face(name);
        let expected = &expected[format!("hugging-face/{name}")];
        check(&tokenizer, expected, name);
        for (index, text) in texts().iter().enumerate() {
            let tokens = ids(&expected["parse_special"][index]);
            assert_eq!(
                tokenizer.decode(&tokens, true),
                expected["decoded"][index].as_str().unwrap(),
                "{name}: {text:?}"
            );
        }
    }
}

#[test]
fn bos_comes_from_the_post_processor_or_from_add_bos_token() {
    let framed = hugging_face("byte-level");
    assert_eq!(
        framed.encode("Hello", true, true).unwrap(),
        ids(&golden("expected.json")["hugging-face/byte-level"]["add_special"])
    );
    assert!(framed.adds_bos());
    let configured = hugging_face("byte-fallback");
    let hello = configured.encode("Hello", true, true).unwrap();
    assert_eq!((hello[0], configured.bos(), configured.eos()), (1, Some(1), Some(2)));
    assert_eq!(hello[1..], configured.encode("Hello", false, true).unwrap());
}

#[test]
fn special_tokens_in_user_text_stay_text() {
    for (tokenizer, text) in [(small_bpe(), "<|im_start|>"), (small_sentence_piece(), "</s>")] {
        let id = tokenizer.id(text).unwrap();
        assert_eq!(tokenizer.encode(text, false, true).unwrap(), [id]);
        let plain = tokenizer.encode(text, false, false).unwrap();
        assert!(plain.iter().all(|&id| !tokenizer.is_special(id)), "{plain:?}");
        assert_eq!(tokenizer.decode(&plain, true), text);
        assert_eq!(tokenizer.decode(&[id], true), "");
        assert_eq!(tokenizer.decode(&[id], false), text);
    }
}

/// llama.cpp lets two neighbours join to a control token; a user could then end the turn by writing `</s>`.
#[test]
fn sentence_piece_never_joins_text_to_a_control_token() {
    let mut vocabulary = metadata("sentence_piece.json", "");
    vocabulary.tokens.extend(["</".into(), "s>".into()]);
    vocabulary.scores.extend([0.0, 0.0]);
    vocabulary.token_types.extend([1, 1]);
    let tokenizer = gguf(vocabulary);
    let plain = tokenizer.encode("</s>", false, false).unwrap();
    assert!(!plain.contains(&tokenizer.eos().unwrap()), "{plain:?}");
}

#[test]
fn bytes_of_a_texts_tokens_are_the_text() {
    let (bpe, pieces) = (small_bpe(), small_sentence_piece());
    for text in texts() {
        let bytes: Vec<u8> =
            bpe.encode(&text, false, true).unwrap().into_iter().flat_map(|id| bpe.token_bytes(id)).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
        let decoded = pieces.decode(&pieces.encode(&text, false, false).unwrap(), false);
        // SentencePiece cannot tell U+2581 from a space, and text after an added token gets a space as in llama.cpp.
        assert_eq!(decoded, text.replace('\u{2581}', " ").replace("<tool>", "<tool> "));
    }
}

#[test]
fn ids_outside_the_vocabulary_are_nothing() {
    let tokenizer = small_bpe();
    let outside = TokenId::try_from(tokenizer.vocab_size()).unwrap();
    assert_eq!((tokenizer.token_bytes(outside), tokenizer.is_special(outside)), (vec![], false));
    assert_eq!(tokenizer.token_bytes(TokenId::MAX), b"");
    assert_eq!(tokenizer.id("no such token"), None);
}

#[test]
fn metadata_that_cannot_be_right_is_refused_by_name() {
    let refused = |change: &dyn Fn(&mut GgufTokenizer), file: &str, words: &[&str]| {
        let mut metadata = metadata(file, "smollm");
        change(&mut metadata);
        let error = Tokenizer::new(&TokenizerSource::Gguf(metadata)).err().expect("an error").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refused(&|it| it.pre = "qwen99".into(), "bpe.json", &["tokenizer.ggml.pre", "qwen99", "smollm"]);
    refused(&|it| it.model = "bert".into(), "bpe.json", &["tokenizer.ggml.model", "bert", "gpt2"]);
    refused(&|it| it.merges[3] = "nospace".into(), "bpe.json", &["merges", "nospace"]);
    refused(&|it| it.merges[3] = "Ġ zzz".into(), "bpe.json", &["zzz"]);
    refused(&|it| it.tokens.clear(), "bpe.json", &["tokenizer.ggml.tokens"]);
    refused(&|it| it.token_types.truncate(5), "bpe.json", &["token_type", "5", "600"]);
    refused(&|it| it.scores.clear(), "sentence_piece.json", &["scores"]);
    let no_bytes = |it: &mut GgufTokenizer| {
        it.unknown = None;
        it.token_types.iter_mut().for_each(|kind| *kind = 1);
    };
    refused(&no_bytes, "sentence_piece.json", &["<0x00>"]);
}

#[test]
fn hugging_face_files_that_cannot_be_right_are_refused_by_name() {
    let refused = |tokenizer: &str, config: &str, words: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        fs::write(&path, tokenizer).unwrap();
        fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        let error = Tokenizer::new(&TokenizerSource::HuggingFace(path)).err().expect("an error").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    let good = golden("byte-level/tokenizer.json");
    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed[key] = value;
        changed.to_string()
    };
    refused("{", "{}", &["tokenizer.json"]);
    refused(&good.to_string(), "[", &["tokenizer_config.json"]);
    refused(&good.to_string(), r#"{"bos_token": "<nope>"}"#, &["tokenizer_config.json", "bos_token", "<nope>"]);
    refused(
        &with("decoder", serde_json::json!({"type": "WordPiece", "prefix": "##", "cleanup": true})),
        "{}",
        &["WordPiece"],
    );
    refused(&with("decoder", Value::Null), "{}", &["decoder"]);
    let mut far = good.clone();
    far["model"]["vocab"]["far away"] = 4_000_000_000u32.into();
    refused(&far.to_string(), "{}", &["4000000000"]);
    let missing = TokenizerSource::HuggingFace(PathBuf::from("/nowhere/tokenizer.json"));
    assert!(matches!(Tokenizer::new(&missing), Err(crate::Error::Io { .. })));
}

static SMALL: LazyLock<[Arc<Tokenizer>; 2]> = LazyLock::new(|| [small_bpe(), small_sentence_piece()].map(Arc::new));

proptest! {
    #[test]
    fn pieces_of_a_stream_make_the_decoded_text(tokens in prop::collection::vec(0u32..640, 0..24), skip_special: bool) {
        for tokenizer in SMALL.iter() {
            let mut stream = Detokenizer::new(tokenizer.clone(), Start::Text, skip_special);
            let mut text: String = tokens.iter().map(|&token| stream.push(token)).collect();
            text.push_str(&stream.finish());
            prop_assert_eq!(text, tokenizer.decode(&tokens, skip_special));
        }
    }

    #[test]
    fn any_text_survives_encoding(text in "\\PC{0,24}", parse_special: bool) {
        let tokenizer = &SMALL[0];
        let tokens = tokenizer.encode(&text, false, parse_special).unwrap();
        prop_assert_eq!(tokenizer.decode(&tokens, false), text);
    }
}
