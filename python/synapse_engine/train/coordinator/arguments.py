"""The options of a coordinator's run on a command line. Knows no tensors."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_engine.train.coordinator.options import Options
from synapse_engine.train.coordinator.start import Plan

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace


def add_plan(parser: ArgumentParser) -> None:
    """What a plan needs."""
    parser.add_argument("--out", type=Path, required=True, help="where the run lies")
    parser.add_argument("--real", type=Path, help="pieces of real text, as routing.harvest writes them")
    parser.add_argument(
        "--hold-out",
        type=Path,
        dest="apart_file",
        help="held-out requests; rows that are the same or near are left out",
    )
    parser.add_argument("--meanings", type=Path, help="folder of a sentence model: what tokens mean at first")
    parser.add_argument("--glosses", type=Path, help="further texts, as train.coordinator.glosses writes them")
    for field in fields(Options):
        kind = float if isinstance(field.default, float) else int
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)


def read_plan(given: Namespace) -> Plan:
    """The plan of ``add_plan``'s arguments."""
    options = Options(**{field.name: getattr(given, field.name) for field in fields(Options)})
    return Plan(given.out, options, given.real, given.apart_file, given.meanings, given.glosses)
