"""How soon feedback is followed, and what it costs others: ``python -m bench.feedback [--seeds N] [--out FILE]``.

Simulated users want the requests of one kind answered by another specialist than the router would choose, and say so
again and again. Their requests are half of those of that kind in ``bench/data/routing.jsonl``; the other half tells
whether they are followed, and the requests of other kinds whether anything else was spoiled. Coordinator, specialists
and rule are the shipped ones.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.routing import HELD_OUT
from synapse_engine._engine import HebbianBias
from synapse_engine.routing import NONE, Decision, Router, decide
from synapse_engine.routing.decision import Scores
from synapse_engine.routing.opening import FOLDER, open_coordinator
from synapse_engine.specialists import built_in
from synapse_engine.train.routing.requests import read_requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synapse_engine.routing import Coordinator
    from synapse_engine.train.routing.requests import Request

CHECKPOINTS = (0, 1, 2, 5, 10, 20)
TOPIC = 24
"""Requests of a narrow kind: one and those most like it, whatever their label. As many come next that are neither of
this kind nor clearly of another."""


@dataclass(frozen=True)
class World:
    """All held-out requests as the coordinator sees them."""

    coordinator: Coordinator
    scores: list[Scores]
    labels: list[str]
    threshold: float
    near: float | None = None
    """How near feedback reaches wholly, and how far at all, if not as usual."""
    far: float | None = None

    def decide(self, request: int, hebbian: HebbianBias) -> Decision:
        """Who would answer."""
        scores = self.scores[request]
        return decide(scores, hebbian.bias(scores.place, list(scores.logits)), self.threshold)

    def choice(self, request: int, hebbian: HebbianBias) -> str:
        """His name."""
        return self.decide(request, hebbian).specialist or NONE


@dataclass(frozen=True)
class User:
    """Someone who wants ``kind`` answered by ``wanted``."""

    kind: tuple[int, ...]
    """Requests, in random order: the first half are the user's own."""
    wanted: str
    between: tuple[int, ...] = ()
    """Requests that would be right either way."""
    corrects: bool = True
    """Names the right specialist; else only says up or down."""


@dataclass(frozen=True)
class Reached:
    """After so many feedbacks of one user."""

    feedbacks: int
    followed: float
    """Share of the unseen half of the kind that the wanted specialist gets."""
    spoiled: float
    """Share of the other requests that went where their label says before any feedback, and do no more."""
    accuracy: float
    """Share of the other requests that go where their label says."""


def live(world: World, user: User, seed: int) -> list[Reached]:
    """The user's 20 feedbacks."""
    hebbian = HebbianBias("bench", len(world.scores[0].place), near=world.near, far=world.far)
    router = Router(world.coordinator, built_in(), hebbian)
    half = len(user.kind) // 2
    own, unseen = user.kind[:half], user.kind[half:]
    others = sorted(set(range(len(world.scores))).difference(user.kind, user.between))
    right_before = [world.choice(request, hebbian) == world.labels[request] for request in others]
    draws = random.Random(seed)
    reached = []
    for count in range(CHECKPOINTS[-1] + 1):
        if count in CHECKPOINTS:
            right = [world.choice(request, hebbian) == world.labels[request] for request in others]
            followed = np.mean([world.choice(request, hebbian) == user.wanted for request in unseen])
            spoiled = np.mean([was and not now for was, now in zip(right_before, right, strict=True)])
            reached.append(Reached(count, float(followed), float(spoiled), float(np.mean(right))))
        react(world, router, user, draws.choice(own))
    return reached


def react(world: World, router: Router, user: User, request: int) -> None:
    """One feedback."""
    decision = world.decide(request, router.hebbian)
    chosen = decision.specialist or NONE
    if user.corrects or chosen == user.wanted:
        router.react(decision, user.wanted, 1)
    else:
        router.react(decision, chosen, -1)


