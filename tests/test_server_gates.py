"""Who gets in, how much the server takes, and that every refusal is an OpenAI error. Engine: the fake."""

import socket
import time

import httpx
import openai
import pytest

from server_fake import FakeEngine
from server_support import MODEL, chat_body, client, fake_server, post, wait_until
from synapse_engine.server import ApiServer, ServerError, ServerOptions
from synapse_engine.server.gates import plain_host

CHAT = "/v1/chat/completions"
KEY = "open-sesame"


@pytest.fixture(scope="module")
def url():
    with fake_server(max_body_bytes=4096, body_seconds=0.5) as (url, _):
        yield url


@pytest.fixture(scope="module")
def guarded():
    options = {"api_key": KEY, "allowed_hosts": ("box.example",), "allowed_origins": ("http://app.example:3000",)}
    with fake_server(**options) as (url, _):
        yield url


def assert_error(response: httpx.Response, status: int, code: str, param: str | None = None) -> None:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert (error["code"], error["param"]) == (code, param)


def raw(url: str, request: bytes, seconds: float = 5) -> bytes:
    """Sends bytes that no HTTP client would, and returns what comes back until the server closes or time is up."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except TimeoutError:
            pass
        return answer


# Names and pages


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]:6900", "LOCALHOST:1", "localhost."])
def test_local_names_are_known(url, host):
    assert httpx.get(f"{url}/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:6900", "10.0.0.1", ""]
)
def test_a_rebound_name_is_refused(url, host):
    assert_error(httpx.get(f"{url}/v1/models", headers={"host": host}), 403, "host_not_allowed")
    assert_error(post(url, CHAT, chat_body(), headers={"host": host}), 403, "host_not_allowed")


def test_an_allowed_name_is_known(guarded):
    headers = {"host": "box.example:6900", "authorization": f"Bearer {KEY}"}
    assert httpx.get(f"{guarded}/v1/models", headers=headers).status_code == 200


def test_plain_host():
    assert plain_host("[FE80::1]:80") == "fe80::1"
    assert plain_host("fe80::1") == "fe80::1"
    assert plain_host("Example.org.:80") == "example.org"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:3000", "https://127.0.0.1"])
def test_foreign_pages_are_refused(url, origin):
    response = post(url, CHAT, chat_body(), headers={"origin": origin})
    assert_error(response, 403, "origin_not_allowed")
    assert "access-control-allow-origin" not in response.headers


def test_a_page_of_this_server_may_call_it(url):
    assert post(url, CHAT, chat_body(), headers={"origin": url}).status_code == 200


def test_an_allowed_page_may_call_and_read(guarded):
    headers = {"origin": "http://app.example:3000", "authorization": f"Bearer {KEY}"}
    response = post(guarded, CHAT, chat_body(), headers=headers)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "http://app.example:3000"
    assert "origin" in response.headers["vary"].lower()


def test_an_allowed_page_can_read_errors_too(guarded):
    response = post(guarded, CHAT, chat_body(), headers={"origin": "http://app.example:3000"})
    assert_error(response, 401, "invalid_api_key")
    assert response.headers["access-control-allow-origin"] == "http://app.example:3000"


def test_preflight(guarded):
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    allowed = httpx.options(guarded + CHAT, headers={"origin": "http://app.example:3000", **asked})
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == "http://app.example:3000"
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert allowed.headers["access-control-allow-headers"] == "authorization,content-type"
    refused = httpx.options(guarded + CHAT, headers={"origin": "http://evil.example", **asked})
    assert_error(refused, 403, "origin_not_allowed")


def test_the_star_allows_all_pages():
    with fake_server(allowed_origins=("*",)) as (url, _):
        response = post(url, CHAT, chat_body(), headers={"origin": "http://any.example"})
        assert response.headers["access-control-allow-origin"] == "http://any.example"


# Keys


def test_the_key_opens(guarded):
    assert client(guarded, api_key=KEY).models.list().data[0].id == MODEL


@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {KEY}", KEY, "Bearer x", "Bearer \xe9"])
def test_without_the_key_nothing_opens(guarded, header):
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    for response in (
        httpx.get(f"{guarded}/v1/models", headers=headers),
        httpx.get(f"{guarded}/metrics", headers=headers),
    ):
        assert_error(response, 401, "invalid_api_key")
        assert response.headers["www-authenticate"] == "Bearer"


def test_the_official_client_sees_an_authentication_error(guarded):
    with pytest.raises(openai.AuthenticationError) as caught:
        client(guarded, api_key="wrong").models.list()
    assert caught.value.code == "invalid_api_key"


def test_health_needs_no_key(guarded):
    assert httpx.get(f"{guarded}/health").json()["status"] == "ok"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])  # noqa: S104 - refused is the point
def test_listening_to_others_needs_a_key(host):
    with pytest.raises(ServerError, match="API key") as caught:
        ServerOptions(host=host).check()
    assert "--api-key" in caught.value.hint
    ServerOptions(host=host, api_key=KEY).check()


@pytest.mark.parametrize("key", ["", "two\nlines", "schlüssel"])
def test_keys_that_no_header_can_carry(key):
    with pytest.raises(ServerError, match="API key"):
        ServerOptions(api_key=key).check()


def test_the_key_is_not_shown():
    assert KEY not in repr(ServerOptions(api_key=KEY))


# Limits


def test_a_body_announced_as_too_large(url):
    response = post(url, CHAT, chat_body(messages=[{"role": "user", "content": "x" * 5000}]))
    assert_error(response, 413, "request_too_large")


def test_a_body_that_grows_too_large(url):
    def parts():
        for _ in range(100):
            yield b"x" * 1000

    response = httpx.post(url + CHAT, content=parts(), headers={"content-type": "application/json"})
    assert_error(response, 413, "request_too_large")


def test_a_body_that_never_comes(url):
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    answer = raw(url, f"{head}content-length: 100\r\nconnection: close\r\n\r\n{{".encode())
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert b"request_timeout" in answer


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"[" * 2000, b'{"a":' * 500, b"\xff\xfe", b'{"model": NaN'])
def test_what_is_not_json(url, body):
    response = httpx.post(url + CHAT, content=body, headers={"content-type": "application/json"})
    assert_error(response, 400, "invalid_json")


@pytest.mark.parametrize("body", [[], "text", 1, True])
def test_what_is_not_an_object(url, body):
    assert_error(post(url, CHAT, body), 400, "invalid_value")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_taken(url, kind):
    response = httpx.post(url + CHAT, content=b"{}", headers={"content-type": kind})
    assert_error(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/docs", "/v1/chat/completions/"])
def test_unknown_paths(url, path):
    assert_error(httpx.get(url + path), 404, "not_found")


def test_wrong_methods(url):
    response = httpx.get(url + CHAT)
    assert_error(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_every_response_has_an_id(url):
    ids = {httpx.get(url + path).headers["x-request-id"] for path in ("/health", "/v1/models", "/nothing")}
    assert len(ids) == 3


def test_a_full_queue_says_when_to_come_back():
    engine = FakeEngine(max_sequences=1, max_queue=1)
    with fake_server(engine, keep_alive_seconds=0.1) as (url, _):
        endless = chat_body(messages=[{"role": "user", "content": "SAY:HANG"}], stream=True)
        with httpx.stream("POST", url + CHAT, json=endless), httpx.stream("POST", url + CHAT, json=endless):
            assert engine.stats()["running"] == engine.stats()["waiting"] == 1
            for body in (chat_body(), chat_body(stream=True)):
                response = post(url, CHAT, body)
                assert_error(response, 429, "queue_full")
                assert int(response.headers["retry-after"]) >= 1
            with pytest.raises(openai.RateLimitError):
                client(url).chat.completions.create(**chat_body())


def test_requests_end_when_their_time_is_up():
    with fake_server(request_seconds=0.3) as (url, engine):
        body = chat_body(messages=[{"role": "user", "content": "SAY:HANG"}])
        assert_error(post(url, CHAT, body), 504, "request_timeout")
        assert_error(post(url, CHAT, {**body, "stream": True}), 504, "request_timeout")
        assert wait_until(lambda: engine.stats()["running"] == 0)


def test_a_stream_that_runs_out_of_time_says_so():
    with fake_server(request_seconds=0.5) as (url, engine):
        body = chat_body(messages=[{"role": "user", "content": "SAY:SLOW " + "x" * 1000}], stream=True)
        with pytest.raises(openai.APIError, match="longer than"):
            list(client(url).chat.completions.create(**body))
        assert wait_until(lambda: engine.stats()["running"] == 0)


# Starting and stopping


def test_a_port_in_use():
    with fake_server() as (url, _):
        port = int(url.rpartition(":")[2])
        with pytest.raises(ServerError, match="cannot listen") as caught:
            ApiServer({MODEL: FakeEngine()}, ServerOptions(port=port))
        assert "--port" in caught.value.hint


def test_an_alias_of_nothing():
    with pytest.raises(ServerError, match="not served"):
        ApiServer({MODEL: FakeEngine()}, ServerOptions(port=0, aliases={"a": "b"}))


def test_no_model_at_all():
    with pytest.raises(ServerError, match="no model"):
        ApiServer({}, ServerOptions(port=0))


def test_a_stream_that_is_running_when_the_server_stops_is_told():
    with fake_server(drain_seconds=0.1) as (url, engine):
        body = chat_body(messages=[{"role": "user", "content": "SAY:SLOW " + "x" * 3000}], stream=True)
        stream = client(url).chat.completions.create(**body)
        next(iter(stream))
        started = time.monotonic()
        # Leaving the block stops the server while the stream runs.
    with pytest.raises(openai.APIError, match="shutting down"):
        list(stream)
    assert time.monotonic() - started < 5
    assert engine.cancelled


def test_a_closed_engine_is_reported():
    engine = FakeEngine()
    with fake_server(engine) as (url, _):
        engine.close()
        assert_error(post(url, CHAT, chat_body()), 503, "service_unavailable")
        assert httpx.get(f"{url}/health").status_code == 503
        assert httpx.get(f"{url}/metrics").status_code == 200
