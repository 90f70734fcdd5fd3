"""The official `openai` client against a running server: every endpoint, whole and streamed, over both engines.

The real model shows that fields do what they say; the fake one, whose answers are known, that nothing gets lost.
"""

import asyncio
import math
import threading
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from server_fake import FakeEngine
from server_support import MODEL, client, fake_server, idle, running, wait_until

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
REAL_MODEL = "smollm2-135m-instruct"


@dataclass
class Server:
    url: str
    model: str
    engine: Any
    api: openai.OpenAI

    def chat(self, **fields: Any) -> Any:
        fields = {"messages": QUESTION, "max_tokens": 16, "temperature": 0, **fields}
        return self.api.chat.completions.create(model=self.model, **fields)

    def complete(self, **fields: Any) -> Any:
        fields = {"prompt": "Once upon a time", "max_tokens": 16, "temperature": 0, **fields}
        return self.api.completions.create(model=self.model, **fields)


@pytest.fixture(scope="module")
def fake():
    with fake_server(FakeEngine()) as (url, engine), client(url) as api:
        yield Server(url, MODEL, engine, api)


@pytest.fixture(scope="module")
def real(engine, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # What this machine's user taught the router must not count.
        patch.setenv("SYNAPSE_HOME", str(tmp_path_factory.mktemp("home")))
        yield from real_server(engine)


def real_server(engine):
    with running({REAL_MODEL: engine.native}, aliases={"gpt-4o-mini": REAL_MODEL}) as url, client(url) as api:
        yield Server(url, REAL_MODEL, engine.native, api)


@pytest.fixture(params=["fake", "real"])
def server(request):
    return request.getfixturevalue(request.param)


def text_of(stream: Any) -> str:
    return "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)


# Chat completions


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


# Completions


def test_completion(server):
    answer = server.complete()
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-")
    assert answer.model == server.model
    assert answer.choices[0].text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 16
    assert "".join(chunk.choices[0].text for chunk in server.complete(stream=True)) == answer.choices[0].text


def test_prompts_in_all_forms(server):
    texts = ["Once upon a time", "The sea is"]
    tokens = [server.engine.tokenize(text) for text in texts]
    one = server.complete(prompt=texts[0]).choices[0].text
    many = server.complete(prompt=texts)
    assert [choice.index for choice in many.choices] == [0, 1]
    assert many.choices[0].text == one == server.complete(prompt=tokens[0]).choices[0].text
    assert [choice.text for choice in server.complete(prompt=tokens).choices] == [
        choice.text for choice in many.choices
    ]
    streamed = ["", ""]
    for chunk in server.complete(prompt=texts, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
    assert streamed == [choice.text for choice in many.choices]
    assert chunk.usage.total_tokens == many.usage.total_tokens


def test_echo_and_logprobs(server):
    prompt = "Once upon a time"
    plain = server.complete(logprobs=2, max_tokens=6)
    echoed = server.complete(logprobs=2, max_tokens=6, echo=True)
    assert echoed.choices[0].text == prompt + plain.choices[0].text
    logprobs = echoed.choices[0].logprobs
    sizes = {len(getattr(logprobs, name)) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}
    assert len(sizes) == 1
    assert "".join(logprobs.tokens) == echoed.choices[0].text
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        assert echoed.choices[0].text[offset : offset + len(token)] == token
    assert logprobs.tokens[-6:] == plain.choices[0].logprobs.tokens
    assert all(len(top) in (2, 3) for top in plain.choices[0].logprobs.top_logprobs)


def test_best_of(server):
    answer = server.complete(best_of=3, n=1, temperature=1, seed=5, max_tokens=8)
    assert len(answer.choices) == 1
    assert answer.usage.completion_tokens > 8


# Models, embeddings, errors


def test_models(server):
    card, routing, *specialists = server.api.models.list().data
    assert (card.id, card.object) == (server.model, "model")
    assert server.api.models.retrieve(server.model) == card
    assert routing.id == "synapse"
    assert "synapse/math" in [specialist.id for specialist in specialists]
    assert server.api.models.retrieve("synapse/math") in specialists
    with pytest.raises(openai.NotFoundError) as caught:
        server.api.models.retrieve("gpt-4")
    assert caught.value.code == "model_not_found"


def test_embeddings(server):
    texts = ["A cat sat on the mat.", "Dogs bark."]
    encoded = server.api.embeddings.create(model=server.model, input=texts)
    plain = server.api.embeddings.create(model=server.model, input=texts, encoding_format="float")
    assert [entry.index for entry in plain.data] == [0, 1]
    for one, other in zip(encoded.data, plain.data, strict=True):
        assert math.isclose(math.fsum(value * value for value in other.embedding), 1, rel_tol=1e-5)
        assert all(
            math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-7) for a, b in zip(one.embedding, other.embedding, strict=True)
        )
    tokens = [server.engine.tokenize(text) for text in texts]
    by_tokens = server.api.embeddings.create(model=server.model, input=tokens, encoding_format="float")
    assert by_tokens.data == plain.data
    assert by_tokens.usage.prompt_tokens == sum(map(len, tokens))


def test_errors_are_the_clients_own(server):
    with pytest.raises(openai.NotFoundError) as missing:
        server.api.chat.completions.create(model="gpt-4", messages=QUESTION)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as long:
        server.chat(messages=[{"role": "user", "content": "word " * 20_000}])
    assert (long.value.code, long.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(openai.BadRequestError) as tools:
        server.chat(tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
    assert (tools.value.code, tools.value.param) == ("unsupported_parameter", "tools")
    with pytest.raises(openai.BadRequestError) as streamed:
        server.chat(stream=True, response_format={"type": "json_object"})
    assert streamed.value.param == "response_format"


# asyncio


def test_the_async_client(server):
    async def talk() -> tuple[list[Any], list[str]]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as api:
            fields = {"model": server.model, "messages": QUESTION, "max_tokens": 12, "temperature": 0}
            answers = await asyncio.gather(*(api.chat.completions.create(**fields) for _ in range(12)))
            stream = await api.chat.completions.create(stream=True, **fields)
            return answers, [chunk.choices[0].delta.content or "" async for chunk in stream]

    answers, pieces = asyncio.run(talk())
    assert len({answer.choices[0].message.content for answer in answers}) == 1
    assert "".join(pieces) == answers[0].choices[0].message.content


def test_leaving_frees_the_slot(server):
    slow = [{"role": "user", "content": "SAY:SLOW and very long"}]
    fields = {"messages": slow, "extra_body": {"ignore_eos": True}, "max_tokens": 2000}
    stream = server.chat(stream=True, **fields)
    for _ in range(5):
        next(stream)
    assert not idle(server.engine)
    stream.close()
    assert wait_until(lambda: idle(server.engine), 5)
    impatient = server.api.with_options(timeout=0.5, max_retries=0)
    with pytest.raises(openai.APITimeoutError):
        impatient.chat.completions.create(model=server.model, **fields)
    assert wait_until(lambda: idle(server.engine), 5)


# What only a real model can show


def test_the_real_model_knows_the_answer(real):
    assert "Paris" in real.chat().choices[0].message.content
    assert real.chat().choices[0].finish_reason == "stop"


def test_logit_bias_decides(real):
    (token,) = real.engine.tokenize(" blue", add_special=False)
    answer = real.complete(logit_bias={str(token): 100}, max_tokens=3)
    assert answer.choices[0].text == " blue blue blue"
    usual = real.complete(max_tokens=1).choices[0].text
    (banned,) = real.engine.tokenize(usual, add_special=False)
    assert real.complete(max_tokens=1, logit_bias={str(banned): -100}).choices[0].text != usual


def test_the_alias(real):
    answer = real.api.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, max_tokens=3)
    assert answer.model == REAL_MODEL


@pytest.mark.parametrize(
    ("text", "specialist"),
    [
        ("What is 35% of 480? Show your working.", "math"),
        ("Write a SQL query that counts the orders of each customer.", "sql"),
        ("Why does my Python loop raise KeyError: 'name'?", "code"),
        ("Translate 'good morning, my friend' into Spanish.", "language"),
    ],
)
def test_the_right_specialist_answers(real, text, specialist):
    fields = {"model": "synapse", "messages": [{"role": "user", "content": text}], "max_tokens": 4}
    answer = real.api.chat.completions.create(**fields)
    assert (answer.model, answer.synapse["specialist"]) == (f"synapse/{specialist}", specialist)
    assert answer.synapse["probabilities"][specialist] == max(answer.synapse["probabilities"].values())
    *_, last = real.api.chat.completions.create(stream=True, **fields)
    assert last.synapse["specialist"] == specialist
    several = real.api.chat.completions.create(extra_body={"synapse": {"mode": "parallel", "k": 4}}, **fields)
    assert several.synapse["candidates"][0]["specialist"] == specialist
    assert len(several.synapse["candidates"]) == 4


def test_similar_texts_have_similar_vectors(real):
    texts = ["A cat sat on the mat.", "A kitten lay on the rug.", "Interest rates rose by two percent in March."]
    cat, kitten, rates = (entry.embedding for entry in real.api.embeddings.create(model=REAL_MODEL, input=texts).data)

    def similarity(one: list[float], other: list[float]) -> float:
        return math.fsum(a * b for a, b in zip(one, other, strict=True))

    assert similarity(cat, kitten) > similarity(cat, rates)
