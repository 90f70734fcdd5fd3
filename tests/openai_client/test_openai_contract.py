"""The official `openai` client: models, embeddings, errors, asyncio, and what only a real model can show."""

import asyncio
import math
from typing import Any

import openai
import pytest

from server_support import QUESTION, REAL_MODEL, idle, wait_until


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
