"""The public Python interface against the real model: answers, streaming, threads, asyncio, cancellation, errors."""

import asyncio
import gc
import math
import threading
import time
from collections.abc import Callable

import pytest

import synapse_engine
from synapse_engine import ClosedError, ContextLengthError, Engine, EngineError, FileError, FormatError, RequestError

QUESTION = "What is the capital of France? Answer in one word."
# Long enough that it cannot end by itself while a test looks at it.
ENDLESS = {"max_tokens": 2000, "ignore_eos": True, "temperature": 0}


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def idle(engine: Engine) -> bool:
    return engine.stats["running"] == 0 and engine.stats["waiting"] == 0


def test_chat_answers_a_question(engine):
    answer = engine.chat(QUESTION, temperature=0, max_tokens=20)
    assert "Paris" in answer.text
    assert answer.finish_reason == "stop"
    assert str(answer) == answer.text


def test_chat_continues_what_the_model_s_template_makes_of_the_messages(engine):
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "My name is Marguerite."},
        {"role": "assistant", "content": "Nice to meet you, Marguerite!"},
        {"role": "user", "content": "What is my name?"},
    ]
    rendered = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in messages)
    chat = engine.chat(messages, temperature=0, max_tokens=20)
    written = engine.generate(rendered + "<|im_start|>assistant\n", temperature=0, max_tokens=20)
    assert (chat.text, chat.usage.prompt_tokens) == (written.text, written.usage.prompt_tokens)


def test_generate_continues_a_text(engine):
    answer = engine.generate("The capital of France is", temperature=0, max_tokens=8)
    assert "Paris" in answer.text
    assert answer.finish_reason == "length"
    assert answer.usage.completion_tokens == 8
    assert answer.usage.prompt_tokens == len(engine.tokenize("The capital of France is"))
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8
    assert answer.usage.total_seconds >= answer.usage.first_token_seconds > 0


def test_stream_gives_the_same_text_in_pieces(engine):
    whole = engine.generate("Once upon a time", temperature=0, max_tokens=24)
    stream = engine.stream("Once upon a time", temperature=0, max_tokens=24)
    pieces = list(stream)
    assert len(pieces) > 5
    assert "".join(pieces) == whole.text == stream.result.text
    assert stream.result.finish_reason == "length"
    assert stream.result.usage.completion_tokens == 24


def test_stream_of_messages_is_a_chat(engine):
    messages = [{"role": "user", "content": QUESTION}]
    assert "".join(engine.stream(messages, temperature=0, max_tokens=20)) == (
        engine.chat(QUESTION, temperature=0, max_tokens=20).text
    )


def test_seed_makes_sampling_repeatable(engine):
    def sample(seed):
        return engine.generate("Once upon a time", temperature=1.2, seed=seed, max_tokens=16).text

    assert sample(7) == sample(7)
    assert len({sample(seed) for seed in range(4)}) > 1


def test_stop_text_ends_the_answer_before_it(engine):
    whole = engine.generate("One, two, three, four,", temperature=0, max_tokens=24).text
    stop = whole.split()[2]
    stopped = engine.generate("One, two, three, four,", temperature=0, max_tokens=24, stop=stop)
    assert stopped.finish_reason == "stop"
    assert stopped.text == whole[: whole.index(stop)]


def test_logprobs_are_those_of_greedy_choice(engine):
    answer = engine.generate("The capital of France is", temperature=0, max_tokens=6, logprobs=3)
    assert "".join(token.text for token in answer.tokens) == answer.text
    for token in answer.tokens:
        assert token.logprob <= 0
        assert len(token.top) == 3
        assert token.top[0].id == token.id
        assert token.top[0].logprob == pytest.approx(token.logprob)
        assert token.top[0].logprob >= token.top[1].logprob >= token.top[2].logprob
        assert sum(math.exp(choice.logprob) for choice in token.top) <= 1 + 1e-4


