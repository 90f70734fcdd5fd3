"""Soak test of the server: many requests of mixed kind and length, some abandoned, over many connections.

Starts `synapse up` on a free port of 127.0.0.1, and fails (exit status 1) if any request ends in a way that is not its
client's doing, if the server's memory grows, or if a slot or KV page is still taken in the end.

    python -m bench.soak smollm2-135m-instruct --requests 2000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

START_SECONDS = 300
END_SECONDS = 20
SAMPLE_SECONDS = 0.5
# Pools and arenas fill in the first half; from then on the memory must stay where it is.
GROWTH_SHARE = 0.03
GROWTH_BYTES = 16 * 2**20
WORDS = (
    "river",
    "stone",
    "light",
    "garden",
    "engine",
    "paper",
    "winter",
    "house",
    "signal",
    "music",
    "window",
    "market",
)
PREFIXES = ("You are a helpful assistant. ", "You answer in one sentence. ", "You are a poet who loves the sea. ")


@dataclass
class Tally:
    """What happened."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    """Ends that are not the client's doing."""
    rss: list[int] = field(default_factory=list)
    """Bytes of the server's memory, over time."""


class FaultError(Exception):
    """An answer that the client did not cause."""


@dataclass
class Target:
    """The server under test."""

    url: str
    model: str
    client: httpx.AsyncClient
    seconds: float
    """Patience with one request."""


async def chat_stream(target: Target, chance: random.Random) -> str:
    """A streamed chat; two of five are left in the middle."""
    leave_after = chance.randrange(1, 12) if chance.random() < 0.4 else None
    body = {"model": target.model, "messages": conversation(chance), "stream": True, **limits(chance)}
    parts = 0
    done = False
    async with target.client.stream("POST", target.url + "/v1/chat/completions", json=body) as response:
        await expect(response, 200)
        async for line in response.aiter_lines():
            if not line.startswith("data: "):
                continue
            if '"error"' in line[:12]:
                raise FaultError(f"error in a stream: {line[:200]}")
            done = line == "data: [DONE]"
            parts += 1
            if leave_after is not None and parts >= leave_after and not done:
                return "left a stream"
    if not done:
        raise FaultError("a stream without an end")
    return "streamed chat"


async def chat_whole(target: Target, chance: random.Random) -> str:
    """A chat in one piece; one of four is given up before it can be there."""
    body = {"model": target.model, "messages": conversation(chance), "n": chance.choice([1, 1, 1, 3]), **limits(chance)}
    timeout = chance.uniform(0.01, 0.3) if chance.random() < 0.25 else None
    try:
        response = await post(target, "/v1/chat/completions", body, timeout)
    except httpx.TimeoutException:
        if timeout is None:
            raise
        return "gave up on a chat"
    await expect(response, 200)
    choices = response.json()["choices"]
    if len(choices) != body["n"] or any(choice["finish_reason"] not in ("stop", "length") for choice in choices):
        raise FaultError(f"a chat with odd choices: {response.text[:200]}")
    return "whole chat"


async def completions(target: Target, chance: random.Random) -> str:
    """Several prompts in one request."""
    prompts = [text(chance, 40) for _ in range(chance.randrange(1, 5))]
    body = {"model": target.model, "prompt": prompts, "echo": True, "logprobs": 2, "max_tokens": 8}
    response = await post(target, "/v1/completions", body)
    await expect(response, 200)
    texts = [choice["text"] for choice in response.json()["choices"]]
    if not all(answer.startswith(prompt) for answer, prompt in zip(texts, prompts, strict=True)):
        raise FaultError("completions that do not begin with their prompts")
    return "completions"


async def embeddings(target: Target, chance: random.Random) -> str:
    """A few vectors."""
    inputs = [text(chance, 30) for _ in range(chance.randrange(1, 6))]
    response = await post(target, "/v1/embeddings", {"model": target.model, "input": inputs})
    await expect(response, 200)
    if len(response.json()["data"]) != len(inputs):
        raise FaultError("not as many vectors as inputs")
    return "embeddings"


