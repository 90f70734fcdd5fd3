"""The official `openai` client: chat completions, whole and streamed, over both engines.

The real model shows that fields do what they say; the fake one, whose answers are known, that nothing gets lost.
"""

import threading
from typing import Any

from server_support import QUESTION


def text_of(stream: Any) -> str:
    return "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)


def test_chat(server):
    answer = server.chat()
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == server.model
    assert answer.created > 1_600_000_000
    assert answer.system_fingerprint == server.chat().system_fingerprint
    (choice,) = answer.choices
    assert (choice.index, choice.message.role, choice.logprobs) == (0, "assistant", None)
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 < usage.completion_tokens <= 16
    assert answer._request_id.startswith("req_")


def test_a_stream_says_the_same_in_pieces(server):
    chunks = list(server.chat(stream=True, max_tokens=24, messages=[{"role": "user", "content": "Tell me a story."}]))
    whole = server.chat(max_tokens=24, messages=[{"role": "user", "content": "Tell me a story."}])
    assert text_of(chunks) == whole.choices[0].message.content
    assert len(chunks) > 10
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk.system_fingerprint for chunk in chunks} == {whole.system_fingerprint}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert reasons[:-1] == [None] * (len(chunks) - 1)
    assert reasons[-1] == whole.choices[0].finish_reason
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_its_usage_if_asked(server):
    chunks = list(server.chat(stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens == server.chat().usage.prompt_tokens
    assert chunks[-1].usage.completion_tokens == server.chat().usage.completion_tokens
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks[:-1])


def test_max_tokens(server):
    for field in ("max_tokens", "max_completion_tokens"):
        answer = server.api.chat.completions.create(
            model=server.model,
            messages=[{"role": "user", "content": "Count to one hundred."}],
            temperature=0,  # now and then a sampled answer is shorter than that
            **{field: 5},
        )
        assert answer.usage.completion_tokens == 5
        assert answer.choices[0].finish_reason == "length"


def test_stop(server):
    plain = server.complete(max_tokens=20).choices[0].text
    word = plain.split()[2]
    for stop in (word, [word, "never said"]):
        choice = server.complete(max_tokens=20, stop=stop).choices[0]
        assert choice.text == plain[: plain.index(word)]
        assert choice.finish_reason == "stop"
    chunks = list(server.complete(max_tokens=20, stop=word, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == plain[: plain.index(word)]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_seed(server):
    def say(seed: int | None) -> str:
        return server.chat(seed=seed, temperature=1.5, max_tokens=20).choices[0].message.content

    assert say(1) == say(1)
    assert len({say(seed) for seed in range(4)}) > 1


def test_a_seed_holds_while_others_run(server):
    alone = server.chat(seed=7, temperature=1, max_tokens=24).choices[0].message.content
    others = [
        threading.Thread(target=server.complete, kwargs={"prompt": f"Number {n} is", "max_tokens": 40})
        for n in range(6)
    ]
    for other in others:
        other.start()
    together = [server.chat(seed=7, temperature=1, max_tokens=24).choices[0].message.content for _ in range(3)]
    for other in others:
        other.join()
    assert together == [alone] * 3


def test_n(server):
    answer = server.chat(n=3, temperature=1.5, seed=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1
    single = server.chat()
    assert answer.usage.prompt_tokens == single.usage.prompt_tokens
    texts = ["", "", ""]
    roles = [0, 0, 0]
    for chunk in server.chat(n=3, temperature=1.5, seed=3, stream=True):
        choice = chunk.choices[0]
        texts[choice.index] += choice.delta.content or ""
        roles[choice.index] += choice.delta.role is not None
    assert texts == [choice.message.content for choice in answer.choices]
    assert roles == [1, 1, 1]


def test_logprobs(server):
    answer = server.chat(logprobs=True, top_logprobs=3, max_tokens=6)
    content = answer.choices[0].logprobs.content
    assert len(content) >= answer.usage.completion_tokens - 1
    assert b"".join(bytes(token.bytes) for token in content).decode().startswith(answer.choices[0].message.content)
    for token in content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        logprobs = [top.logprob for top in token.top_logprobs]
        assert logprobs == sorted(logprobs, reverse=True)
    streamed = [
        token
        for chunk in server.chat(logprobs=True, top_logprobs=3, max_tokens=6, stream=True)
        if chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]
    assert streamed == content
    assert server.chat(logprobs=True).choices[0].logprobs.content[0].top_logprobs == []


def test_a_conversation_goes_on(server):
    messages = [*QUESTION]
    first = server.chat(messages=messages)
    # The message goes back as it came, with all its fields.
    messages += [first.choices[0].message, {"role": "user", "content": "And of Italy?"}]
    second = server.chat(messages=messages)
    assert second.usage.prompt_tokens > first.usage.prompt_tokens
    assert second.usage.prompt_tokens_details.cached_tokens > 0


def test_parts_roles_and_names(server):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "Hello."}]},
    ]
    system = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}]
    assert (
        server.chat(messages=messages).choices[0].message.content
        == server.chat(messages=system).choices[0].message.content
    )


def test_extra_sampling_fields(server):
    extra = {"top_k": 5, "min_p": 0.05, "typical_p": 0.9, "repetition_penalty": 1.1}
    answer = server.chat(
        temperature=0.8, top_p=0.9, presence_penalty=0.1, frequency_penalty=0.1, seed=1, user="ann", extra_body=extra
    )
    assert answer.choices[0].message.content
