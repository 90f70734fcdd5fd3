"""bench.swarm: whose answer counts, figures by hand, and a run on a tiny model with random adapters."""

import math
from collections.abc import Iterable
from pathlib import Path

import pytest
from bench.perplexity import Losses
from bench.random_adapter import write_random_adapter
from bench.swarm import __main__ as command
from bench.swarm import choosing, figures, teaching
from bench.swarm.run import Run, Settings, decide, measure
from bench.swarm.teaching import find
from bench.tasks import general, training
from bench.tasks.task import KINDS
from tests.oracle import tiny_models

from synapse_engine import Engine
from synapse_engine.results import Generation, Token, Usage
from synapse_engine.routing import Decision
from synapse_engine.specialists import Specialist

LLAMA = tiny_models.TinyModel("base", "llama", tiny_models.shape(48, 4, 2, 64, max_position_embeddings=4096))
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}<assistant>"


def answer(*logprobs: float) -> Generation:
    return Generation("x", "stop", Usage(), tuple(Token(1, b"x", value) for value in logprobs))


def decision(**probabilities: float) -> Decision:
    best = max(probabilities, key=lambda name: probabilities[name])
    return Decision(best, "chosen", probabilities, 1 - sum(probabilities.values()))


ANSWERS = {
    None: [answer(-0.1), answer(-0.1), answer(-3.0)],
    "arithmetic": [answer(-0.2, -0.4), answer(-5.0), answer(-0.1, -0.1)],
    "sql": [answer(-2.0), answer(-0.5), answer()],
}
DECISIONS = [decision(arithmetic=0.6, sql=0.3), decision(arithmetic=0.6, sql=0.3), decision(arithmetic=0.1, sql=0.8)]


def test_whose_answer_counts() -> None:
    assert choosing.routed(DECISIONS) == ["arithmetic", "arithmetic", "sql"]
    # ln 0.6 - 0.3 > ln 0.3 - 2; ln 0.6 - 5 < ln 0.3 - 0.5; an empty answer never wins.
    assert choosing.parallel(ANSWERS, DECISIONS, 2) == ["arithmetic", "sql", "arithmetic"]
    # Now the base, too: ln 0.1 - 0.1 < ln 0.3 - 0.5.
    assert choosing.parallel(ANSWERS, DECISIONS, 3) == ["arithmetic", "sql", "arithmetic"]
    assert choosing.parallel(ANSWERS, [decision(arithmetic=0.2, sql=0.1)] * 3, 3) == [None, None, "arithmetic"]
    assert choosing.likeliest_answer(ANSWERS) == [None, None, "arithmetic"]


def test_figures_by_hand() -> None:
    half = figures.share([True, False])
    assert half.value == 0.5
    assert half.low == pytest.approx(1 - half.high)
    even = figures.perplexity(Losses([4.0, 4.0, 4.0], [2, 2, 2]))
    assert (even.low, even.value, even.high) == pytest.approx((math.exp(2),) * 3)
    uneven = figures.perplexity(Losses([2.0, 9.0], [2, 3]))
    assert uneven.value == pytest.approx(math.exp(11 / 5))
    assert (uneven.low, uneven.high) == pytest.approx((math.e, math.exp(3)))
    rows = [figures.Row("base", {"sql": half}, even), figures.Row("routed", {"sql": half})]
    assert figures.table(rows, {"sql": 2, "general": 1}).splitlines()[2:] == [
        "| base | 50.0 % (9.5 to 90.5) |  | 7.39 (7.39 to 7.39) |",
        "| routed | 50.0 % (9.5 to 90.5) |  |  |",
    ]


def test_general_questions() -> None:
    questions = general.questions()
    assert len({question.request for question in questions}) == len(questions) >= 50
    assert all(question.right(f"It is {question.answer}.") for question in questions)
    gas = next(question for question in questions if "photosynthesis" in question.request)
    assert gas.answers == ("carbon dioxide", "CO2")
    assert gas.right("Plants take in co2.")
    assert not gas.right("Plants take in oxygen.")
    sun = next(question for question in questions if question.answers == ("Sun",))
    assert not sun.right("on Sunday"), "whole words"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tiny_models.build(LLAMA).save_pretrained(folder)
    tiny_models.tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture
