"""One peer in a process of its own: takes calls as JSON lines, answers with seconds. The parent's side is `Worker`."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Any, cast

from bench.peers import Peer, open_peer

if TYPE_CHECKING:
    from types import TracebackType


class PeerError(Exception):
    """The peer cannot do this; the message is its own."""


class Worker:
    """A loaded peer. Waits without using the processor between calls."""

    def __init__(self, peer: str, path: str, threads: int, python: str = sys.executable) -> None:
        command = [python, "-m", "bench.worker", peer, path, str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._calls, self._answers = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        try:
            self.version: str = self._answer()["version"]
        except PeerError:
            self.close()
            raise

    def call(self, method: str, *arguments: Any) -> float:
        """Seconds that `method` of the peer took."""
        # If it has ended, its last words, or their absence, say why.
        with contextlib.suppress(BrokenPipeError):
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
            raise PeerError(answer["error"])
        return dict(answer)


def serve(name: str, path: str, threads: int, answers: IO[str]) -> None:
    """Loads the peer and answers calls until the input ends."""
    peer = open_peer(name, path, threads)
    say({"version": peer.version}, answers)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        say(answer(peer, method, arguments), answers)


def answer(peer: Peer, method: str, arguments: list[Any]) -> dict[str, Any]:
    """What one call comes to."""
    if not hasattr(peer, method):
        return {"error": f"there is no way to measure {method} through {peer.version}"}
    try:
        return {"seconds": getattr(peer, method)(*arguments)}
    except Exception as error:  # noqa: BLE001 a peer that cannot do one thing may do the next
        return {"error": f"{type(error).__name__}: {error}"}


def say(answer: dict[str, Any], answers: IO[str]) -> None:
    """One line for the parent."""
    print(json.dumps(answer), file=answers, flush=True)


def only_answers() -> IO[str]:
    """Standard output, which is for answers alone from now on: what a peer's library prints goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def main() -> None:
    """`python -m bench.worker PEER MODEL THREADS`."""
    answers = only_answers()
    try:
        serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), answers)
    except BrokenPipeError:
        return  # the parent is gone
    except Exception as error:  # noqa: BLE001 the parent decides what a peer's failure means
        say({"error": f"{type(error).__name__}: {error}"}, answers)


if __name__ == "__main__":
    main()
