"""What completions do and chat does not: four forms of prompts, echo, scores, the best of several. Engine: the fake."""

import json

import pytest

from server_support import COMPLETIONS, assert_refused, completion_body, fake_server, post


@pytest.fixture(scope="module")
def server():
    with fake_server() as (url, engine):
        yield url, engine


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("ab", [[257, 97, 98]]),
        (["ab", "c"], [[257, 97, 98], [257, 99]]),
        ([97, 98], [[97, 98]]),
        ([[97], [98, 99]], [[97], [98, 99]]),
    ],
)
def test_the_four_forms_of_a_prompt(server, prompt, wanted):
    url, engine = server
    before = len(engine.requests)
    answer = post(url, COMPLETIONS, completion_body(prompt=prompt)).json()
    assert [request["tokens"] for request in engine.requests[before:]] == wanted
    assert len(answer["choices"]) == len(wanted)
    assert answer["usage"]["prompt_tokens"] == sum(map(len, wanted))


def test_completions_are_short_unless_told_otherwise(server):
    url, _ = server
    answer = post(url, COMPLETIONS, completion_body(prompt="x")).json()
    assert answer["usage"]["completion_tokens"] == 16
    assert answer["choices"][0]["finish_reason"] == "length"


def test_echo(server):
    url, _ = server
    answer = post(url, COMPLETIONS, completion_body(prompt=["SAY:ü", "SAY:x"], echo=True, n=2)).json()
    assert [choice["text"] for choice in answer["choices"]] == ["SAY:üü", "SAY:üü", "SAY:xx", "SAY:xx"]
    answer = post(url, COMPLETIONS, completion_body(prompt=[83, 65, 89, 58, 120], echo=True)).json()
    assert answer["choices"][0]["text"] == "SAY:xx"
    events = post(url, COMPLETIONS, completion_body(prompt="SAY:x", echo=True, stream=True)).text.split("\n\n")
    assert json.loads(events[0].removeprefix("data: "))["choices"][0]["text"] == "SAY:x"


def test_echo_with_logprobs_scores_the_prompt(server):
    url, _ = server
    answer = post(url, COMPLETIONS, completion_body(prompt="SAY:z", echo=True, logprobs=2, max_tokens=1)).json()
    logprobs = answer["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["S", "A", "Y", ":", "z", "z"]
    assert logprobs["token_logprobs"] == [-1, -2, -3, -4, -5, -0.5]
    assert logprobs["text_offset"] == [0, 1, 2, 3, 4, 5]
    assert logprobs["top_logprobs"][5] == {"A": -1, "B": -2, "z": -0.5}
    assert answer["usage"]["prompt_tokens"] == 6


def test_echo_alone_only_scores(server):
    url, engine = server
    answer = post(url, COMPLETIONS, completion_body(prompt=[65, 66], echo=True, logprobs=0, max_tokens=0)).json()
    assert engine.requests[-1]["task"] == "score"
    choice = answer["choices"][0]
    assert choice["text"] == "AB"
    assert choice["logprobs"]["token_logprobs"] == [None, -1]
    assert choice["logprobs"]["top_logprobs"] == [None, {"B": -1}]
    assert answer["usage"]["completion_tokens"] == 0


def test_best_of_keeps_the_likeliest(server):
    url, engine = server
    answer = post(url, COMPLETIONS, completion_body(best_of=4, n=2, logprobs=0, temperature=1)).json()
    assert engine.requests[-1]["choices"] == 4
    # The fake finds its first choices likelier than the later ones.
    assert [choice["logprobs"]["token_logprobs"][0] for choice in answer["choices"]] == [-0.5, -0.6]
    assert answer["usage"]["completion_tokens"] == 4 * len("hello")
    assert_refused(post(url, COMPLETIONS, completion_body(best_of=1, n=2)), "best_of")
    assert_refused(post(url, COMPLETIONS, completion_body(best_of=2, stream=True)), "best_of")


def test_what_a_stream_cannot_do_is_refused(server):
    url, _ = server
    assert_refused(post(url, COMPLETIONS, completion_body(echo=True, logprobs=1, stream=True)), "echo")
    assert_refused(post(url, COMPLETIONS, completion_body(echo=True, max_tokens=0, stream=True)), "max_tokens")


def test_offsets_count_characters(server):
    url, _ = server
    answer = post(url, COMPLETIONS, completion_body(prompt="SAY:aü€b", logprobs=0)).json()
    logprobs = answer["choices"][0]["logprobs"]
    assert answer["choices"][0]["text"] == "aü€b"
    assert logprobs["text_offset"] == [0, 1, 1, 2, 2, 2, 3]
    assert logprobs["tokens"][:3] == ["a", "bytes:\\xc3", "bytes:\\xbc"]