def users_of_labels(world: World, draws: random.Random, *, corrects: bool) -> list[User]:
    """One for each specialist, who wants its requests answered by another one."""
    names = [specialist.name for specialist in built_in()]
    users = []
    for label in names:
        kind = [request for request, found in enumerate(world.labels) if found == label]
        draws.shuffle(kind)
        users.append(User(tuple(kind), draws.choice([name for name in names if name != label]), corrects=corrects))
    return users


def users_of_topics(world: World, draws: random.Random, count: int) -> list[User]:
    """Each cares for a narrow kind of requests, which may be parts of several specialists' work."""
    vectors = np.array([scores.embedding for scores in world.scores])
    names = [specialist.name for specialist in built_in()]
    users = []
    for _ in range(count):
        nearest = np.argsort(-vectors @ vectors[draws.randrange(len(vectors))]).tolist()
        kind, between = nearest[:TOPIC], nearest[TOPIC : 2 * TOPIC]
        taken = {world.labels[request] for request in kind}
        draws.shuffle(kind)
        wanted = draws.choice([name for name in names if name not in taken] or names)
        users.append(User(tuple(kind), wanted, tuple(between)))
    return users


def open_world(folder: Path, requests: Sequence[Request]) -> World:
    """Scores every request once."""
    coordinator = open_coordinator(folder)
    shown = [{"name": it.name, "description": it.description, "examples": list(it.examples)} for it in built_in()]
    coordinator.set_specialists(shown)
    roles = ("user", "assistant")
    turns = [[(roles[at % 2], turn) for at, turn in enumerate(request.turns)] for request in requests]
    scores = [Scores.read(coordinator.score(conversation), "") for conversation in turns]
    return World(coordinator, scores, [request.label for request in requests], coordinator.info()["threshold"])


def summary(name: str, lives: Sequence[Sequence[Reached]]) -> str:
    """A table: means over users, and the worst tenth of them."""
    lines = [
        f"{name} ({len(lives)} users)",
        "feedbacks  followed  worst tenth  others spoiled  worst tenth  others right",
    ]
    for row in zip(*lives, strict=True):
        followed, spoiled, accuracy = np.array([(it.followed, it.spoiled, it.accuracy) for it in row]).T
        lines.append(
            f"{row[0].feedbacks:9}  {followed.mean():8.1%}  {np.quantile(followed, 0.1):11.1%}  {spoiled.mean():14.1%}"
            f"  {np.quantile(spoiled, 0.9):11.1%}  {accuracy.mean():12.1%}"
        )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.feedback", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="7 N users of each kind; %(default)s")
    parser.add_argument("--coordinator", type=Path, default=FOLDER, help="the one that comes along")
    parser.add_argument("--requests", type=Path, default=HELD_OUT, help="what they ask; the hand-written ones apart")
    parser.add_argument("--near", type=float, help="cosine from which on feedback reaches wholly, to choose it")
    parser.add_argument("--far", type=float, help="cosine up to which it does not reach, to choose it")
    parser.add_argument("--out", type=Path, help="all figures as JSON")
    arguments = parser.parse_args()
    world = open_world(arguments.coordinator, list(read_requests(arguments.requests)))
    world = replace(world, near=arguments.near, far=arguments.far)
    found = {}
    for name, users in kinds(world, arguments.seeds).items():
        found[name] = [live(world, user, seed) for seed, user in enumerate(users)]
        print(summary(name, found[name]), end="\n\n")
    if arguments.out:
        told = {name: [[asdict(it) for it in life] for life in lives] for name, lives in found.items()}
        arguments.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def kinds(world: World, seeds: int) -> dict[str, list[User]]:
    """All users, by what they care for and how they say it."""
    draws = random.Random(1)
    return {
        "a specialist's requests, corrected": [
            user for _ in range(seeds) for user in users_of_labels(world, draws, corrects=True)
        ],
        "a specialist's requests, up or down": [
            user for _ in range(seeds) for user in users_of_labels(world, draws, corrects=False)
        ],
        "a narrow topic, corrected": users_of_topics(world, draws, 7 * seeds),
    }


if __name__ == "__main__":
    main()
