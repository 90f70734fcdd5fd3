"""Generated requests are repeatable, varied and apart from the hand-written ones; the latter are sound."""

import json
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from synapse_engine.specialists import built_in
from synapse_engine.specialists.reading import STARTERS
from synapse_engine.train.errors import DataError
from synapse_engine.train.routing.generate import LANGUAGES, Generator, grammar, main, read_real
from synapse_engine.train.routing.harvest import functions, licence_of, packages
from synapse_engine.train.routing.requests import LABELS, NONE, Request, normalised, read_requests
from synapse_engine.train.routing.variety import measure, near_duplicates, overlap

HELD_OUT = Path(__file__).parents[2] / "bench" / "data" / "routing.jsonl"
SAMPLE = 25_000


@pytest.fixture(scope="module")
def held_out() -> list[Request]:
    return list(read_requests(HELD_OUT))


@pytest.fixture(scope="module")
def sample() -> list[Request]:
    return list(islice(Generator(1, grammar()).stream(), SAMPLE))


def test_held_out_requests_are_many_and_different(held_out: list[Request]) -> None:
    counts = Counter(request.label for request in held_out)
    assert set(counts) == set(LABELS)
    assert all(counts[label] >= 60 for label in LABELS if label != NONE)
    assert counts[NONE] >= 40
    assert len(held_out) >= 420
    assert len({request.turns for request in held_out}) == len(held_out)
    traits = Counter(trait for request in held_out for trait in request.traits)
    wanted = ("mislead", "paste", "multi", "typo", "long", "mixed", *(f"lang:{name}" for name in LANGUAGES))
    assert all(traits[trait] >= 8 for trait in wanted)
    found = near_duplicates([normalised(request.text).split() for request in held_out])
    assert found == 0.0


def test_no_held_out_request_is_generated(held_out: list[Request], sample: list[Request]) -> None:
    found = overlap([request.text for request in held_out], (request.text for request in sample))
    assert found.same == ()
    assert len(found.near) <= len(held_out) / 100, found.near


def test_no_held_out_request_is_an_example(held_out: list[Request]) -> None:
    examples = [text for specialist in built_in() for text in specialist.examples]
    found = overlap([request.text for request in held_out], examples)
    assert found.same == ()
    assert found.near == ()


def test_a_row_depends_on_seed_and_index_only(sample: list[Request]) -> None:
    again = Generator(1, grammar())
    assert [again.row(index) for index in (7, 3, 2000)] == [sample[index] for index in (7, 3, 2000)]
    assert next(again.stream(start=40)) == sample[40]
    assert Generator(2, grammar()).row(3) != sample[3]


def test_all_kinds_occur(sample: list[Request]) -> None:
    counts = Counter(request.label for request in sample)
    assert all(counts[label] > SAMPLE / 10 for label in LABELS if label != NONE)
    assert counts[NONE] > SAMPLE / 15
    traits = Counter((request.label, trait) for request in sample for trait in request.traits)
    for label in LABELS:
        assert all(traits[label, f"lang:{name}"] > SAMPLE / 500 for name in LANGUAGES)
        assert traits[label, "mislead"] > SAMPLE / 200
        assert traits[label, "multi"] > SAMPLE / 200
        assert traits[label, "paste"] > SAMPLE / 200
    assert all(request.text.strip() for request in sample)


def test_requests_are_varied(sample: list[Request]) -> None:
    for label in LABELS:
        texts = [request.text for request in sample if request.label == label]
        found = measure(texts)
        assert found.distinct > (0.7 if label == NONE else 0.85)
        assert found.near < 0.06
        assert found.fresh_5 > 0.7
        assert found.vocabulary > 2000


def test_every_section_is_used() -> None:
    """What no request can reach is dead text."""
    grammars = grammar()
    used = {"common.background", "common.opening", "common.closing"}
    used |= {
        f"{label}.{kind}" for label in LABELS for kind in ("request", "mislead", "paste", "reply", "followup", "real")
    }
    used |= {f"{name}.{kind}" for name in LANGUAGES for kind in (*LABELS, "opening", "closing")}
    used |= {f"{name}.followup_{label}" for name in LANGUAGES for label in STARTERS}
    assert grammars.reachable(used) == set(grammars.sections())


