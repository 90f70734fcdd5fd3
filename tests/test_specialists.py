"""Specialist files: the seven that come along, and what is said about files that users write."""

from collections.abc import Callable
from pathlib import Path

import pytest

from synapse_engine.options import GenerateOptions
from synapse_engine.specialists import SpecialistError, built_in, parse_specialist, read_folder, read_specialist
from synapse_engine.specialists.reading import MAX_FILE_BYTES, SAMPLING, STARTERS

GOOD = 'name = "cooking"\ndescription = "Recipes."\nexamples = ["how long do eggs take", "pie without butter"]\n'


def test_the_starters_are_complete() -> None:
    found = built_in()
    assert tuple(specialist.name for specialist in found) == STARTERS
    for specialist in found:
        assert 8 <= len(specialist.examples) <= 12
        assert specialist.system_prompt
        assert specialist.sampling
    texts = [text for specialist in found for text in specialist.examples]
    assert len(set(texts)) == len(texts)


def test_sampling_options_are_those_of_a_generation() -> None:
    assert set(SAMPLING) <= set(GenerateOptions.__annotations__)


def test_a_file_of_a_user() -> None:
    specialist = parse_specialist(GOOD + 'system_prompt = " A cook. "\n[sampling]\ntemperature = 1\ntop_k = 5\n', "x")
    assert specialist.name == "cooking"
    assert specialist.examples == ("how long do eggs take", "pie without butter")
    assert specialist.system_prompt == "A cook."
    assert specialist.sampling == {"temperature": 1, "top_k": 5}
    assert parse_specialist(GOOD, "x").system_prompt == ""


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (lambda t: t + "nme = 1\n", "x.toml: unknown field 'nme'", "did you mean `name`?"),
        (lambda t: t + "zzz = 1\n", "x.toml: unknown field 'zzz'", "known: name"),
        (lambda t: t.replace('name = "cooking"\n', ""), "the field `name` is missing", "README"),
        (lambda t: t.replace('"cooking"', "3"), "`name`: expected a text, found a number", "quotes"),
        (lambda t: t.replace('"cooking"', '"Ko ch"'), "`name`: 'Ko ch' is no name", "small letters"),
        (lambda t: t.replace('"cooking"', f'"{"a" * 40}"'), "`name`: 40 letters; at most 32", None),
        (lambda t: t.replace('"Recipes."', '" "'), "`description`: is empty", "what it is for"),
        (lambda t: t.replace("[", "[7, "), "`examples`, number 1: expected a text, found a number", "quotes"),
        (lambda t: t.split("examples")[0] + "examples = []", "expected 1 to 64 requests, found 0", "eight to twelve"),
        (lambda t: t.split("examples")[0] + 'examples = "a"', "expected a list of requests, found a text", "list"),
        (lambda t: t.split("examples")[0] + 'examples = ["Pie", "pie "]', "a request stands there twice", "new"),
        (lambda t: t + "sampling = 1\n", "`sampling`: expected a table of options, found a number", "[sampling]"),
        (lambda t: t + "[sampling]\ntemprature = 1\n", "unknown option 'temprature'", "did you mean `temperature`?"),
        (lambda t: t + "[sampling]\ntemperature = 3\n", "`sampling`.temperature: expected a number from 0 to 2", None),
        (lambda t: t + "[sampling]\ntemperature = nan\n", "found nan", None),
        (lambda t: t + "[sampling]\ntop_k = 1.5\n", "expected a whole number, found a number", None),
        (lambda t: t + "[sampling]\ntop_p = true\n", "expected a number, found true or false", None),
        (lambda t: t + "name = ", "x.toml: no TOML", 'name = "value"'),
        (lambda t: "a = " + "[" * 100_000, "x.toml: ", None),
    ],
)
def test_errors_say_what_to_change(change: Callable[[str], str], message: str, hint: str | None) -> None:
    with pytest.raises(SpecialistError) as caught:
        parse_specialist(change(GOOD), "x.toml")
    assert message in str(caught.value)
    assert hint is None or hint in (caught.value.hint or "")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecialistError, match="No such file"):
        read_specialist(tmp_path / "missing.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "caf\xe9"')
    with pytest.raises(SpecialistError, match="not UTF-8 at byte 11"):
        read_specialist(tmp_path / "latin.toml")
    (tmp_path / "latin.toml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(SpecialistError, match=f"{MAX_FILE_BYTES + 1} bytes"):
        read_specialist(tmp_path / "latin.toml")


def test_a_folder_has_each_name_once(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(GOOD)
    (tmp_path / "a.toml").write_text(GOOD.replace("cooking", "baking"))
    (tmp_path / "note.txt").write_text("not a specialist")
    assert [specialist.name for specialist in read_folder(tmp_path)] == ["baking", "cooking"]
    (tmp_path / "c.toml").write_text(GOOD)
    with pytest.raises(SpecialistError, match=r"c\.toml: the name 'cooking' is taken by b\.toml"):
        read_folder(tmp_path)