async def mistake(target: Target, chance: random.Random) -> str:
    """A request that must be refused, and must harm no other."""
    body: dict[str, Any] = {"model": target.model, "messages": conversation(chance), "max_tokens": 4}
    body |= chance.choice([{"temperature": 9}, {"tools": [{}]}, {"nonsense": 1}, {"n": 0}, {"max_tokens": 10**9}])
    response = await post(target, "/v1/chat/completions", body)
    await expect(response, 400)
    return "refused a mistake"


KINDS: list[tuple[Callable[[Target, random.Random], Coroutine[None, None, str]], int]] = [
    (chat_stream, 50), (chat_whole, 30), (completions, 7), (embeddings, 8), (mistake, 5),
]  # fmt: skip


def text(chance: random.Random, most: int) -> str:
    """Words."""
    return " ".join(chance.choices(WORDS, k=chance.randrange(1, most)))


def conversation(chance: random.Random) -> list[dict[str, str]]:
    """Mostly short, sometimes long; beginnings repeat, so that prefixes are shared."""
    words = chance.choices([10, 40, 300], [70, 25, 5])[0]
    turns = [{"role": "system", "content": chance.choice(PREFIXES)}, {"role": "user", "content": text(chance, words)}]
    if chance.random() < 0.3:
        turns += [{"role": "assistant", "content": "I see."}, {"role": "user", "content": text(chance, words)}]
    return turns


def limits(chance: random.Random) -> dict[str, Any]:
    """Lengths and sampling of all kinds."""
    sampling: dict[str, Any] = chance.choice(
        [{}, {"temperature": 0}, {"top_k": 20}, {"min_p": 0.1, "repetition_penalty": 1.2}]
    )
    stop: dict[str, Any] = chance.choice([{}, {}, {"stop": [".", "\n"]}])
    return {"max_tokens": chance.choice([1, 8, 16, 32, 64]), "seed": chance.randrange(1000), **sampling, **stop}


async def post(target: Target, path: str, body: dict[str, Any], timeout: float | None = None) -> httpx.Response:
    """A request in one piece."""
    request = target.client.build_request("POST", target.url + path, json=body, timeout=timeout or target.seconds)
    return await target.client.send(request)


async def expect(response: httpx.Response, status: int) -> None:
    """Raises FaultError for any other status."""
    if response.status_code != status:
        said = (await response.aread()).decode(errors="replace")
        raise FaultError(f"status {response.status_code} instead of {status}: {said[:200]}")


async def soak(target: Target, options: argparse.Namespace, pid: int) -> Tally:
    """All requests, over ``connections`` at a time."""
    tally = Tally()
    numbers = iter(range(options.requests))
    deadline = time.monotonic() + options.seconds

    async def worker() -> None:
        for number in numbers:
            if time.monotonic() > deadline:
                tally.faults[f"not all requests were made in {options.seconds:g} s"] = 1
                return
            await one(target, random.Random(options.seed + number), tally)
            if options.progress and (number + 1) % 100 == 0:
                print(f"{number + 1} requests, {tally.rss[-1] / 2**20:.0f} MiB", file=sys.stderr, flush=True)

    sampler = asyncio.create_task(sample(pid, tally))
    await asyncio.sleep(0)
    await asyncio.gather(*(worker() for _ in range(options.connections)))
    sampler.cancel()
    tally.faults.update(await left_over(target))
    return tally


async def one(target: Target, chance: random.Random, tally: Tally) -> None:
    """One request of a random kind."""
    kinds, weights = zip(*KINDS, strict=True)
    kind = chance.choices(kinds, weights)[0]
    try:
        tally.outcomes[await kind(target, chance)] += 1
    except FaultError as fault:
        tally.faults[f"{kind.__name__}: {fault}"] += 1
    except httpx.HTTPError as error:
        tally.faults[f"{kind.__name__}: {type(error).__name__}: {error}"] += 1


