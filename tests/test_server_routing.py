"""`/v1/route` and `/v1/feedback`: what they answer, learn, forget and refuse. Engine and coordinator: the fakes."""

import json

import pytest

from routing_support import empty_bias, fake_desk
from server_fake import FakeEngine, FakeQueue
from server_support import HTTP, MODEL, post, running
from synapse_engine.routing import KeptBias, RoutingError
from synapse_engine.server.swarm.desk import Desk
from synapse_engine.specialists import Library

SQL = "List the ten customers with the highest total orders"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    kept = KeptBias(folder / "feedback.json", empty_bias())
    engine = FakeEngine()
    with running({MODEL: engine}, FakeQueue, desk=fake_desk(folder, kept), drain_seconds=0.02) as url:
        yield url, kept
    engine.close()


@pytest.fixture
def kept(served):
    served[1].reset()
    return served[1]


@pytest.fixture
def url(served, kept):
    return served[0]


def route(url, text=SQL, **fields):
    return post(url, "/v1/route", {"input": text, **fields}).json()


def test_a_route_says_who_and_why(url):
    found = route(url)
    assert (found["object"], found["specialist"], found["reason"]) == ("route", "sql", "chosen")
    assert sum(found["probabilities"].values()) + found["none"] == pytest.approx(1, abs=0.001)
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": [{"type": "text", "text": SQL}]}]
    again = post(url, "/v1/route", {"messages": messages, "explain": True}).json()
    assert again["probabilities"] == found["probabilities"]
    assert again["nearest_examples"][0]["specialist"] == "sql"
    assert again["changes"][0]["feedbacks"] > 0


def test_feedback_by_id_moves_the_routing(url):
    first = route(url)
    for _ in range(5):
        answer = post(url, "/v1/feedback", {"response_id": first["id"], "specialist": "code"}).json()
    assert answer["object"] == "feedback"
    assert (answer["before"]["specialist"], answer["after"]["specialist"]) != (None, None)
    assert answer["bias"]["code"]["after"] == answer["after"]["bias"]["code"] > answer["bias"]["code"]["before"] > 0
    now = route(url)
    assert (now["specialist"], now["reason"]) == ("code", "chosen by feedback")


@pytest.mark.parametrize("said", [{"rating": "down"}, {"reward": -1.0}, {"rating": "down", "specialist": "sql"}])
def test_a_rating_is_about_the_one_chosen(url, said):
    answer = post(url, "/v1/feedback", {"input": SQL, **said}).json()
    assert answer["rewards"] == {"sql": -1.0}
    assert answer["after"]["probabilities"]["sql"] < answer["before"]["probabilities"]["sql"]


def test_a_chat_is_remembered_by_its_id(url):
    body = {"model": "synapse", "messages": [{"role": "user", "content": SQL}]}
    answer = post(url, "/v1/chat/completions", body).json()
    rated = post(url, "/v1/feedback", {"response_id": answer["id"], "rating": "up"}).json()
    assert rated["rewards"] == {answer["synapse"]["specialist"]: 1} == {"sql": 1}


@pytest.mark.parametrize("stream", [False, True])
def test_of_several_the_one_that_answered_is_rated(url, stream):
    options = {"mode": "parallel", "specialists": ["writing", "math"]}
    body = {"model": "synapse", "messages": [{"role": "user", "content": SQL}], "synapse": options, "stream": stream}
    response = post(url, "/v1/chat/completions", body)
    answer = json.loads(response.text.removeprefix("data: ").split("\n")[0]) if stream else response.json()
    rated = post(url, "/v1/feedback", {"response_id": answer["id"], "rating": "down"}).json()
    assert rated["rewards"] == {answer["synapse"]["specialist"]: -1}
    assert rated["before"]["specialist"] == "sql"


def test_export_and_reset(url, kept):
    post(url, "/v1/feedback", {"input": SQL, "specialist": "code"})
    post(url, "/v1/feedback", {"input": "Is this sentence correct: He go home?", "specialist": "none"})
    exported = HTTP.get(f"{url}/v1/feedback").json()
    assert exported == json.loads(kept.export_json())
    assert [region["label"] for region in exported["regions"]][:1] == [SQL]
    assert HTTP.delete(f"{url}/v1/feedback?specialist=code").json() == {"object": "feedback.deleted", "deleted": 1}
    assert HTTP.delete(f"{url}/v1/feedback?region=1&specialist=sql").json()["deleted"] == 1
    assert HTTP.delete(f"{url}/v1/feedback?region=99").json()["deleted"] == 0
    assert HTTP.delete(f"{url}/v1/feedback").json()["deleted"] == 2
    assert HTTP.get(f"{url}/v1/feedback").json()["regions"] == []
    kept.import_json(json.dumps(exported))
    assert route(url)["bias"]["code"] == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/v1/route", {}, 400, "messages"),
        ("/v1/route", {"input": "a", "messages": [{"role": "user", "content": "a"}]}, 400, "messages"),
        ("/v1/route", {"input": " \n"}, 400, "input"),
        ("/v1/route", {"input": 7}, 400, "input"),
        ("/v1/route", {"input": "a", "explain": "yes"}, 400, "explain"),
        ("/v1/route", {"messages": [{"role": "user", "content": ""}]}, 400, "messages"),
        ("/v1/route", {"input": "a", "model": "x"}, 400, "model"),
        ("/v1/feedback", {"rating": "up"}, 400, "response_id"),
        ("/v1/feedback", {"input": "a", "response_id": "b", "rating": "up"}, 400, "response_id"),
        ("/v1/feedback", {"input": "a"}, 400, "specialist"),
        ("/v1/feedback", {"input": "a", "rating": "sideways"}, 400, "rating"),
        ("/v1/feedback", {"input": "a", "rating": "up", "reward": 1.0}, 400, "reward"),
        ("/v1/feedback", {"input": "a", "reward": 1.5}, 400, "reward"),
        ("/v1/feedback", {"input": "a", "specialist": "cooking"}, 404, "specialist"),
        ("/v1/feedback", {"response_id": "route-unknown", "rating": "up"}, 404, "response_id"),
    ],
)
def test_what_is_refused(url, kept, path, body, status, param):
    response = post(url, path, body)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param), response.text
    assert kept.describe() == []


@pytest.mark.parametrize(
    "query", ["region=x", "region=-1", "region=", "region=" + "9" * 400, "specialists=code", "all"]
)
def test_a_reset_that_is_not_understood_forgets_nothing(url, query):
    post(url, "/v1/feedback", {"input": SQL, "specialist": "code"})
    assert HTTP.delete(f"{url}/v1/feedback?{query}").status_code == 400
    assert len(HTTP.get(f"{url}/v1/feedback").json()["regions"]) == 1


def test_a_full_disk_is_said(url, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    response = post(url, "/v1/feedback", {"input": SQL, "specialist": "code"})
    assert (response.status_code, response.json()["error"]["code"]) == (507, "storage_error")


def test_without_a_coordinator_routing_is_unavailable(tmp_path):
    def missing(_):
        raise RoutingError("there is no coordinator")

    engine = FakeEngine()
    with running({MODEL: engine}, FakeQueue, desk=Desk(Library(tmp_path), missing), drain_seconds=0.02) as url:
        response = post(url, "/v1/route", {"input": "a"})
        assert (response.status_code, response.json()["error"]["code"]) == (503, "service_unavailable")
    engine.close()
