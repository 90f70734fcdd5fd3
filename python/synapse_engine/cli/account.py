"""Where the engine's time went, and how much of what the machine can do was used in it. Arithmetic only."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Any

from synapse_engine import _engine


@dataclass(frozen=True)
class Roofs:
    """What the machine can do at most with these kernels and threads."""

    kernels: str
    threads: int
    read_bytes_per_second: float
    int8_operations_per_second: float

    def best(self, other: Roofs) -> Roofs:
        """The higher of each."""
        return replace(
            self,
            read_bytes_per_second=max(self.read_bytes_per_second, other.read_bytes_per_second),
            int8_operations_per_second=max(self.int8_operations_per_second, other.int8_operations_per_second),
        )

    def mean(self, other: Roofs) -> Roofs:
        """Between the two: an estimate for the time between their measurements."""
        return replace(
            self,
            read_bytes_per_second=(self.read_bytes_per_second + other.read_bytes_per_second) / 2,
            int8_operations_per_second=(self.int8_operations_per_second + other.int8_operations_per_second) / 2,
        )


def measure_roofs(threads: int | None) -> Roofs:
    """Takes about half a second."""
    return Roofs(**_engine.roofs(threads))


@dataclass(frozen=True)
class Spent:
    """Time, the work done in it, and what could have been done."""

    seconds: float = 0.0
    multiply_adds: int = 0
    """Of weights with activations."""
    bytes: int = 0
    """Of weights, keys and values that had to be read."""
    possible_operations: float = 0.0
    possible_bytes: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Spent) -> Spent:
        return Spent(*(mine - its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def under(self, roofs: Roofs) -> Spent:
        """With what the machine could have done in this time."""
        operations = self.seconds * roofs.int8_operations_per_second
        return replace(self, possible_operations=operations, possible_bytes=self.seconds * roofs.read_bytes_per_second)

    @property
    def share_of_read(self) -> float | None:
        """Share of the read bandwidth; None where nothing was timed."""
        return self.bytes / self.possible_bytes if self.possible_bytes > 0 else None

    @property
    def share_of_int8(self) -> float | None:
        """Share of the peak of 8-bit arithmetic, a multiply-add being two operations; None where nothing was timed."""
        return 2 * self.multiply_adds / self.possible_operations if self.possible_operations > 0 else None


@dataclass(frozen=True)
class Account:
    """What every kind of operation took."""

    operations: dict[str, Spent]

    @classmethod
    def of(cls, stats: dict[str, Any]) -> Account:
        """As the native engine's ``stats()`` tell."""
        return cls({name: Spent(**spent) for name, spent in stats["operations"].items()})

    def under(self, roofs: Roofs) -> Account:
        """With what the machine could have done in the time of each."""
        return Account({name: spent.under(roofs) for name, spent in self.operations.items()})

    @property
    def total(self) -> Spent:
        """Everything together."""
        return sum(self.operations.values(), Spent())

    def __add__(self, other: Account) -> Account:
        return Account({name: spent + other.operations[name] for name, spent in self.operations.items()})

    def __sub__(self, other: Account) -> Account:
        return Account({name: spent - other.operations[name] for name, spent in self.operations.items()})
