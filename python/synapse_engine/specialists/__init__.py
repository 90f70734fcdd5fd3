"""Specialists: what a request can be routed to, each in a TOML file. Knows the files, not how a request is routed."""

from synapse_engine.specialists.reading import (
    Specialist,
    SpecialistError,
    built_in,
    parse_specialist,
    read_folder,
    read_specialist,
)

__all__ = ["Specialist", "SpecialistError", "built_in", "parse_specialist", "read_folder", "read_specialist"]
