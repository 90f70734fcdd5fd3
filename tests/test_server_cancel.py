"""A client that leaves frees its slot, a failure stays with its request, streams stay alive. Engine: the fake."""

import asyncio
import json
import threading
import time

import httpx
import openai
import pytest

from server_fake import FakeEngine, Running
from server_support import MODEL, chat_body, client, fake_server, idle, post, wait_until

CHAT = "/v1/chat/completions"


def says(script: str, **fields):
    return chat_body(messages=[{"role": "user", "content": f"SAY:{script}"}], **fields)


@pytest.fixture(scope="module")
def server():
    with fake_server(keep_alive_seconds=0.2) as (url, engine):
        yield url, engine


def test_leaving_a_stream_frees_its_slot(server):
    url, engine = server
    stream = client(url).chat.completions.create(**says("SLOW " + "x" * 3000, stream=True))
    for _ in range(3):
        next(stream)
    assert engine.stats()["running"] == 1
    stream.close()
    assert wait_until(lambda: idle(engine), 2)
    assert engine.cancelled


def test_leaving_before_a_whole_answer_frees_its_slot(server):
    url, engine = server
    before = len(engine.cancelled)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url + CHAT, json=says("HANG"), timeout=0.3)
    assert wait_until(lambda: idle(engine), 2)
    assert len(engine.cancelled) == before + 1


def test_leaving_an_embedding_or_a_batch_frees_its_slots():
    with fake_server(FakeEngine(max_sequences=2)) as (url, engine):
        with httpx.stream("POST", url + CHAT, json=says("SLOW " + "x" * 1000, stream=True)):
            prompts = ["SAY:HANG"] * 40
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url + "/v1/completions", json={"model": MODEL, "prompt": prompts}, timeout=0.3)
            assert wait_until(lambda: engine.stats()["running"] == 1, 2)
            assert engine.stats()["waiting"] == 0
        assert wait_until(lambda: idle(engine), 2)
        # No more than a window of one client's prompts ever reached the engine.
        assert len(engine.requests) < 40


def test_leaving_the_queue():
    engine = FakeEngine(max_sequences=1)
    with fake_server(engine, keep_alive_seconds=0.1) as (url, _):
        with httpx.stream("POST", url + CHAT, json=says("HANG", stream=True)):
            with httpx.stream("POST", url + CHAT, json=says("HANG", stream=True)):
                assert wait_until(lambda: engine.stats()["waiting"] == 1)
            assert wait_until(lambda: engine.stats()["waiting"] == 0, 2)
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url + CHAT, json=says("hello"), timeout=0.3)
            assert wait_until(lambda: engine.stats()["waiting"] == 0, 2)
            assert engine.stats()["running"] == 1
        assert wait_until(lambda: idle(engine), 2)


def test_a_cancelled_task_of_the_async_client(server):
    url, engine = server

    async def leave_early():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as api:
            stream = await api.chat.completions.create(**says("SLOW " + "x" * 3000, stream=True))
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
            task = asyncio.create_task(api.chat.completions.create(**says("HANG")))
            await asyncio.sleep(0.2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave_early())
    assert wait_until(lambda: idle(engine), 2)


def test_many_leave_and_nothing_is_left(server):
    url, engine = server

    def leave(index: int) -> None:
        with httpx.stream("POST", url + CHAT, json=says("SLOW " + "x" * 500, stream=True)) as response:
            for number, _ in enumerate(response.iter_lines()):
                if number > index % 7:
                    return

    threads = [threading.Thread(target=leave, args=(index,)) for index in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wait_until(lambda: idle(engine), 5)
    assert engine.stats()["kv_pages_used"] == 0


def test_silence_is_filled_with_comments(server):
    url, engine = server
    with httpx.stream("POST", url + CHAT, json=says("HANG", stream=True)) as response:
        assert response.status_code == 200
        started = time.monotonic()
        lines = response.iter_lines()
        comments = [line for line, _ in zip(lines, range(5), strict=False) if line.startswith(":")]
        assert len(comments) >= 2
        assert time.monotonic() - started < 3
    assert wait_until(lambda: idle(engine), 2)


def test_the_official_client_does_not_mind_comments():
    engine = FakeEngine(max_sequences=1)
    with fake_server(engine, keep_alive_seconds=0.05) as (url, _):
        first = threading.Thread(target=post, args=(url, CHAT, says("SLOW " + "x" * 20)))
        first.start()
        assert wait_until(lambda: engine.stats()["running"] == 1)
        chunks = list(client(url).chat.completions.create(**says("hello", stream=True)))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hello"
        first.join()


def test_a_failure_before_the_first_token_has_its_status(server):
    url, _ = server
    for stream in (False, True):
        response = post(url, CHAT, says("FAIL", stream=stream))
        assert response.status_code == 500
        assert response.json()["error"]["type"] == "server_error"


def test_a_failure_in_the_middle_of_a_stream_is_an_event():
    with fake_server(FakeEngine(fail_after=3)) as (url, engine):
        response = post(url, CHAT, says("FAIL abcdef", stream=True))
        assert response.status_code == 200
        events = [line.removeprefix("data: ") for line in response.text.split("\n") if line.startswith("data: ")]
        assert "error" in json.loads(events[-1])
        assert "[DONE]" not in response.text
        text = "".join(json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1])
        assert text == "abc"
        with pytest.raises(openai.APIError, match="told to fail"):
            list(client(url).chat.completions.create(**says("FAIL abcdef", stream=True)))
        assert idle(engine)