def test_logit_bias_forbids_and_forces(engine):
    first = engine.generate("The capital of France is", temperature=0, max_tokens=1, logprobs=0).tokens[0].id
    forbidden = engine.generate(
        "The capital of France is", temperature=0, max_tokens=1, logprobs=0, logit_bias={first: -100}
    )
    assert forbidden.tokens[0].id != first
    forced = engine.generate("The capital of France is", temperature=0, max_tokens=1, logprobs=0, logit_bias={42: 100})
    assert forced.tokens[0].id == 42


def test_score_agrees_with_generation(engine):
    prompt = "The capital of France is"
    answer = engine.generate(prompt, temperature=0, max_tokens=2, logprobs=0)
    scored = engine.score(prompt + answer.text, top=2)
    assert scored[0].logprob is None
    assert [token.id for token in scored] == engine.tokenize(prompt + answer.text)
    for generated, token in zip(answer.tokens, scored[-2:], strict=True):
        assert token.id == generated.id
        assert token.logprob == pytest.approx(generated.logprob, abs=1e-3)
        assert len(token.top) == 2


def test_embeddings_have_length_one_and_know_what_is_alike(engine):
    cat, kitten, invoice = engine.embed(
        ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Invoice no. 4711 is due in 30 days."]
    )

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert len(cat) == engine.info["hidden_size"]
    assert cosine(cat, cat) == pytest.approx(1)
    assert cosine(cat, kitten) > cosine(cat, invoice)
    assert engine.embed("The cat sleeps on the sofa.")[0] == pytest.approx(cat, abs=1e-5)


@pytest.mark.parametrize("text", ["Hello, world!", "  two  spaces\n\n", "naïve café 日本語 🦀 مرحبا"])
def test_detokenize_undoes_tokenize(engine, text):
    assert engine.detokenize(engine.tokenize(text, add_special=False)) == text


def test_info_describes_the_model(engine):
    info = engine.info
    assert info["layers"] == 30
    assert info["hidden_size"] == 576
    assert info["context_length"] == 8192
    assert info["chat_template"] is True
    assert info["format"] == "gguf"


def test_threads_share_the_engine(engine):
    alone = [engine.generate(f"{n} is a number that", temperature=0, max_tokens=12).text for n in range(6)]
    together = [""] * 6

    def run(n):
        together[n] = engine.generate(f"{n} is a number that", temperature=0, max_tokens=12).text

    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_other_threads_run_while_the_engine_computes(engine):
    """Were the GIL held, the counter would stand still for the whole generation."""
    counted, stop = 0, threading.Event()

    def count():
        nonlocal counted
        while not stop.is_set():
            counted += 1
            time.sleep(0.001)

    counter = threading.Thread(target=count)
    counter.start()
    started = time.monotonic()
    engine.generate("Once upon a time", temperature=0, max_tokens=40, ignore_eos=True)
    elapsed = time.monotonic() - started
    stop.set()
    counter.join()
    assert counted > 100 * elapsed


def test_asyncio_runs_requests_side_by_side(engine):
    async def main():
        prompts = [f"{n} is a number that" for n in range(12)]
        return await asyncio.gather(*(engine.agenerate(p, temperature=0, max_tokens=12) for p in prompts))

    answers = asyncio.run(main())
    alone = [engine.generate(f"{n} is a number that", temperature=0, max_tokens=12).text for n in range(12)]
    assert [answer.text for answer in answers] == alone


def test_asyncio_streams_chat_and_keeps_the_loop_free(engine):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticker = asyncio.create_task(tick())
        messages = [{"role": "user", "content": QUESTION}]
        pieces = [piece async for piece in engine.astream(messages, temperature=0, max_tokens=20)]
        ticker.cancel()
        whole = await engine.achat(messages, temperature=0, max_tokens=20)
        return "".join(pieces), whole.text, ticks

    streamed, whole, ticks = asyncio.run(main())
    assert streamed == whole
    assert "Paris" in whole
    assert ticks > 5


def test_closing_a_stream_frees_its_slot(engine):
    stream = engine.stream("Once upon a time", **ENDLESS)
    next(stream)
    assert wait_until(lambda: engine.stats["running"] == 1)
    stream.close()
    assert wait_until(lambda: idle(engine))
    assert list(stream) == []
    assert stream.result.finish_reason == "cancelled"


