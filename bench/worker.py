"""One peer in a process of its own: takes calls as JSON lines, answers with seconds. The parent's side is `Worker`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Any, cast

from bench.peers import open_peer

if TYPE_CHECKING:
    from types import TracebackType


class PeerError(Exception):
    """The peer cannot do this; the message is its own."""


class Worker:
    """A loaded peer. Waits without using the processor between calls."""

    def __init__(self, peer: str, path: str, threads: int) -> None:
        command = [sys.executable, "-m", "bench.worker", peer, path, str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._calls, self._answers = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        self.version: str = self._answer()["version"]

    def call(self, method: str, *arguments: Any) -> float:
        """Seconds that `method` of the peer took."""
        self._calls.write(json.dumps([method, *arguments]) + "\n")
        self._calls.flush()
        seconds: float = self._answer()["seconds"]
        return seconds

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        answer = json.loads(line) if line else {"error": f"ended with status {self._process.wait()}"}
        if "error" in answer:
            self.close()
            raise PeerError(answer["error"])
        return dict(answer)


def serve(name: str, path: str, threads: int) -> None:
    """Loads the peer and answers calls until the input ends."""
    peer = open_peer(name, path, threads)
    say({"version": peer.version})
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        say({"seconds": getattr(peer, method)(*arguments)})


def say(answer: dict[str, Any]) -> None:
    """One line for the parent."""
    print(json.dumps(answer), flush=True)


def main() -> None:
    """`python -m bench.worker PEER MODEL THREADS`."""
    try:
        serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    except Exception as error:  # noqa: BLE001 the parent decides what a peer's failure means
        say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
