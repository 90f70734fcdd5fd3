"""Loads, reads a prompt, makes one token and tells when: `python -m bench.cold PEER MODEL THREADS TOKENS`."""

import json
import re
import resource
import sys
import time
from pathlib import Path

from bench.peers import open_peer


def peak_bytes() -> int:
    """Memory of this process at most, mapped files included."""
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss would count the parent's memory before `exec` on Linux.
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        return int(found[1]) * 1024 if found else 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    peer = open_peer(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    peer.prefill([int(token) for token in sys.argv[4].split(",")])
    clock = time.monotonic()
    print(json.dumps({"clock": clock, "peak_bytes": peak_bytes(), "file": peer.file}))
