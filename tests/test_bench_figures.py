"""bench/: figures to ratios, shares and moves, and the work in a model, against counts by hand. Nothing is timed."""

import random
from pathlib import Path

import pytest
from bench import compare, report, run
from bench.cases import CASES
from bench.make_random_gguf import SHAPES, Shape, write_random_gguf
from bench.quant_mix import MIXES
from bench.report import Figure
from bench.run import QUICK_CASES, QUICK_MODELS, QUICK_PEERS, arguments, rotated
from bench.work import Work, work_of
from bench.worker import PeerError
from gguf import GGUFWriter

from synapse_engine.cli.account import Roofs

TINY = Shape(hidden=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn=96, vocab=320)
# q and o (64, 64), k and v (32, 64), gate, up and down of 96 by 64.
TINY_LAYER = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64


def test_work_of_a_model_with_a_tied_head(tmp_path: Path):
    path = tmp_path / "tiny.gguf"
    write_random_gguf(path, TINY, MIXES["q8_0"])
    floats = 4 * (2 * (64 + 32 + 32) + 5 * 64)  # biases of q, k, v; norms
    assert work_of(path) == Work(
        layer_multiply_adds=2 * TINY_LAYER,
        head_multiply_adds=320 * 64,
        weight_bytes=(2 * TINY_LAYER + 320 * 64) * 34 // 32 + floats,
        kv_bytes=2 * (32 + 32) * 2,
    )


