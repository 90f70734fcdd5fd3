"""Is that process still the one we mean? A pid alone may have been given to another since."""

from __future__ import annotations

import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

_WINDOWS_QUERY = "powershell -NoProfile -Command '(Get-Process -Id {}).StartTime.ToFileTimeUtc()'"


def identity(pid: int) -> str | None:
    """When the process began, in the system's own words; None if there is no such process (or it is a zombie)."""
    system = platform.system()
    if system == "Linux":
        return _linux_identity(pid)
    return _answer_of(_WINDOWS_QUERY.format(pid) if system == "Windows" else f"ps -o lstart= -p {pid}")


def stop(pid: int, born: str, seconds: float) -> bool:
    """Asks the process to end and waits; True once it is gone."""
    if identity(pid) != born:
        return True
    os.kill(pid, signal.SIGTERM)
    return wait_gone(pid, born, seconds)


def kill(pid: int, born: str, seconds: float) -> bool:
    """Ends the process without asking it."""
    if identity(pid) == born:
        os.kill(pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
    return wait_gone(pid, born, seconds)


def wait_gone(pid: int, born: str, seconds: float) -> bool:
    """Waits for the end of a process; False when ``seconds`` were not enough."""
    deadline = time.monotonic() + seconds
    while identity(pid) == born:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _linux_identity(pid: int) -> str | None:
    """Clock ticks since boot (field 22 of /proc/PID/stat), and the boot they count from."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if state in {"Z", "X"} else f"{boot} {fields[18]}"


def _answer_of(command: str) -> str | None:
    found = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    return found.stdout.strip() or None
