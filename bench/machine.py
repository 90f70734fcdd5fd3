"""Describes the machine, so that a record can be read later."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from synapse_engine import _engine


def describe() -> dict[str, Any]:
    """Processor, cores, memory, system, and what the engine sees of them."""
    return {
        "processor": processor(),
        "cores": usable_cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "doctor": _engine.doctor(),
    }


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, with family and model where the name says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" not in fields:
        return platform.machine()
    return f"{fields['model name']} family {fields.get('cpu family')} model {fields.get('model')}"


def slug(machine: dict[str, Any]) -> str:
    """A folder name for records of this kind of machine."""
    return re.sub(r"[^a-z0-9]+", "-", f"{machine['processor']} {machine['cores']} cores".lower()).strip("-")


def commit() -> str:
    """Short hash of the checkout, `-dirty` if files differ from it, `unknown` outside git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude", "*"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stdout.strip() or "unknown"
