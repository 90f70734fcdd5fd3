"""Router and decisions: arithmetic by hand, feedback followed, explanations that come true. Coordinator: the fake."""

import json
import math

import pytest

from routing_support import FakeCoordinator, empty_bias, fake_router
from synapse_engine.routing import NONE, Decision, Router, RoutingError, decide, turns_of
from synapse_engine.routing.decision import Scores
from synapse_engine.routing.explaining import missing_bias
from synapse_engine.routing.place import place_of
from synapse_engine.routing.router import MOST_REMEMBERED
from synapse_engine.specialists import Specialist, built_in

SQL = "List the ten customers with the highest total orders"


def scores(**logits: float) -> Scores:
    return Scores([1.0], logits)


def test_a_decision_is_a_softmax_and_a_threshold():
    decision = decide(scores(math_=math.log(6), code=math.log(3), none=0.0), {}, 0.5)
    assert (decision.specialist, decision.reason) == ("math_", "chosen")
    assert decision.probabilities == pytest.approx({"math_": 0.6, "code": 0.3})
    assert decision.none == pytest.approx(0.1)
    assert list(decision.probabilities) == ["math_", "code"]


@pytest.mark.parametrize(
    ("logits", "bias", "threshold", "specialist", "reason"),
    [
        ({"a": 1.0, "b": 0.0, NONE: 0.0}, {}, 0.6, None, "below threshold"),
        ({"a": 1.0, "b": 0.0, NONE: 2.0}, {}, 0.0, None, "no specialist fits"),
        ({"a": 1.0, "b": 0.0, NONE: 0.0}, {"b": 3.0}, 0.5, "b", "chosen by feedback"),
        ({"a": 1.0, "b": 0.0, NONE: 0.0}, {"a": 1.0}, 0.5, "a", "chosen"),
        ({"a": 3.0, "b": 0.0, NONE: 0.0}, {NONE: 4.0}, 0.5, None, "left alone by feedback"),
        ({"a": 1.0, "b": 0.0, NONE: 0.0}, {"a": 1.0}, 0.6, "a", "chosen by feedback"),
        ({NONE: 0.0}, {}, 0.1, None, "no specialists"),
        ({"a": 1000.0, NONE: -1000.0}, {}, 0.5, "a", "chosen"),
    ],
)
def test_reasons(logits, bias, threshold, specialist, reason):
    decision = decide(Scores([1.0], logits), bias, threshold)
    assert (decision.specialist, decision.reason) == (specialist, reason)
    assert math.fsum(decision.probabilities.values()) + decision.none == pytest.approx(1)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", ["a", "b", NONE])
@pytest.mark.parametrize("logits", [(2.0, 1.0, 0.0), (0.0, 2.0, 3.0), (-5.0, 4.0, 1.0)])
def test_the_missing_bias_is_just_enough(logits, name, threshold):
    found = dict(zip(("a", "b", NONE), logits, strict=True))
    missing = missing_bias(found, name, threshold)

    def chosen(bias: float) -> bool:
        return (decide(Scores([1.0], found), {name: bias}, threshold).specialist or NONE) == name

    if missing == -math.inf:  # nobody reaches the threshold, whatever is added
        assert chosen(-1000.0)
        return
    assert chosen(missing + 1e-6)
    assert not chosen(missing - 1e-6)


def test_requests_go_where_their_words_stand():
    router = fake_router()
    decision = router.route(SQL)
    assert decision.specialist == "sql"
    assert decision.as_dict()["specialist"] == "sql"
    json.dumps(decision.as_dict(), allow_nan=False)
    assert router.route("qqqq zzzz xxxx").specialist is None
    assert Decision.asked_for("math").as_dict()["reason"] == "asked for"


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ("Hi", [("user", "Hi")]),
        ([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}], [("user", "Hi")]),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
            [("user", "a\nb")],
        ),
        ([("system", "s"), ("user", "Hi")], [("system", "s"), ("user", "Hi")]),
        ([("assistant", "only me")], [("assistant", "only me")]),
    ],
)
def test_the_request_is_the_last_turn_of_the_user(messages, turns):
    assert turns_of(messages) == turns


@pytest.mark.parametrize("messages", ["", "  \n", [], [{"role": "user", "content": ""}]])
def test_nothing_cannot_be_routed(messages):
    with pytest.raises(RoutingError, match="no request"):
        fake_router().route(messages)


def test_a_correction_is_followed_and_counts_against_the_wrong_one():
    router = fake_router()
    reaction = router.feedback(SQL, "code", 1)
    assert reaction.rewards == {"code": 1, "sql": -1}
    told = reaction.as_dict()
    assert told["bias"] == {"code": {"before": 0, "after": 4}, "sql": {"before": 0, "after": -4}}
    assert told["new_region"]
    for _ in range(4):
        router.feedback(SQL, "code", 1)
    decision = router.route(SQL)
    assert (decision.specialist, decision.reason) == ("code", "chosen by feedback")
    assert decision.bias["code"] > 0 > decision.bias["sql"]
    assert router.route("Is this sentence correct: He go home?").bias == dict.fromkeys(decision.bias, 0.0)


