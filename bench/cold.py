"""Loads, reads a prompt, makes one token and tells when: `python -m bench.cold PEER MODEL THREADS TOKENS`."""

import json
import resource
import sys
import time

from bench.peers import open_peer

# ru_maxrss is in kilobytes, but on macOS in bytes.
UNIT = 1 if sys.platform == "darwin" else 1024

if __name__ == "__main__":
    peer = open_peer(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    peer.prefill([int(token) for token in sys.argv[4].split(",")])
    clock = time.monotonic()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
    print(json.dumps({"clock": clock, "peak_bytes": peak, "file": peer.file}))
