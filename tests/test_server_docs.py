"""docs/api.md: its examples run, its tables name every field, error code and metric. Engine: the fake."""

import json
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest

from routing_support import fake_desk
from server_fake import FakeEngine, FakeQueue
from server_support import HTTP, running
from synapse_engine.server.errors import Code
from synapse_engine.server.options import ServerOptions
from synapse_engine.server.schemas.chat import ChatBody, Message
from synapse_engine.server.schemas.completions import CompletionBody
from synapse_engine.server.schemas.generation import GenerationBody, StreamOptions
from synapse_engine.server.schemas.library import AdapterBody, SpecialistBody
from synapse_engine.server.schemas.others import DetokenizeBody, EmbeddingBody, TokenizeBody
from synapse_engine.server.schemas.routing import FeedbackBody, RouteBody
from synapse_engine.server.schemas.swarm import SwarmOptions

PAGE = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
ADDRESS = "http://127.0.0.1:6900"
MODEL = "smollm2-135m-instruct"


def examples(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def named(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    engine = FakeEngine()
    with running({MODEL: engine}, FakeQueue, desk=fake_desk(tmp_path_factory.mktemp("specialists"))) as url:
        yield url
    engine.close()


@pytest.mark.parametrize("source", examples("python"))
def test_python_examples(url, source, capsys):
    assert ADDRESS in source
    exec(compile(source.replace(ADDRESS, url), "docs/api.md", "exec"), {})  # noqa: S102 - our own page
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("source", examples("bash"))
def test_curl_examples(url, source):
    curl, target, *options = (word for word in shlex.split(source) if word.strip())
    assert curl == "curl"
    flags = dict(zip(options[::2], options[1::2], strict=True))
    assert set(flags) == {"-H", "-d"}
    name, _, value = flags["-H"].partition(": ")
    response = HTTP.post(target.replace(ADDRESS, url), content=flags["-d"], headers={name: value})
    assert response.status_code == 200, response.text


def test_the_tables_name_every_field():
    both = named(section("Fields of both kinds of completion"))
    assert set(SwarmOptions.model_fields) <= named(section("Specialists in requests"))
    assert set(GenerationBody.model_fields) - {"max_tokens"} <= both
    assert set(StreamOptions.model_fields) <= both
    own = set(GenerationBody.model_fields) - {"max_tokens"}
    assert set(ChatBody.model_fields) - own <= named(section("Chat completions"))
    assert set(CompletionBody.model_fields) - own <= named(section("Completions"))
    assert set(EmbeddingBody.model_fields) <= named(section("Embeddings"))
    assert {"role", "content", "name"} <= set(Message.model_fields)
    endpoints = named(section("Endpoints"))
    assert set(TokenizeBody.model_fields) | set(DetokenizeBody.model_fields) <= endpoints
    assert set(RouteBody.model_fields) | set(FeedbackBody.model_fields) <= endpoints
    assert set(SpecialistBody.model_fields) | set(AdapterBody.model_fields) <= endpoints


def test_the_tables_name_no_field_that_is_not_there():
    column = re.findall(r"^\| (`[^|]+) \|", section("Chat completions") + section("Completions"), re.MULTILINE)
    fields = set(ChatBody.model_fields) | set(CompletionBody.model_fields)
    assert named(" ".join(column)) <= fields


def test_the_page_names_every_error_code():
    rows = [line.split("|") for line in section("Errors").splitlines() if line.startswith("| 4") or "| 5" in line]
    assert named(" ".join(row[2] for row in rows)) == set(get_args(Code))


def test_the_page_has_the_limits_right():
    options = ServerOptions()
    assert f"{options.max_body_bytes // 2**20} MiB" in PAGE
    assert f"within {options.body_seconds:g} s" in PAGE
    assert f"more than {options.request_seconds / 60:g} minutes" in PAGE
    assert f"every {options.keep_alive_seconds:g} s" in PAGE
    assert f"http://{options.host}:{options.port}" == ADDRESS


def test_the_page_names_every_metric(url):
    HTTP.post(f"{url}/v1/completions", content=json.dumps({"model": MODEL, "prompt": "a"}))
    text = HTTP.get(f"{url}/metrics").text
    types = dict(re.findall(r"^# TYPE (\w+) (counter|gauge|histogram)$", text, re.MULTILINE))
    assert {name for name in types if not name.endswith("_created")} == named(section("Metrics")) - {
        "method", "path", "status",
    }  # fmt: skip
