"""Where the engine's time went, and how much of what the machine can do was used in it. Arithmetic only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from synapse_engine import _engine


@dataclass(frozen=True)
class Roofs:
    """What the machine can do at most with these kernels and threads."""

    kernels: str
    threads: int
    read_bytes_per_second: float
    int8_operations_per_second: float


def measure_roofs(threads: int | None) -> Roofs:
    """Takes about a second."""
    return Roofs(**_engine.roofs(threads))


@dataclass(frozen=True)
class Spent:
    """Time, and the work done in it."""

    seconds: float = 0.0
    multiply_adds: int = 0
    """Of weights with activations."""
    bytes: int = 0
    """Of weights, keys and values that had to be read."""

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.multiply_adds + other.multiply_adds, self.bytes + other.bytes)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.seconds - other.seconds, self.multiply_adds - other.multiply_adds, self.bytes - other.bytes)

    def share_of_read(self, roofs: Roofs) -> float | None:
        """Share of the read bandwidth; None where nothing was timed."""
        return self.bytes / self.seconds / roofs.read_bytes_per_second if self.seconds > 0 else None

    def share_of_int8(self, roofs: Roofs) -> float | None:
        """Share of the peak of 8-bit arithmetic, a multiply-add being two operations; None where nothing was timed."""
        peak = roofs.int8_operations_per_second
        return 2 * self.multiply_adds / self.seconds / peak if self.seconds > 0 else None


@dataclass(frozen=True)
class Account:
    """What every kind of operation took."""

    operations: dict[str, Spent]

    @classmethod
    def of(cls, stats: dict[str, Any]) -> Account:
        """As the native engine's ``stats()`` tell."""
        return cls({name: Spent(**spent) for name, spent in stats["operations"].items()})

    @property
    def total(self) -> Spent:
        """Everything together."""
        return sum(self.operations.values(), Spent())

    def __add__(self, other: Account) -> Account:
        return Account({name: spent + other.operations[name] for name, spent in self.operations.items()})

    def __sub__(self, other: Account) -> Account:
        return Account({name: spent - other.operations[name] for name, spent in self.operations.items()})
