"""What a task is, and streams of tasks to learn from and to be judged by."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("arithmetic", "sql")


class Task(Protocol):
    """A request whose answers can be told right from wrong."""

    @property
    def request(self) -> str:
        """What the user says."""

    @property
    def answer(self) -> str:
        """A right answer, as a specialist should word it."""

    def right(self, reply: str) -> bool:
        """Whether a reply is right, however it is worded."""


def training(kind: str, count: int, seed: int) -> list[Task]:
    """Different tasks to learn from."""
    return _different(_maker(kind), count, random.Random(f"{kind} training {seed}"), held_out=False)


def held_out(kind: str, count: int, seed: int) -> list[Task]:
    """Different tasks to be judged by."""
    return _different(_maker(kind), count, random.Random(f"{kind} held out {seed}"), held_out=True)


def conversation(task: Task) -> dict[str, Any]:
    """As ``synapse train specialist`` reads it."""
    turns = [{"role": "user", "content": task.request}, {"role": "assistant", "content": task.answer}]
    return {"messages": turns}


def _maker(kind: str) -> Callable[..., Task]:
    from bench.tasks import arithmetic, sql

    makers: dict[str, Callable[..., Task]] = {"arithmetic": arithmetic.make, "sql": sql.make}
    return makers[kind]


def _different(make: Callable[..., Task], count: int, source: random.Random, *, held_out: bool) -> list[Task]:
    found: dict[str, Task] = {}
    while len(found) < count:
        task = make(source, held_out=held_out)
        found.setdefault(task.request, task)
    return list(found.values())
