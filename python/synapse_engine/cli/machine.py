"""Describes the machine and the build, so that a measurement can be read and compared later."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from synapse_engine import _engine

PACKAGE = Path(__file__).parent.parent


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


def checkout() -> Path | None:
    """The folder of the checkout that this package is part of; None for an installed one."""
    folder = PACKAGE.parent.parent
    return folder if (folder / "bench" / "records").is_dir() else None


def commit() -> str:
    """Short hash of the checkout, with `-dirty` if files differ from it; outside a checkout the package's version."""
    command = ["git", "-C", str(checkout()), "describe", "--always", "--dirty", "--exclude", "*"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False) if checkout() else None
    found = ended.stdout.strip() if ended else ""
    return found or f"version-{_engine.__version__}"