def test_lines(tmp_path: Path, sample: list[Request]) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text("".join(request.to_json() + "\n" for request in sample[:200]))
    assert list(read_requests(file)) == sample[:200]
    assert {"text", "messages"} == {key for line in file.read_text().splitlines() for key in list(json.loads(line))[:1]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: Expecting"),
        ('{"text": "a", "label": "poetry", "source": "x", "traits": []}', "unknown label 'poetry'"),
        ('{"label": "code", "source": "x", "traits": []}', "line 1: 'text'"),
        ('{"text": 3, "label": "code", "source": "x", "traits": []}', "expected texts"),
        ('{"messages": [{"content": "a"}, {"content": "b"}], "label": "code"}', "expected texts"),
        ("[]", "line 1: list indices"),
    ],
)
def test_lines_that_are_no_requests(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        list(read_requests(file))


def test_near_duplicates() -> None:
    a, b, c = "one two three four five six", "one two three four five six seven", "eight nine ten one two three"
    assert near_duplicates([text.split() for text in (a, b, c)]) == pytest.approx(2 / 3)
    assert near_duplicates([["one"], ["one"]]) == 0


def test_overlap() -> None:
    found = overlap(["A b, c d e f!", "x y z", "p q r s t u v w"], ["a b c d e f", "o p q r s t u o", "x y"])
    assert found.same == ("A b, c d e f!",)
    assert found.near == ("A b, c d e f!", "p q r s t u v w")


def test_rows_stay_apart_from_held_out_ones(
    tmp_path: Path, sample: list[Request], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "held_out.jsonl"
    file.write_text(sample[5].to_json() + "\n")
    monkeypatch.setattr("sys.argv", ["generate", "--start", "3", "--count", "5", "--apart", str(file)])
    main()
    assert capsys.readouterr().out.splitlines() == [sample[index].to_json() for index in (3, 4, 6, 7)]


def test_real_functions(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        'def add(first, second):\n    """Return the sum of `first` and `second`.\n\n    More.\n    """\n'
        "    total = first + second\n    # because it is asked for\n    return total\n\n"
        'def short():\n    """Too short to tell."""\n'
    )
    (tmp_path / "broken.py").write_text("def (")
    found = list(functions([tmp_path / "broken.py", module], "tool 1.0 (MIT)"))
    assert [(kind, real.source) for kind, real in found] == [("function", "tool 1.0 (MIT)"), ("task", "tool 1.0 (MIT)")]
    assert found[0][1].text.startswith("def add(first, second):\n    total = first + second")
    assert found[1][1].text == "return the sum of first and second"


def test_licences() -> None:
    from email.message import Message

    def stated(**fields: str) -> str | None:
        message = Message()
        for name, value in fields.items():
            message[name.replace("_", "-")] = value
        return licence_of(message)  # type: ignore[arg-type]

    assert stated(License_Expression="MIT") == "MIT"
    assert stated(Classifier="License :: OSI Approved :: BSD License") == "BSD License"
    assert stated(License="GPL-3.0") is None
    assert stated(License="MIT or LGPL-2.1") is None
    assert stated() is None
    assert any("pytest" in source and "MIT" in source for source, _ in packages())


def test_real_text_keeps_its_source(tmp_path: Path) -> None:
    file = tmp_path / "real.jsonl"
    pieces = [("function", "def f():\n    return 4711"), ("task", "count the ducks of a pond")]
    file.write_text("".join(json.dumps({"kind": k, "text": t, "source": "tool 1.0 (MIT)"}) + "\n" for k, t in pieces))
    rows = islice(Generator(1, grammar(read_real(file))).stream(), 400)
    real = [row for row in rows if "real" in row.traits]
    assert real
    assert {row.label for row in real} == {"code"}
    assert all(row.source == "grammar; tool 1.0 (MIT)" for row in real)