def test_a_table_of_embeddings_that_is_not_the_head_is_not_read(tmp_path: Path):
    import numpy as np

    path = tmp_path / "untied.gguf"
    writer = GGUFWriter(path, "llama")
    shapes = {"token_embd.weight": (10, 4), "output.weight": (10, 4), "blk.0.attn_k.weight": (2, 4)}
    for name, shape in shapes.items():
        writer.add_tensor(name, np.ones(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert work_of(path) == Work(layer_multiply_adds=8, head_multiply_adds=40, weight_bytes=4 * 48, kv_bytes=2 * 2 * 2)


def test_work_by_token():
    work = Work(layer_multiply_adds=1000, head_multiply_adds=512, weight_bytes=7000, kv_bytes=3)
    assert work.prefill_operations(512) == 2 * 1001
    assert work.decode_bytes(96) == 7000 + 288


class Told:
    """A worker that answers at once."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)

    def call(self, *_: object) -> float:
        if not self.seconds:
            raise PeerError("tired")
        return self.seconds.pop(0)


def test_a_share_is_of_the_roofs_just_before_and_after(monkeypatch: pytest.MonkeyPatch):
    roofs = [Roofs("portable", 1, read, 1.0) for read in (1e11, 3e11, 4e11, 4e11, 8e11)]
    monkeypatch.setattr(run, "measure_roofs", lambda _: roofs.pop(0))
    case = next(case for case in CASES if case.name == "decode 128")
    found = Figure("m", case.name, case.unit, roof=case.roof)
    asked = run.Run(arguments(["--quick"]), [], [])
    worker, work = Told(128 / 40, 128 / 50), Work(0, 0, weight_bytes=10**9, kv_bytes=0)
    for _ in range(3):
        run.attempt(asked, work, found, case, ("synapse", worker), random.Random(0))
    assert found.rounds == {"synapse": [pytest.approx(40), pytest.approx(50)]}
    assert found.shares == {"synapse": [pytest.approx(40 / 200), pytest.approx(50 / 400)]}
    assert found.refused == {"synapse": "tired"}
    assert asked.roofs == Roofs("portable", 1, 8e11, 1.0)


def test_passes_are_held_against_the_same_rounds_of_one_row():
    one = Figure("m", "pass of 1", "ms", higher_is_better=False, rounds={"synapse": [10.0, 20.0], "other": [5.0]})
    eight = Figure("m", "pass of 8", "ms", higher_is_better=False, rounds={"synapse": [15.0, 28.0], "other": [20.0]})
    found = report.relative(eight, one, "8 / 1")
    assert found.rounds == {"synapse": [1.5, 1.4], "other": [4.0]}
    assert found.ratio() == pytest.approx(4.0 / 1.5), "the other had one round"


def test_the_ratio_is_that_of_neighbours_in_time():
    rounds = {"synapse": [30.0, 60.0, 61.0], "slow": [5.0, 10.0, 10.0], "fast": [15.0, 30.0, 15.5]}
    assert Figure("m", "decode", "tok/s", rounds=rounds).ratio() == pytest.approx(2.0)
    assert Figure("m", "pass", "ms", higher_is_better=False, rounds=rounds).ratio() == pytest.approx(1 / 6)
    assert Figure("m", "decode", "tok/s", rounds={"synapse": [1.0]}).ratio() is None
    assert Figure("m", "decode", "tok/s", rounds={"fast": [1.0]}).ratio() is None


def figure(
    value: float, peer: float, *, spread: float = 0.0, higher: bool = True, share: float | None = None
) -> Figure:
    rounds = {"synapse": [value * (1 - spread), value, value * (1 + spread)], "other": [peer] * 3}
    shares = {} if share is None else {"synapse": [share]}
    return Figure("m", "decode", "tok/s", higher, "read", rounds, shares)


def moves(old: Figure, new: Figure) -> list[compare.Move]:
    return compare.compare({"figures": [old.record()]}, {"figures": [new.record()]})


def test_a_change_within_the_noise_of_the_rounds_is_none():
    assert not moves(figure(100, 50), figure(102.9, 50))[0].moved
    assert moves(figure(100, 50), figure(103.1, 50))[0].moved
    assert not moves(figure(100, 50, spread=0.1), figure(115, 50))[0].moved
    assert moves(figure(100, 50, spread=0.1), figure(125, 50))[0].moved


def test_a_ratio_that_moved_is_told_though_the_figure_did_not():
    (found,) = moves(figure(100, 50, share=0.8), figure(100, 40, share=0.9))
    assert found.moved
    assert (found.gain, found.ratio_gain, found.shares) == (1.0, pytest.approx(1.25), (0.8, 0.9))


def test_only_peers_of_both_records_are_compared_with():
    old, new = figure(100, 50), figure(120, 50)
    new.rounds["another"] = [500.0]
    assert moves(old, new)[0].ratio_gain == pytest.approx(1.2)
    del new.rounds["other"]
    assert moves(old, new)[0].ratio_gain is None


def test_less_time_is_a_gain():
    (found,) = moves(figure(100, 200, higher=False), figure(80, 200, higher=False))
    assert (found.gain, found.ratio_gain) == (pytest.approx(1.25), pytest.approx(1.25))
    assert "better" in found.line()


def test_a_summary_names_what_moved_and_the_record():
    old, new = {"figures": [figure(100, 50).record()]}, {"figures": [figure(50, 50).record()]}
    assert compare.summary(old, new, "before.json").splitlines() == [
        "1 of 1 figures moved since before.json:",
        "m, decode: 100.00 -> 50.00 tok/s (0.50x, worse); beside the best peer 0.50x; noise 3 %",
    ]
    assert compare.summary(old, old, "before.json") == "0 of 1 figures moved since before.json"
    assert compare.summary({"figures": []}, new, "before.json") == "nothing to compare with before.json"


def test_figures_that_only_one_record_has_are_left_out():
    alone = Figure("m", "decode", "tok/s", rounds={"other": [1.0]})
    assert moves(alone, figure(1, 1)) == []


def test_the_table_shows_ratio_and_share():
    shown = report.table([figure(100, 50, share=0.814)], ["synapse", "other"]).splitlines()
    assert shown[0].split() == ["model", "case", "unit", "synapse", "other", "ratio", "of", "roof"]
    assert shown[1].split()[:6] == ["m", "decode", "tok/s", "100.00", "50.00", "2.00x"]
    assert "81 %" in shown[1]


def test_quick_names_what_exists():
    everything = arguments(["--quick"])
    chosen = [f"--{what}={name}" for what, names in (("model", QUICK_MODELS), ("case", QUICK_CASES)) for name in names]
    assert everything.quick
    assert arguments([*chosen, *(f"--peer={peer}" for peer in QUICK_PEERS)]).case == QUICK_CASES
    assert {name.rsplit("-random-")[0] for name in QUICK_MODELS} == set(SHAPES)


def test_everyone_goes_first_in_turn():
    assert [rotated(["a", "b", "c"], turn)[0] for turn in range(4)] == ["a", "b", "c", "a"]
    assert rotated([], 3) == []
