"""What the tests of the store and the command line share: a tiny GGUF, and a hub on 127.0.0.1."""

import hashlib
import json
import os
import re
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_bytes(padding: int = 0, template: str = "{{ messages }}") -> bytes:
    """A sound GGUF of one Q4_0 matrix and one F32 vector, with ``padding`` bytes at the end."""
    metadata = {"general.architecture": "llama", "general.license": "mit", "tokenizer.chat_template": template}
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, len(metadata) + 2)
    for key, value in metadata.items():
        head += _text(key) + struct.pack("<I", 8) + _text(value)
    head += _text("llama.block_count") + struct.pack("<II", 4, 2)
    head += _text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + _text("a") + _text("b")
    head += _text("blk.0.attn_q.weight") + struct.pack("<IQQIQ", 2, 64, 32, 2, 0)
    head += _text("output_norm.weight") + struct.pack("<IQIQ", 1, 64, 0, 1152)
    head += bytes(-len(head) % 32)
    return head + os.urandom(1152) + bytes(256) + os.urandom(padding)


@dataclass
class FakeHub:
    """Serves one repository the way the hub does, as far as a pull asks."""

    files: dict[str, bytes]
    repository: str = "maker/tiny"
    bytes_per_second: float = 0
    lie_about: set[str] = field(default_factory=set)
    """Files whose digest in the listing is wrong."""
    status: int = 200
    sent: int = 0
    """Bytes of file contents sent so far."""
    ranges: list[str] = field(default_factory=list)

    def listing(self) -> bytes:
        siblings = []
        for name, content in self.files.items():
            digest = hashlib.sha256(content + (b"!" if name in self.lie_about else b"")).hexdigest()
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324 - as git does
            entry = {"rfilename": name, "size": len(content), "blobId": blob}
            if name.endswith((".gguf", ".safetensors")):
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        model = {"id": self.repository, "sha": COMMIT, "siblings": siblings, "cardData": {"license": "mit"}}
        return json.dumps({**model, "tags": [], "private": False, "downloads": 0}).encode()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.hub.status != 200:
            self._answer(self.hub.status, b"{}", {"X-Error-Code": "RepoNotFound"} if self.hub.status == 404 else {})
        elif path.startswith(f"/api/models/{self.hub.repository}"):
            self._answer(200, self.hub.listing(), {"Content-Type": "application/json"})
        elif (
            path.startswith(prefix := f"/{self.hub.repository}/resolve/{COMMIT}/")
            and path[len(prefix) :] in self.hub.files
        ):
            self._send_file(self.hub.files[path[len(prefix) :]])
        else:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _send_file(self, content: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked else 0
        if asked:
            self.hub.ranges.append(asked[0])
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if asked else {}
        self._answer(206 if asked else 200, content[start:], headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "X-Repo-Commit": COMMIT}.items():
            self.send_header(name, value)
        self.end_headers()
        for start in range(0, len(body), 16384):
            piece = body[start : start + 16384]
            try:
                self.wfile.write(piece)
            except OSError:
                return
            self.hub.sent += len(piece)
            if self.hub.bytes_per_second:
                time.sleep(len(piece) / self.hub.bytes_per_second)


@contextmanager
def serving(hub: FakeHub) -> Iterator[str]:
    """Runs the hub and yields its address, for HF_ENDPOINT."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def use_hub(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Does in this process what HF_ENDPOINT does in one that starts: the library reads the variable only once."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
