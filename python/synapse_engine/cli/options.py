"""Options that several commands share."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


class Number(click.ParamType):  # type: ignore[type-arg]
    """A number in a range, both ends included. Unlike click's own, it does not spell the range out in the help."""

    def __init__(self, kind: type[int] | type[float], lowest: float, highest: float = math.inf) -> None:
        self.name = "N"
        self._kind = kind
        self._lowest, self._highest = lowest, highest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        """See click."""
        try:
            number = self._kind(value)
        except ValueError:
            self.fail(f"{value!r} is not {'a whole number' if self._kind is int else 'a number'}", param, ctx)
        if not self._lowest <= number <= self._highest:
            upper = f"at most {self._highest:g}" if number > self._highest else f"at least {self._lowest:g}"
            self.fail(f"{value} is out of range: {upper}", param, ctx)
        return number


@dataclass(frozen=True)
class LoadOptions:
    """How to load a model; None is the engine's own choice."""

    quant: str | None = None
    threads: int | None = None
    ctx: int | None = None
    kv_type: str = "f16"
    past_window: str = "exact"
    speculate: str = "ngram"
    draft: str | None = None
    """As the user names it; `choose.with_draft` makes it a path."""
    adapter: tuple[tuple[str, Path], ...] = ()
    """Name and path of each that is loaded at the start."""
    max_adapters: int = 64
    max_adapter_rank: int = 256
    adapter_memory: int = 4096
    """MiB."""

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> LoadOptions:
        """Takes its own out of a command's options."""
        return cls(**{field.name: options.pop(field.name) for field in fields(cls) if field.name in options})

    def engine_arguments(self, default_quant: str) -> dict[str, Any]:
        """Keyword arguments of ``Engine``."""
        return {
            "quant": self.quant or default_quant, "threads": self.threads, "context_length": self.ctx,
            "kv_type": self.kv_type, "past_window": self.past_window, "speculation": self.speculate,
            "draft_model": self.draft, "max_adapters": self.max_adapters, "max_adapter_rank": self.max_adapter_rank,
            "max_adapter_bytes": self.adapter_memory << 20,
        }  # fmt: skip


def load_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --quant, --threads, --ctx, --kv-type and --past-window; ``LoadOptions.taken_from`` takes them."""
    for option in reversed(
        (
            click.option(
                "--quant",
                type=click.Choice(["auto", "q8", "q4", "f16", "none"]),
                help="Number format to load weights as.",
            ),
            click.option(
                "--threads", type=Number(int, 1, 1024), help="Worker threads.", show_default="the physical cores"
            ),
            click.option(
                "--ctx", type=Number(int, 1), metavar="TOKENS", help="Longest context.", show_default="the model's"
            ),
            click.option(
                "--kv-type",
                type=click.Choice(["f16", "q8"]),
                default="f16",
                show_default=True,
                help="Number format of the KV cache.",
            ),
            click.option(
                "--past-window",
                type=click.Choice(["exact", "restart"]),
                default="exact",
                show_default=True,
                help="How answers outgrow what an organelle model sees.",
            ),
        )
    ):
        command = option(command)
    return command


def speculation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --speculate and --draft; ``LoadOptions.taken_from`` takes them."""
    for option in reversed(
        (
            click.option(
                "--speculate",
                type=click.Choice(["ngram", "off"]),
                default="ngram",
                show_default=True,
                help="Foretell text that repeats itself: faster, the same answers.",
            ),
            click.option("--draft", metavar="MODEL", help="Smaller model of the same family that foretells, too."),
        )
    ):
        command = option(command)
    return command


class AdapterPath(click.ParamType):  # type: ignore[type-arg]
    """``NAME=PATH``, or a path alone, whose last part is the name then."""

    name = "[NAME=]PATH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """See click."""
        if isinstance(value, tuple):
            return value
        before, equals, after = str(value).partition("=")
        path = Path(after if equals else before).expanduser().absolute()
        name = before if equals else path.name.removesuffix(".gguf")
        if not name or not path.exists():
            self.fail(f"{value!r}: expected NAME=PATH of a PEFT folder or a GGUF adapter", param, ctx)
        return name, path


def adapter_option(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds --adapter; ``LoadOptions.taken_from`` takes it."""
    return click.option("--adapter", type=AdapterPath(), multiple=True, help=help_text)


def adapter_limits(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --max-adapters, --max-adapter-rank and --adapter-memory; ``LoadOptions.taken_from`` takes them."""
    usual = LoadOptions()
    for option in reversed(
        (
            click.option(
                "--max-adapters", type=Number(int, 0), default=usual.max_adapters, show_default=True,
                help="Adapters loaded at a time.",
            ),
            click.option(
                "--max-adapter-rank", type=Number(int, 1), default=usual.max_adapter_rank, show_default=True,
                help="Highest rank of an adapter.",
            ),
            click.option(
                "--adapter-memory", type=Number(int, 0), metavar="MIB", default=usual.adapter_memory,
                show_default=True, help="Memory of all adapters together.",
            ),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def offline_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--offline``."""
    return click.option("--offline", is_flag=True, help="Never get a model that is not installed.")(command)


def answer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --system, --temperature, --top-p, --max-tokens and --seed."""
    for option in reversed(
        (
            click.option("--system", help="System message."),
            click.option("--temperature", type=Number(float, 0, 2), help="0 is greedy.", show_default="the model's"),
            click.option(
                "--top-p",
                type=Number(float, 0, 1),
                help="Keep the likeliest tokens up to this share.",
            ),
            click.option("--max-tokens", type=Number(int, 1), help="Longest answer, in tokens."),
            click.option("--seed", type=Number(int, 0), help="The same seed gives the same answer."),
        )
    ):
        command = option(command)
    return command


def given(**options: Any) -> dict[str, Any]:
    """The options that are not None, for ``Engine.stream`` or the API."""
    return {name: value for name, value in options.items() if value is not None}