def test_dropping_a_stream_frees_its_slot(engine):
    stream = engine.stream("Once upon a time", **ENDLESS)
    next(stream)
    assert wait_until(lambda: engine.stats["running"] == 1)
    del stream
    gc.collect()
    assert wait_until(lambda: idle(engine))


def test_leaving_an_async_stream_frees_its_slot(engine):
    async def main():
        stream = engine.astream("Once upon a time", **ENDLESS)
        await anext(stream)
        started = await asyncio.to_thread(wait_until, lambda: engine.stats["running"] == 1)
        await stream.aclose()
        return started

    assert asyncio.run(main())
    assert wait_until(lambda: idle(engine))


def test_cancelling_a_task_frees_its_slot(engine):
    async def main():
        task = asyncio.create_task(engine.agenerate("Once upon a time", **ENDLESS))
        await asyncio.to_thread(wait_until, lambda: engine.stats["running"] == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert wait_until(lambda: idle(engine))


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 1}, "min_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"logprobs": 21}, "top_logprobs"),
        ({"stop": [1]}, "stop"),
        ({"seed": 2**64}, "seed"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"repetition_penalty": 1e-38}, "repetition_penalty"),
        ({"logit_bias": {1: 101}}, "logit_bias"),
        ({"logit_bias": {10**6: 1}}, "logit_bias"),
        ({"stop_tokens": [-1]}, "stop_tokens"),
        ({"temprature": 0}, "temprature"),
    ],
)
def test_a_wrong_option_is_named(engine, options, param):
    with pytest.raises(RequestError) as caught:
        engine.generate("Hello", **options)
    assert caught.value.param == param
    assert param in str(caught.value)


def test_a_request_too_long_says_by_how_much(engine):
    with pytest.raises(ContextLengthError, match="8192") as caught:
        engine.generate("Hello", max_tokens=9000)
    assert isinstance(caught.value, RequestError)
    assert caught.value.hint


def test_an_unknown_device_is_refused(smollm2_path):
    with pytest.raises(RequestError, match="cuda") as caught:
        Engine(smollm2_path, device="cuda")
    assert caught.value.param == "device"


def test_the_environment_forces_a_kernel_set(smollm2_path, monkeypatch):
    monkeypatch.setenv("SYNAPSE_KERNELS", "portable")
    with Engine(smollm2_path, context_length=64) as engine:
        assert engine.info["kernels"] == "portable"
    monkeypatch.setenv("SYNAPSE_KERNELS", "abacus")
    with pytest.raises(RequestError, match="`abacus`") as caught:
        Engine(smollm2_path)
    assert caught.value.param == "SYNAPSE_KERNELS"


@pytest.mark.parametrize("kv_tokens", [10**15, 2**63, 2**64 - 1])
def test_more_context_than_memory_is_refused(smollm2_path, kv_tokens):
    with pytest.raises(RequestError, match="more memory than there is") as caught:
        Engine(smollm2_path, kv_tokens=kv_tokens)
    assert caught.value.param == "kv_tokens"


def test_files_that_are_no_models_are_refused(tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\xff" * 64)
    with pytest.raises(FormatError, match=r"damaged\.gguf") as caught:
        Engine(damaged)
    assert caught.value.hint
    with pytest.raises(FileError, match=r"nothing\.gguf"):
        Engine(tmp_path / "nothing.gguf")


def test_a_closed_engine_says_so_and_ends_its_streams(smollm2_path):
    engine = Engine(smollm2_path)
    stream = engine.stream("Once upon a time", **ENDLESS)
    next(stream)
    engine.close()
    engine.close()
    with pytest.raises(ClosedError):
        engine.generate("Hello")
    with pytest.raises(ClosedError):
        stream.finish()


def test_every_error_is_an_engine_error():
    classes = [getattr(synapse_engine, name) for name in synapse_engine.__all__ if name.endswith("Error")]
    assert len(classes) == 11
    assert all(issubclass(cls, EngineError) for cls in classes)