def runs(base: Path, tmp_path: Path) -> list[Path]:
    with Engine(base, packed_file=False) as engine:
        for seed, kind in enumerate(KINDS):
            write_random_adapter(tmp_path / kind / kind, engine.info, rank=4, seed=seed)
            fields = f'name = "{kind}"\ndescription = "d"\nexamples = ["e"]\nadapter = "{kind}"\n'
            (tmp_path / kind / f"{kind}.toml").write_text(fields)
    return [tmp_path / kind for kind in KINDS]


def test_a_run_on_a_tiny_model(
    base: Path, runs: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def decided(run: Run, specialists: Iterable[Specialist]) -> list[Decision]:
        others = len(list(specialists)) > 2
        return [decision(**{"code" if others else "arithmetic": 0.6, "sql": 0.3})] * len(run.everything)

    monkeypatch.setattr("bench.swarm.asking.LONGEST", 4)
    monkeypatch.setattr("bench.swarm.wall.NEW_TOKENS", 4)
    monkeypatch.setattr("bench.swarm.run.decide", decided)
    settings = Settings(base, quant="none", count=3, text_tokens=600, rounds=2, wall_model=base)
    run = Run.of(settings, find(runs))
    measure(run)
    assert [row.name for row in run.rows] == [
        "base", "base, shown 4 answers", "arithmetic", "sql", "routed", "parallel, the two likeliest",
        "parallel, both and the base", "parallel, by likelihood alone", "routed, beside the starters",
        "both adapters added", "TIES merge, trim 0.8",
    ]  # fmt: skip
    routing = run.found["routing"]
    assert [routing["two specialists"][kind]["value"] for kind in run.tasks] == [1, 0, 0]
    assert [routing["beside the starters"][kind]["value"] for kind in run.tasks] == [0, 0, 1]
    assert run.found["chosen"]["routed"] == {kind: {"arithmetic": len(tasks)} for kind, tasks in run.tasks.items()}
    costs = {row.name: row.perplexity.value for row in run.rows if row.perplexity}
    assert len(set(costs.values())) == len(costs) == 5, "each adapter computes something else"
    command.show(run)
    shown = capsys.readouterr().out
    assert "two specialists: sql routed right 0.0 %" in shown
    assert "wall time of four random adapters" in shown


def test_the_coordinator_that_comes_along_decides(base: Path, runs: list[Path]) -> None:
    taught = [
        Specialist(kind, teaching.DESCRIPTIONS[kind], tuple(task.request for task in training(kind, 8, 1)))
        for kind in KINDS
    ]
    run = Run.of(Settings(base, count=60), find(runs))
    decisions = run.by_kind(decide(run, taught))
    shares = {
        kind: sum(decision.specialist == (kind if kind in KINDS else None) for decision in found) / len(found)
        for kind, found in decisions.items()
    }
    assert shares["sql"] > 0.95
    assert shares["arithmetic"] > 0.85
    # Questions for nobody go to nobody.
    assert shares["general"] > 0.9


def test_both_adapters_added_are_their_linear_merge(base: Path, runs: list[Path], tmp_path: Path) -> None:
    from bench.swarm.asking import text_losses

    from synapse_engine.merge import MergeRequest, merge

    specialists = find(runs)
    settings = Settings(base, quant="none")
    request = MergeRequest(base, tuple((one.adapter, 1.0) for one in specialists.values()), tmp_path / "m", "linear")
    tokens = list(range(10, 300))
    with settings.open(base) as engine, settings.open(merge(request).target) as merged:
        for name, specialist in specialists.items():
            engine.load_adapter(name, specialist.adapter)
        added = text_losses(engine, tokens, dict.fromkeys(specialists, 1.0)).perplexity
        assert added == pytest.approx(text_losses(merged, tokens, {}).perplexity, rel=1e-4)
        assert added != pytest.approx(text_losses(engine, tokens, {}).perplexity, rel=1e-3)


def test_without_specialists(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no specialist arithmetic and no sql"):
        find([tmp_path])


def test_training_is_the_command_that_users_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its options are understood; the training itself has tests of its own."""
    from click.testing import CliRunner

    from synapse_engine.cli.app import synapse

    commands: list[list[str]] = []
    monkeypatch.setattr(teaching.subprocess, "run", lambda command, check: commands.append(command[3:]))
    monkeypatch.setattr(teaching, "CONVERSATIONS", 3)
    assert teaching.train(tmp_path / "nowhere", tmp_path, 1) == [tmp_path / kind for kind in KINDS]
    for each in commands:
        result = CliRunner().invoke(synapse, each)
        assert "nowhere': no such file or folder" in result.stderr
