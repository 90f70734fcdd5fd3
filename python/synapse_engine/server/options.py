"""Where the server listens, whom it lets in and how much it takes. Starts nothing."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT_PORT = 6900


class ServerError(Exception):
    """The server cannot start as asked. ``hint`` says what to do next."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class ServerOptions:
    """Everything about the server that a user may choose."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0 takes any free port."""
    api_key: str | None = field(default=None, repr=False)
    """Clients send it as ``Authorization: Bearer KEY``. Needed where others can reach the server."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names that clients may use besides localhost and ``host``."""
    allowed_origins: tuple[str, ...] = ()
    """Web pages that may call the API from a browser, such as ``http://localhost:3000``; ``*`` for all."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """More names for served models: alias -> id."""
    max_body_bytes: int = 8 * 1024 * 1024
    body_seconds: float = 30.0
    """Time to send a request's body."""
    request_seconds: float = 1800.0
    """Time for a whole request, queue included."""
    keep_alive_seconds: float = 15.0
    """A stream with nothing to say sends a comment this often, so that no proxy takes it for dead."""
    drain_seconds: float = 3.0
    """Time that running requests get to finish when the server is told to stop."""
    trace: Path | None = None
    """File that takes in every decision of routing, one line of JSON each; see ``docs/specialists.md``."""
    trace_text: bool = True
    """Whether the trace keeps what was said, or only hashes of it."""
    log_level: str = "warning"

    def check(self) -> None:
        """Raises ServerError for a combination that cannot be meant."""
        if not 0 <= self.port <= 65535:
            raise ServerError(f"port: expected 0 to 65535, found {self.port}")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable() and self.api_key):
            raise ServerError("the API key is empty or has characters that no HTTP header can carry")
        if self.api_key is None and not is_loopback(self.host):
            raise ServerError(
                f"listening on {self.host} lets other machines in, and no API key is set",
                "set one with --api-key, or listen on 127.0.0.1",
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    address = parse_address(host)
    return address is not None and address.is_loopback


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """``host`` as an IP address, without brackets and zone; None if it is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
