"""How a conversation looks to a specialist, and to what routes it. Knows messages, not how they are answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from synapse_engine.specialists.reading import Specialist

    Turn = Mapping[str, Any]

ROUTE = "synapse"
"""The model's name that asks for routing; ``synapse/NAME`` asks for a specialist."""
_SYSTEM = ("system", "developer")


def prompted(specialist: Specialist | None, turns: Sequence[Turn]) -> list[Turn]:
    """The conversation with the specialist's prompt in front; a system message of the caller's comes after it."""
    if specialist is None or not specialist.system_prompt:
        return list(turns)
    prompt, rest = specialist.system_prompt, list(turns)
    if rest and rest[0]["role"] in _SYSTEM:
        prompt = f"{prompt}\n\n{_text(rest.pop(0)['content'])}"
    return [{"role": "system", "content": prompt}, *rest]


def routed(turns: Iterable[Turn]) -> list[tuple[str, str]]:
    """What is looked at to route a conversation: who said what, up to the user's last message; empty without one."""
    said = [(str(turn["role"]), _text(turn["content"])) for turn in turns if turn["role"] not in _SYSTEM]
    while said and said[-1][0] != "user":
        said.pop()
    return said


def _text(content: Any) -> str:
    """Content may be a text, or a list of parts with one each."""
    return content if isinstance(content, str) else "\n".join(str(part["text"]) for part in content)
