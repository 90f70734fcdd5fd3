"""Specialists: what a request can be routed to, each in a TOML file. Knows the files, not how a request is routed."""

from synapse_engine.specialists.library import Library, UnknownSpecialistError
from synapse_engine.specialists.reading import (
    Specialist,
    SpecialistError,
    built_in,
    parse_specialist,
    read_folder,
    read_specialist,
    specialist_of,
)

__all__ = [
    "Library",
    "Specialist",
    "SpecialistError",
    "UnknownSpecialistError",
    "built_in",
    "parse_specialist",
    "read_folder",
    "read_specialist",
    "specialist_of",
]
