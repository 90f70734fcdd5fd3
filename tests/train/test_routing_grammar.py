"""The notation of grammars, and noise."""

from random import Random

import pytest

from synapse_engine.train.routing import noise
from synapse_engine.train.routing.grammar import Expansion, Grammar, GrammarError, Real, mend


def all_of(text: str, draws: int = 200, **files: str) -> set[str]:
    grammar = Grammar({"f": f"[start]\n{text}\n", **files})
    return {grammar.expand("f.start", Random(seed)) for seed in range(draws)}


def test_slots() -> None:
    assert all_of("a {b|c{d|}|} e") == {"a b e", "a cd e", "a c e", "a  e"}
    assert all_of("{3..5}") == {"3", "4", "5"}
    assert all(0.5 <= float(number) <= 0.7 and len(number) == 4 for number in all_of("{0.50..0.70}"))
    assert all_of("one\ntwo {three}\n[three ;]\nx; y;\nz") == {"one", "two x", "two y", "two z"}
    assert all_of(r"def f(): \{{1..1}\}\n\\d {a}", common="[a]\nb") == {"def f(): {1}\n\\d b"}
    assert all_of("{x=a} and {$x}\n[a ;]\np; q") == {"p and p", "q and q"}
    assert all_of("{other.a}", other="[a]\n# a comment\nb") == {"b"}


def test_an_own_section_comes_before_a_common_one() -> None:
    assert all_of("{a}\n[a]\nmine", common="[a]\ntheirs") == {"mine"}


def test_weights() -> None:
    grammar = Grammar({"f": "[start]\n*3 a\nb\n"})
    random = Random(1)
    assert 650 < [grammar.expand("f.start", random) for _ in range(1000)].count("a") < 850


def test_real_text_and_its_sources() -> None:
    files = {"f": "[start]\nfix: {real.function}\n[plain]\nx\n"}
    assert not Grammar(files).has_real("f.start")
    grammar = Grammar(files, {"function": [Real("def f(): {}", "tool 1.0 (MIT)")]})
    state = Expansion()
    assert grammar.has_real("f.start")
    assert not grammar.has_real("f.plain")
    assert grammar.expand("f.start", Random(1), state) == "fix: def f(): {}"
    assert state.sources == ["tool 1.0 (MIT)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{nowhere}", "f.start: nothing is called"),
        ("a {b|c", "a brace stays open"),
        ("a } b", "a brace closes that never opened"),
        ("[empty]", "f.start: has no alternative"),
    ],
)
def test_grammars_that_do_not_hold(text: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        Grammar({"f": f"[start]\n{text}\n"})


def test_a_grammar_without_end_is_found() -> None:
    with pytest.raises(GrammarError, match="without end"):
        Grammar({"f": "[a]\n{a}\n"}).expand("f.a", Random(1))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a old an dog", "an old a dog"),
        ("a university, a unit, a idea", "a university, a unit, an idea"),
        ("fix my a REST API", "fix my REST API"),
        ("where is it?.", "where is it?"),
    ],
)
def test_mending(text: str, wanted: str) -> None:
    assert mend(text) == wanted


def test_typos_stay_out_of_code_and_leave_words_alike() -> None:
    text = "please correct several important sentences\n    print(important); return"
    for seed in range(50):
        first, code = noise.typos(text, Random(seed), 1.0).split("\n")
        assert code == text.split("\n")[1]
        assert first != text.split("\n")[0]
        for word, typed in zip(text.split("\n")[0].split(), first.split(), strict=True):
            assert word[0] == typed[0]
            assert abs(len(word) - len(typed)) <= 1


def test_no_share_no_typos() -> None:
    assert noise.typos("several important words", Random(1), 0.0) == "several important words"


def test_sentence_case() -> None:
    assert noise.sentence_case("what if i go? ¿y tú? i.e.\nkeep This") == "What if I go? ¿y tú? I.e.\nkeep This"
