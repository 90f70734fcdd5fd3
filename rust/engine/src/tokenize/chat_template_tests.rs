//! Templates held against Python's jinja2 set up by transformers, and templates that mean harm.
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};

use super::*;

fn golden(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens/chat_template").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn render(source: &str) -> Result<String> {
    ChatTemplate::new(source)?.render(&json!([{"role": "user", "content": "Hi"}]), ChatOptions::default())
}

#[test]
fn templates_render_as_in_transformers() {
    let golden_cases: Json = serde_json::from_str(&golden("expected.json")).unwrap();
    let cases = golden_cases["cases"].as_array().unwrap();
    assert!(cases.len() > 30, "{}", cases.len());
    for case in cases {
        let name = case["template"].as_str().unwrap();
        let mut template = ChatTemplate::new(&golden(name)).unwrap();
        let now: Zoned = golden_cases["now"].as_str().unwrap().parse().unwrap();
        template.environment.add_function("strftime_now", move |format: &str| strftime(&now, format));
        let options = ChatOptions {
            add_generation_prompt: case["add_generation_prompt"].as_bool().unwrap(),
            tools: Some(&case["tools"]).filter(|tools| !tools.is_null()),
            bos: Some("<s>"),
            eos: Some("</s>"),
        };
        let rendered = template.render(&case["messages"], options);
        match (case["rendered"].as_str(), case["refused"].as_str()) {
            (Some(expected), _) => assert_eq!(rendered.as_deref().ok(), Some(expected), "{name}: {case}\n{rendered:?}"),
            (None, Some(words)) => match rendered.unwrap_err() {
                Error::Request { param, reason } => assert_eq!((param.as_str(), reason.as_str()), ("messages", words)),
                other => panic!("{name}: {other:?}"),
            },
            (None, None) => panic!("{case}"),
        }
    }
}

#[test]
fn parts_of_text_reach_the_template_as_text() {
    let template = ChatTemplate::new("{{ messages[0].content }}|{{ messages[0].content is string }}").unwrap();
    let messages = json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]);
    assert_eq!(template.render(&messages, ChatOptions::default()).unwrap(), "a\nb|True");
}

#[test]
fn a_model_without_a_template_is_not_given_another() {
    let error = ChatTemplate::of_model(None, "base-135m").unwrap_err().to_string();
    assert!(error.contains("base-135m has no chat template") && error.contains("/v1/completions"), "{error}");
}

#[test]
fn errors_name_the_line() {
    let error = ChatTemplate::new("a\nb\n{% if %}").unwrap_err().to_string();
    assert!(error.contains("syntax error") && error.contains("line 3"), "{error}");
    let error = render("a\n{{ messages[7].content.text }}").unwrap_err().to_string();
    assert!(error.contains("undefined value") && error.contains("line 2"), "{error}");
}

#[test]
fn the_clock_is_asked() {
    let year = Zoned::now().year();
    let rendered: i16 = render("{{ strftime_now('%Y') }}").unwrap().parse().unwrap();
    assert!((year..=year + 1).contains(&rendered));
}

#[test]
fn marks_for_training_vanish_and_keep_their_whitespace_control() {
    assert_eq!(render("a {%- generation -%} b {% endgeneration %}c").unwrap(), "ab c");
    assert_eq!(render("{{ 'generation' }}{% generation %}!{%- endgeneration -%}  .").unwrap(), "generation!.");
}

/// `step`, very often, on a string and a list.
fn growing(step: &str) -> String {
    format!(
        "{{% set n = namespace(x=['a'], s='aaaa') %}}{{% for i in range(99999) %}}{step}{{% endfor %}}\
         {{{{ n.s }}}}{{{{ n.x }}}}"
    )
}

/// A list that holds a list, `depth` times, then `rest`.
fn nested(depth: usize, rest: &str) -> String {
    format!("{{% set n = namespace(x=[]) %}}{{% for i in range({depth}) %}}{{% set n.x = [n.x] %}}{{% endfor %}}{rest}")
}

/// Each would take the memory or the stack of the machine, or years, if it were let.
fn hostile() -> Vec<String> {
    let mut all: Vec<String> = [
        "{% set n.s = n.s ~ n.s %}",
        "{% set n.s = n.s + n.s %}",
        "{% set n.s = n.s.replace('a', n.s) %}",
        "{% set n.s = n.s|replace('a', n.s) %}",
        "{% set n.s = n.s.join([n.s, n.s, n.s]) %}",
        "{% set n.s = '{} {}'.format(n.s, n.s) %}",
        "{% set n.s = '%s%s'|format(n.s, n.s) %}",
        "{% set n.x = [n.x, n.x] %}",
        "{% set n.x = {'a': n.x, 'b': n.x} %}",
        "{% set n.x = [n.x, n.x] %}{% set n.s = n.x|string %}",
        "{% set n.x = [n.x, n.x] %}{% set n.s = n.x|tojson %}",
    ]
    .map(growing)
    .into();
    all.extend([nested(90_000, ""), nested(90_000, "{{ n.x }}"), nested(20_000, "{{ n.x|tojson }}")]);
    all.extend(
        [
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "{% set n = namespace(x=[], y=[]) %}{% for i in range(50) %}{% set n.x = [n.x, n.x] %}\
             {% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
            "{% set n = namespace() %}{% set n.n = n %}{{ n|tojson }}",
            "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
            "{{ 'x' * 10000000000 }}",
            "{{ range(1000000000000)|list }}",
            "{{ '{:>999999999}'.format(1) }}",
            "{{ '%999999999d'|format(1) }}",
            "{{ 'a'|indent(1000000000, true) }}",
            "{{ messages|tojson(indent=1000000000) }}{% for i in range(99999) %}{{ messages|tojson }}{% endfor %}",
        ]
        .map(str::to_owned),
    );
    all
}

#[test]
fn a_tag_that_never_closes_is_an_error_of_the_template() {
    for source in ["{%}", "a{%}b", "{% if true %}{%}", "{%", "{%%", "{%}{% generation %}"] {
        let error = ChatTemplate::new(source).unwrap_err();
        assert!(matches!(&error, Error::Model(reason) if reason.contains("syntax error")), "{source}: {error:?}");
    }
}

#[test]
fn hostile_templates_are_stopped() {
    for source in hostile() {
        let start = Instant::now();
        let outcome = render(&source);
        assert!(outcome.is_err(), "{source}: {} bytes", outcome.unwrap().len());
        assert!(start.elapsed() < Duration::from_secs(20), "{source}: {:?}", start.elapsed());
    }
}

#[test]
fn deep_sources_and_values_do_not_take_the_stack() {
    let deep = [
        format!("{{{{ {}1{} }}}}", "(".repeat(60_000), ")".repeat(60_000)),
        format!("{{{{ {}1{} }}}}", "[".repeat(60_000), "]".repeat(60_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(120_000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(30_000)),
        format!("{{{{ 1{} }}}}", "|string".repeat(18_000)),
        format!("{{{{ 1{} }}}}", "+1".repeat(60_000)),
        format!("{{{{ a{} }}}}", ".a".repeat(60_000)),
        "{% if true %}".repeat(10_000),
        nested(20_000, "{{ n.x ~ n.x }}"),
        nested(20_000, "{{ n.x == [n.x] }}"),
    ];
    for source in deep {
        // Some are well-formed: what counts is that the process lives.
        if let Ok(text) = render(&source) {
            assert!(text.len() < 1 << 20);
        }
    }
    let long = render(&"x".repeat(LONGEST_SOURCE + 1)).unwrap_err().to_string();
    assert!(long.contains("131072") && long.contains("131073"), "{long}");
}
