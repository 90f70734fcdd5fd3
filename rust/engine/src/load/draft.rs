//! Loads a small model that drafts for one that is loaded already. Knows what the two must have in common, not how drafts are used.
use std::path::Path;

use super::{LoadOptions, ModelInfo, Quant, load_checkpoint};
use crate::{Error, Result, batch::TokenId, files, speculate::DraftModel, tokenize::Tokenizer};

/// Loads the draft model at `path` for the model `info`, which was loaded with `options` and has this tokenizer; returns it with
/// what the user should know.
///
/// # Errors
/// Those of [`super::load`]; [`Error::Request`] for `draft_model` if the two models' tokens are not the same.
pub fn load_draft(
    path: &Path,
    options: &LoadOptions,
    info: &ModelInfo,
    tokenizer: &Tokenizer,
) -> Result<(DraftModel, Vec<String>)> {
    let checkpoint = files::open(path)?;
    check_tokens(tokenizer, &Tokenizer::new(&checkpoint.tokenizer)?)?;
    let context_length = info.context_length.min(checkpoint.config.context_length);
    let options = LoadOptions {
        quant: Quant::Auto,
        context_length: Some(context_length),
        kv_tokens: Some(info.kv_tokens.max(context_length)),
        ..options.clone()
    };
    let draft = load_checkpoint(checkpoint, &options)?;
    // A pass over few rows takes as long as reading the weights.
    let price = draft.info.weight_bytes as f64 / info.weight_bytes as f64;
    let notices = draft.info.notices.into_iter().map(|notice| format!("draft model: {notice}")).collect();
    Ok((DraftModel::new(draft.model, info.config.vocab_size, price), notices))
}

/// The smaller vocabulary must be the beginning of the larger: models of a family differ by padding and a few special tokens.
fn check_tokens(model: &Tokenizer, draft: &Tokenizer) -> Result<()> {
    let common = model.vocab_size().min(draft.vocab_size()) as TokenId;
    let differs = |&token: &TokenId| model.token_bytes(token) != draft.token_bytes(token);
    let Some(token) = (0..common).find(differs) else { return Ok(()) };
    let shown = |tokenizer: &Tokenizer| String::from_utf8_lossy(&tokenizer.token_bytes(token)).into_owned();
    Err(Error::Request {
        param: "draft_model".into(),
        reason: format!(
            "expected a model with the same tokens, found one of another family: token {token} is {:?} there and {:?} in the model \
             that it would draft for",
            shown(draft),
            shown(model),
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        load::{load, tests::folder},
        schedule::SequenceKey,
        speculate::Order,
    };

    /// A folder with a tiny model of these tokens.
    fn model(tokens: &[&str]) -> TempDir {
        let folder = folder(|_| ());
        let vocabulary: serde_json::Map<_, _> =
            tokens.iter().zip(0..).map(|(&token, id)| (token.into(), json!(id))).collect();
        let byte_level =
            json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
        let json = json!({
            "version": "1.0",
            "model": { "type": "BPE", "vocab": vocabulary, "merges": [] },
            "pre_tokenizer": byte_level,
            "decoder": byte_level,
        });
        fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
        folder
    }

    fn load_both(tokens: &[&str], draft_tokens: &[&str]) -> Result<DraftModel> {
        let (folder, draft_folder) = (model(tokens), model(draft_tokens));
        let options =
            LoadOptions { packed_file: false, threads: Some(1), context_length: Some(64), ..LoadOptions::default() };
        let loaded = load(folder.path(), &options)?;

        let tokenizer = Tokenizer::new(&loaded.tokenizer)?;
        load_draft(draft_folder.path(), &options, &loaded.info, &tokenizer).map(|(draft, _)| draft)
    }

    #[test]
    fn a_model_of_the_same_tokens_drafts() {
        for tokens in [&["a", "b", "c"][..], &["a", "b"], &["a", "b", "c", "d"]] {
            let mut draft = load_both(&["a", "b", "c"], tokens).unwrap();
            // The test's models are of one size.
            assert_eq!(draft.price(), 1.0);
            let key = SequenceKey { request: 1, index: 0 };
            let drafts = draft.draft(&[Order { key, tokens: &[0, 1], count: 3 }]).unwrap();
            assert_eq!(drafts[&key].len(), 3);
        }
    }

    #[test]
    fn a_model_of_other_tokens_is_refused_with_the_first_that_differs() {
        let error = load_both(&["a", "b", "c"], &["a", "x", "c"]).err().unwrap();
        assert!(matches!(&error, Error::Request { param, .. } if param == "draft_model"), "{error:?}");
        assert!(error.to_string().contains(r#"token 1 is "x" there and "b" in the model"#), "{error}");
    }
}
