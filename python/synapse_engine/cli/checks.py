"""What ``synapse doctor`` looks at, one function each."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from synapse_engine import _engine
from synapse_engine.cli.output import human_size
from synapse_engine.cli.runs import running
from synapse_engine.specialists import Library
from synapse_engine.store import Store
from synapse_engine.store.paths import home

_LITTLE_MEMORY, _LITTLE_DISK = 2 << 30, 2 << 30
_PORTABLE = "portable"


@dataclass(frozen=True)
class Check:
    """One finding: ``ok``, ``warn`` or ``fail``."""

    name: str
    state: str
    found: str
    hint: str | None = None


def all_checks(*, network: bool) -> list[Check]:
    """Everything; the network only when asked."""
    native = _engine.doctor()
    checks = [
        _versions(),
        _python(),
        _processor(native),
        _kernels(native),
        _memory(native),
        _disk(),
        _models(),
        _specialists(),
        _servers(),
    ]
    return [*checks, _hub()] if network else checks


def _versions() -> Check:
    return Check("synapse", "ok", f"{_engine.__version__} on {platform.system()} {platform.machine()}")


def _python() -> Check:
    packages = ", ".join(f"{name} {_version(name)}" for name in ("fastapi", "uvicorn", "huggingface_hub", "pip"))
    return Check("python", "ok", f"{platform.python_version()} ({sys.executable}); {packages}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _processor(native: dict[str, Any]) -> Check:
    return Check("processor", "ok", f"{native['cpu'] or native['architecture']}, {native['threads']} threads")


def _kernels(native: dict[str, Any]) -> Check:
    kernels, available = native["kernels"], native["kernels_available"]
    if kernels is None:
        return Check("kernels", "fail", native["kernels_problem"], "unset SYNAPSE_KERNELS for the best set")
    if kernels != available[0]:
        hint = f"SYNAPSE_KERNELS forces it; {available[0]} is the best set of this processor"
        return Check("kernels", "warn", kernels, hint)
    if kernels == _PORTABLE:
        return Check("kernels", "warn", kernels, "this processor has no SIMD kernel set; models will be slow")
    return Check("kernels", "ok", f"{kernels} (of {', '.join(available)})" if available[1:] else kernels)


def _memory(native: dict[str, Any]) -> Check:
    total, free = native["memory_bytes"], _free_memory()
    found = human_size(total) if free is None else f"{human_size(free)} free of {human_size(total)}"
    if (total if free is None else free) < _LITTLE_MEMORY:
        return Check("memory", "warn", found, "close other programs, or use a small model or --quant q4")
    return Check("memory", "ok", found)


def _free_memory() -> int | None:
    """Bytes that programs can still have, where the system tells (Linux, proc_meminfo(5))."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    available = next((line.split() for line in lines if line.startswith("MemAvailable:")), None)
    return int(available[1]) * 1024 if available else None


def _disk() -> Check:
    folder = _existing(home().models)
    free = shutil.disk_usage(folder).free
    if free < _LITTLE_DISK:
        return Check("disk", "warn", f"{human_size(free)} free", "synapse rm NAME, or set SYNAPSE_HOME to another disk")
    return Check("disk", "ok", f"{human_size(free)} free")


def _models() -> Check:
    store = Store()
    folder = _existing(store.root)
    if not os.access(folder, os.W_OK):
        return Check("models", "fail", f"{store.root} cannot be written", "set SYNAPSE_HOME to a folder of your own")
    damaged = [path.name for path in store.damaged()]
    found = f"{len(store.installed())} in {store.root}"
    if damaged:
        return Check("models", "warn", f"{found}; damaged: {', '.join(damaged)}", "remove those folders and pull again")
    return Check("models", "ok", found)


def _specialists() -> Check:
    library = Library()
    own = sum(specialist.source is not None for specialist in library.all())
    found = f"{len(library.all())}, {own} of your own in {library.folder}"
    broken = library.problems()
    if not broken:
        return Check("specialists", "ok", found)
    names = ", ".join(problem.file.name for problem in broken)
    return Check("specialists", "warn", f"{found}; not usable: {names}", "synapse specialist list says why")


def _servers() -> Check:
    runs = running()
    return Check("servers", "ok", ", ".join(f"{', '.join(run.models)} on {run.url}" for run in runs) or "none running")


def _hub() -> Check:
    from synapse_engine.store.sources.hub import reach

    problem = reach()
    if problem is None:
        return Check("hub", "ok", "can be reached")
    hint = "models that a package carries can still be pulled; HF_ENDPOINT names another hub"
    return Check("hub", "warn", str(problem), hint)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above that exists."""
    while not folder.exists():
        folder = folder.parent
    return folder