def test_praise_of_the_chosen_and_blame_touch_that_one_only():
    router = fake_router()
    assert router.feedback(SQL, "sql", 1).rewards == {"sql": 1}
    reaction = router.feedback(SQL, "sql", -1)
    assert reaction.rewards == {"sql": -1}
    assert reaction.after.bias["sql"] < reaction.before.bias["sql"]


def test_feedback_can_send_requests_to_the_plain_base():
    router = fake_router(none=2.0)
    assert router.route(SQL).specialist == "sql"
    for _ in range(8):
        router.feedback(SQL, None, 1)
    decision = router.route(SQL)
    assert (decision.specialist, decision.reason) == (None, "left alone by feedback")


def test_feedback_is_for_who_is_there():
    router = fake_router()
    with pytest.raises(RoutingError, match="no specialist 'cooking'") as caught:
        router.feedback(SQL, "cooking", 1)
    assert "general, math" in caught.value.hint
    with pytest.raises(RoutingError, match="not routed"):
        router.react(Decision.asked_for("math"), "math", 1)
    for reward in (2, math.nan):
        with pytest.raises(RoutingError, match="reward"):
            router.feedback(SQL, "sql", reward)
    assert len(router.hebbian) == 0


def test_what_was_remembered_can_be_judged_later():
    router = fake_router()
    for number in range(MOST_REMEMBERED + 1):
        router.remember(f"chatcmpl-{number}", router.route(SQL))
    reaction = router.react(router.remembered("chatcmpl-1"), "math", 1)
    assert reaction.after.bias["math"] == pytest.approx(router.route(SQL).bias["math"], abs=1e-4)
    router.answered("chatcmpl-1", "writing")
    assert router.remembered("chatcmpl-1").specialist == "writing"
    router.answered("chatcmpl-0", "writing")
    with pytest.raises(RoutingError, match="'chatcmpl-0' is remembered"):
        router.remembered("chatcmpl-0")


def test_an_explanation_comes_true():
    router = fake_router()
    router.feedback(SQL, "code", 0.3)
    told = router.route(SQL).explain()
    json.dumps(told, allow_nan=False)
    assert told["specialist"] == "sql"
    assert told["nearest_examples"][0]["specialist"] == "sql"
    assert [region["label"] for region in told["regions"]] == [SQL]
    assert told["without_feedback"]["probabilities"]["sql"] > told["probabilities"]["sql"]
    change = next(change for change in told["changes"] if change["specialist"] == "code")
    assert change["missing_bias"] > 0
    for count in range(1, change["feedbacks"] + 1):
        router.feedback(SQL, "code", 1)
        assert (router.route(SQL).specialist == "code") == (count == change["feedbacks"])


def test_explaining_learns_nothing_and_embeds_each_example_once():
    router = fake_router()
    decision = router.route(SQL)
    decision.explain()
    router._coordinator.embedded = 0
    decision.explain()
    assert router._coordinator.embedded == 0
    assert len(router.hebbian) == 0


def test_places_are_unit_vectors_that_know_how_requests_are_judged():
    one, other = [1.0, 0.0], [0.0, 1.0]
    sure, unsure = {"a": 0.9, NONE: 0.1}, {"b": 0.9, NONE: 0.1}

    def cosine(*pairs):
        (first, second) = (place_of(embedding, judged) for embedding, judged in pairs)
        assert math.hypot(*first) == pytest.approx(1)
        return math.fsum(a * b for a, b in zip(first, second, strict=True))

    assert cosine((one, sure), (one, sure)) == pytest.approx(1)
    assert cosine((one, sure), (other, sure)) == pytest.approx(0.5)
    assert cosine((one, sure), (one, unsure)) == pytest.approx(0.55, abs=0.08)
    assert cosine((one, sure), (other, unsure)) == pytest.approx(0.05, abs=0.08)
    assert all(math.isfinite(value) for value in place_of([0.0, 0.0], {}))


def test_specialists_come_and_go():
    coordinator = FakeCoordinator()
    router = Router(coordinator, built_in(), empty_bias())
    cooking = Specialist("cooking", "Recipes.", ("How long do I boil an egg?",))
    router.set_specialists([*built_in(), cooking])
    assert router.route("How long do I boil eggs?").specialist == "cooking"
    before = coordinator.embedded
    router.set_specialists((*built_in(), cooking))
    assert coordinator.embedded == before
    router.set_specialists([])
    assert router.route("How long do I boil eggs?").reason == "no specialists"
