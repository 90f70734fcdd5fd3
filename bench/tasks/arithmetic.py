"""Word problems with one or two steps of arithmetic, and the number that answers each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.tasks import stories

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class WordProblem:
    """A story that asks for a whole number."""

    request: str
    answer: str
    number: int

    def right(self, reply: str) -> bool:
        """The last number of the reply counts, as people work first and answer then."""
        found = [text.rstrip(",").replace(",", "") for text in _NUMBER.findall(reply)]
        return bool(found) and float(found[-1]) == self.number


def make(source: random.Random, *, held_out: bool) -> WordProblem:
    """A problem out of a random template."""
    words = stories.HELD_OUT if held_out else stories.TRAINING
    plan = source.choice(sorted(words.templates))
    numbers = _numbers(plan, source)
    names, things = source.sample(words.names, 2), source.sample(words.things, 2)
    told = {"name": names[0], "other": names[1], "things": things[0], "more": things[1]}
    text = source.choice(words.templates[plan]).format(**numbers, **told)
    steps, number = _solve(plan, numbers)
    return WordProblem(text, f"{' '.join(steps)} Answer: {number}", number)


def _solve(plan: str, numbers: Mapping[str, int]) -> tuple[list[str], int]:
    """Works a plan such as ``a * b - c`` from left to right: each step in words of numbers, and the result."""
    first, *rest = plan.split()
    value, steps = numbers[first], []
    for sign, name in zip(rest[::2], rest[1::2], strict=True):
        other = numbers[name]
        result = {"+": value + other, "-": value - other, "*": value * other, "/": value // other}[sign]
        steps.append(f"{value} {sign} {other} = {result}.")
        value = result
    return steps, value


def _numbers(plan: str, source: random.Random) -> dict[str, int]:
    """Numbers with which every step of the plan comes to a whole number above zero."""
    while True:
        signs, names = plan.split()[1::2], plan.split()[::2]
        numbers = {names[0]: source.randint(2, 12) if signs[0] == "*" else source.randint(6, 99)}
        for sign, name in zip(signs, names[1:], strict=True):
            numbers[name] = source.randint(2, 9) if sign in "*/" else source.randint(2, 60)
        if signs[0] == "/":
            numbers["a"] = numbers["b"] * source.randint(2, 12)
        if signs == ["+", "*"]:
            numbers |= {"a": source.randint(2, 12), "b": source.randint(2, 12)}
        if _is_whole(plan, numbers):
            return numbers


def _is_whole(plan: str, numbers: Mapping[str, int]) -> bool:
    first, *rest = plan.split()
    value = numbers[first]
    for sign, name in zip(rest[::2], rest[1::2], strict=True):
        if (sign == "-" and value <= numbers[name]) or (sign == "/" and value % numbers[name]):
            return False
        value = _solve(f"x {sign} y", {"x": value, "y": numbers[name]})[1]
    return True
