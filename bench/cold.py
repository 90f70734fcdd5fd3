"""Loads, reads a prompt, makes one token and prints the clock: `python -m bench.cold PEER MODEL THREADS TOKENS`."""

import sys
import time

from bench.peers import open_peer

if __name__ == "__main__":
    peer = open_peer(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    peer.prefill([int(token) for token in sys.argv[4].split(",")])
    print(time.monotonic())
