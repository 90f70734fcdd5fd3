"""What was written by hand to learn from: whole, varied, and apart from what judges."""

from __future__ import annotations

import json
import re
from collections import Counter

from bench.routing import HELD_OUT
from bench.routing_own import OWN

from synapse_engine.train.routing.requests import LABELS, normalised, read_requests
from synapse_engine.train.routing.variety import HeldOut
from synapse_engine.train.routing.written import fields, ways_to_ask, words, written_requests, written_specialists


def test_every_label_has_many_requests_and_none_comes_twice() -> None:
    requests = written_requests()
    counts = Counter(request.label for request in requests)
    assert set(counts) == set(LABELS)
    assert min(counts.values()) > 200
    assert Counter(request.turns for request in requests).most_common(1)[0][1] == 1


def test_specialists_have_texts_and_names_of_their_own() -> None:
    specialists = written_specialists()
    assert len({one.name for one in specialists}) == len(specialists) > 400
    for one in specialists:
        assert one.description
        assert len(set(one.texts)) == len(one.texts) >= 12
        assert one.family is None or one.family in LABELS
    assert {one.family for one in specialists} > set(LABELS) - {"general"}


def test_nothing_of_it_judges() -> None:
    judges = json.loads(OWN.read_text("utf-8"))
    asked = {normalised(text) for record in judges for text in (*record["examples"], *record["requests"])}
    specialists = written_specialists()
    assert not {one.name for one in specialists} & {record["name"] for record in judges}
    assert not [text for one in specialists for text in one.texts if normalised(text) in asked]
    held_out = HeldOut(request.text for request in read_requests(HELD_OUT))
    near = [request for request in written_requests() if held_out.same(request.text) is not None]
    # A few words that anybody may write ("hi", "asdf") are in both; training leaves them out.
    assert all(len(request.text) < 25 for request in near)
    assert len(near) < 20


def test_words_of_other_languages_and_of_fields() -> None:
    rows = words()
    assert len(rows) > 2000
    assert all(len(row) == 6 and all(row) for row in rows)
    assert ("kitchen", "Küche") in {row[:2] for row in rows}
    assert all(len(field.words) >= 20 for field in fields())


def test_ways_to_ask_have_the_same_slots_in_all_languages() -> None:
    ways = ways_to_ask()
    assert len({way[0] for way in ways}) == len(ways) > 300
    assert sum(len(way) == 6 for way in ways) > 80
    for way in ways:
        slots = [re.findall(r"{[^}]*}", text) for text in way]
        assert {*slots[0]} <= {"{noun}", "{verb}", "{adjective}"}
        assert len(way) == 1 or (len(way) == 6 and {len(found) for found in slots} == {len(slots[0])})
        assert len(way) == 1 or {slot for found in slots for slot in found} == {"{noun}"}
