"""Is there room? Asked before a download, not found out after an hour."""

import shutil
from pathlib import Path

from .errors import NoSpaceError

_RESERVE = 64 << 20


def human_size(size: float) -> str:
    """``98.4 MB``: powers of 1000, as disks and downloads are labelled."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.95 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def require_space(folder: Path, needed: int) -> None:
    """Raises NoSpaceError unless ``needed`` bytes fit on the disk of ``folder`` with a little to spare."""
    free = shutil.disk_usage(folder).free
    if needed + _RESERVE > free:
        raise NoSpaceError(
            f"not enough disk space in {folder}: {human_size(needed + _RESERVE)} needed, {human_size(free)} free",
            "free some space (synapse ls, synapse rm NAME) or set SYNAPSE_HOME to a folder on a larger disk",
        )
