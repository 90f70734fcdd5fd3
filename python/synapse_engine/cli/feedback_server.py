"""Feedback on a response of a running server: only the server still knows what the request was."""

from __future__ import annotations

import http.client
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from synapse_engine.cli.app import Failure
from synapse_engine.cli.runs import running
from synapse_engine.cli.talk import KEY_VARIABLE

if TYPE_CHECKING:
    from synapse_engine.cli.runs import Run

_SECONDS = 30


def send(response_id: str, word: str) -> dict[str, Any]:
    """Tells the server that made the response; ``word`` is ``up``, ``down`` or the right specialist's name."""
    said = {"rating": word} if word in ("up", "down") else {"specialist": word}
    runs = running()
    if not runs:
        raise Failure("no server is running, and only a server remembers its responses", "give the request's text")
    for run in runs:
        status, answer = _post(run, {"response_id": response_id, **said})
        if status == http.client.OK:
            return answer
        error = answer["error"]
        if error.get("code") != "response_not_found":
            hint = f"set {KEY_VARIABLE} to the server's API key" if status == http.client.UNAUTHORIZED else None
            raise Failure(f"the server at {run.url} answered {status}: {error.get('message')}", hint)
    message = f"no running server remembers the response {response_id[:60]!r}"
    raise Failure(message, "servers remember the last 1,024 responses of the model `synapse`; give the request's text")


def _post(run: Run, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    address = urlsplit(run.url)
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY_VARIABLE):
        headers["Authorization"] = f"Bearer {key}"
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_SECONDS)
    try:
        connection.request("POST", "/v1/feedback", json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Failure(f"the server at {run.url} went away ({error})", "synapse ps shows what is running") from error
    finally:
        connection.close()