def test_a_failure_does_not_harm_the_neighbours(server):
    url, _ = server
    answers = []
    good = threading.Thread(target=lambda: answers.append(post(url, CHAT, says("SLOW " + "y" * 20))))
    good.start()
    for _ in range(5):
        assert post(url, CHAT, says("FAIL")).status_code == 500
    good.join()
    assert answers[0].json()["choices"][0]["message"]["content"] == "y" * 20


def test_an_event_that_makes_no_sense_harms_its_request_only(monkeypatch):
    def odd_usage(running):
        usage = usual(running)
        if bytes(running.request["tokens"]) == b"SAY:odd":
            del usage["queue_seconds"]
        return usage

    usual = Running.usage
    monkeypatch.setattr(Running, "usage", odd_usage)
    with fake_server() as (url, engine):
        bodies = [{"model": MODEL, "prompt": [*f"SAY:{word}".encode()]} for word in ("odd", "even")]
        assert post(url, "/v1/completions", bodies[0]).status_code == 500
        assert post(url, "/v1/completions", bodies[1]).json()["choices"][0]["text"] == "even"
        assert idle(engine)


def test_a_batch_larger_than_the_queue_goes_in_piece_by_piece():
    with fake_server(FakeEngine(max_sequences=2, max_queue=2)) as (url, engine):
        prompts = [f"SAY:{number}" for number in range(60)]
        answer = client(url).completions.create(model=MODEL, prompt=prompts)
        assert [choice.text for choice in answer.choices] == [str(number) for number in range(60)]
        assert [choice.index for choice in answer.choices] == list(range(60))
        assert idle(engine)


def test_streams_come_as_they_are_made(server):
    url, _ = server
    with httpx.stream("POST", url + CHAT, json=says("SLOW " + "z" * 20, stream=True)) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        times = [time.monotonic() for line in response.iter_lines() if '"content":"z"' in line]
    assert len(times) == 20
    # 20 tokens, 20 ms apart: an answer held back until its end would come all at once.
    assert times[-1] - times[0] > 0.2


def test_metrics_count_what_happened(server):
    url, engine = server
    post(url, CHAT, says("hello"))
    httpx.get(url + "/nothing/to/see")
    assert wait_until(lambda: idle(engine))
    text = httpx.get(url + "/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values[f'synapse_requests_running{{model="{MODEL}"}}']) == 0
    assert float(values[f'synapse_requests_waiting{{model="{MODEL}"}}']) == 0
    assert float(values[f'synapse_kv_pages_total{{model="{MODEL}"}}']) == 10_000
    assert float(values[f'synapse_completion_tokens_total{{model="{MODEL}"}}']) >= 5
    assert float(values[f'synapse_cached_tokens_total{{model="{MODEL}"}}']) > 0
    for name in ("time_to_first_token", "time_per_token", "request_duration", "queue_time"):
        assert float(values[f'synapse_{name}_seconds_count{{model="{MODEL}"}}']) >= 1
    ok = 'synapse_http_requests_total{method="POST",path="/v1/chat/completions",status="200"}'
    assert float(values[ok]) >= 1
    assert float(values['synapse_http_requests_total{method="GET",path="none",status="404"}']) >= 1