async def sample(pid: int, tally: Tally) -> None:
    """Notes the server's memory again and again."""
    while True:
        tally.rss.append(resident_bytes(pid))
        await asyncio.sleep(SAMPLE_SECONDS)


def resident_bytes(pid: int) -> int:
    """Memory of a process, as ps has it."""
    said = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(said.stdout) * 1024


async def left_over(target: Target) -> Counter[str]:
    """What is still taken a while after the last request."""
    deadline = time.monotonic() + END_SECONDS
    names = ("synapse_requests_running", "synapse_requests_waiting", "synapse_kv_pages_used")
    while True:
        values = metrics((await target.client.get(target.url + "/metrics")).text)
        taken = Counter({f"{name} is {values[name]:g} in the end": 1 for name in names if values[name]})
        if not taken or time.monotonic() > deadline:
            return taken
        await asyncio.sleep(0.1)


def metrics(text: str) -> dict[str, float]:
    """Values by name; of a single model's server, so labels do not matter."""
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name.partition("{")[0]: float(value) for name, value in rows}


def growth(rss: list[int]) -> tuple[int, int]:
    """Typical memory in the third and in the last quarter of the time."""
    quarter = max(len(rss) // 4, 1)
    return int(median(rss[2 * quarter : 3 * quarter] or rss)), int(median(rss[-quarter:]))


@contextlib.contextmanager
def server(model: str, context: int | None) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`synapse up`, ended as a user would end it."""
    command = [sys.executable, "-m", "synapse_engine.cli", "up", model, "--port", "0", "--json"]
    command += ["--ctx", str(context)] if context else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process, announced(process)
    finally:
        process.terminate()
        process.wait(END_SECONDS)


def announced(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the server says when it is ready."""
    said = ""
    deadline = time.monotonic() + START_SECONDS
    while process.stdout is not None and time.monotonic() < deadline and (line := process.stdout.readline()):
        said += line
        with contextlib.suppress(json.JSONDecodeError):
            return dict(json.loads(said))
    raise SystemExit("the server did not start")


async def run(url: str, model: str, options: argparse.Namespace, pid: int) -> Tally:
    """The soak with its client."""
    limits = httpx.Limits(max_connections=options.connections)
    async with httpx.AsyncClient(limits=limits, timeout=options.seconds) as client:
        return await soak(Target(url, model, client, options.seconds), options, pid)


def report(tally: Tally, seconds: float) -> bool:
    """Prints what happened; True if all is well."""
    before, after = growth(tally.rss)
    limit = before + max(before * GROWTH_SHARE, GROWTH_BYTES)
    if after > limit:
        tally.faults[f"memory grew from {before / 2**20:.0f} to {after / 2**20:.0f} MiB"] = 1
    result = {
        "seconds": round(seconds, 1),
        "outcomes": dict(tally.outcomes),
        "memory_mib": {"third_quarter": before >> 20, "last_quarter": after >> 20, "peak": max(tally.rss) >> 20},
        "faults": dict(tally.faults),
    }
    print(json.dumps(result, indent=2))
    return not tally.faults


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="smollm2-135m-instruct", help="name or path")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument(
        "--ctx",
        type=int,
        help="context length of the server; in a short soak a small one, so that its KV pages fill early",
    )
    parser.add_argument("--seconds", type=float, default=3600, help="give up after this long")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same requests")
    parser.add_argument("--progress", action="store_true")
    options = parser.parse_args()
    with server(options.model, options.ctx) as (process, ready):
        begun = time.monotonic()
        tally = asyncio.run(run(ready["url"], ready["model"], options, process.pid))
        well = report(tally, time.monotonic() - begun)
    if process.returncode:
        sys.exit(f"the server ended with status {process.returncode}")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
