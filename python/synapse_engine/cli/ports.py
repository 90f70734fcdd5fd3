"""Is the port free? Asked before a model is loaded, which may take a while."""

from __future__ import annotations

import errno
import socket

from synapse_engine.cli.app import Failure
from synapse_engine.cli.runs import running


def require_free(host: str, port: int) -> None:
    """Raises Failure with the next step when nobody could listen on ``port`` of ``host``."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise Failure(
            f"{host!r} is no address of this machine ({error})", "use 127.0.0.1 for this machine alone"
        ) from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise Failure(*_explained(error, host, port)) from error


def _explained(error: OSError, host: str, port: int) -> tuple[str, str]:
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than this user has", "use a port above 1023, such as --port 6900"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine", "use 127.0.0.1, or 0.0.0.0 for all addresses"
    ours = next((run for run in running() if run.port == port), None)
    if ours:
        return (
            f"port {port} is serving {', '.join(ours.models)} already",
            f"synapse stop {port}, or choose another: --port {port + 1}",
        )
    return f"port {port} is in use by another program", f"choose another: --port {port + 1}"
