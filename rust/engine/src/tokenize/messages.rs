//! OpenAI messages as chat templates expect them: one text each. Knows no template.
use serde_json::Value;

use crate::{Error, Result};

/// Checks `messages` and joins the text parts of each message, one part per line.
///
/// # Errors
/// Not a list of objects with a `role`, or a part that is not text; the error names the field.
pub(super) fn flatten(messages: &Value) -> Result<Vec<Value>> {
    let Some(list) = messages.as_array() else {
        return Err(wrong("messages", "a list of messages", messages));
    };
    list.iter().enumerate().map(|(index, message)| flatten_message(message, &format!("messages[{index}]"))).collect()
}

fn flatten_message(message: &Value, path: &str) -> Result<Value> {
    let Some(fields) = message.as_object() else { return Err(wrong(path, "an object", message)) };
    match fields.get("role") {
        Some(Value::String(_)) => {}
        other => return Err(wrong(&format!("{path}.role"), "a string", other.unwrap_or(&Value::Null))),
    }
    let mut flat = fields.clone();
    if let Some(content) = flat.get_mut("content") {
        let path = format!("{path}.content");
        match content {
            Value::Null | Value::String(_) => {}
            Value::Array(parts) => *content = join_parts(parts, &path)?.into(),
            other => return Err(wrong(&path, "a string or a list of parts", other)),
        }
    }
    Ok(Value::Object(flat))
}

fn join_parts(parts: &[Value], path: &str) -> Result<String> {
    let text = |(index, part): (usize, &Value)| match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text"), Some(text)) => Ok(text.to_owned()),
        (Some("text"), None) => Err(wrong(&format!("{path}[{index}].text"), "a string", &part["text"])),
        (Some(other), _) => Err(Error::Request {
            param: format!("{path}[{index}].type"),
            reason: format!("expected \"text\", found {other:?}; this engine reads text only"),
        }),
        (None, _) => Err(wrong(&format!("{path}[{index}].type"), "\"text\"", &part["type"])),
    };
    let texts: Vec<String> = parts.iter().enumerate().map(text).collect::<Result<_>>()?;
    Ok(texts.join("\n"))
}

fn wrong(param: &str, wanted: &str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Error::Request { param: param.into(), reason: format!("expected {wanted}, found {found}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_parts_become_one_text() {
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        let messages = json!([{"role": "user", "content": parts, "name": "n"}, {"role": "assistant", "content": null}]);
        let flat = flatten(&messages).unwrap();
        assert_eq!(flat[0], json!({"role": "user", "content": "a\nb", "name": "n"}));
        assert_eq!(flat[1], messages[1]);
    }

    #[test]
    fn what_is_not_text_is_refused_by_name() {
        let refused = |messages: Value, words: [&str; 2]| {
            let error = flatten(&messages).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        };
        let image = json!([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]);
        refused(json!([{"role": "user", "content": image}]), ["messages[0].content[1].type", "image_url"]);
        refused(json!([{"role": "user", "content": 5}]), ["messages[0].content", "a number"]);
        refused(json!([{"content": "x"}]), ["messages[0].role", "nothing"]);
        refused(json!(["hello"]), ["messages[0]", "a string"]);
        refused(json!({"role": "user"}), ["messages", "an object"]);
    }
}
