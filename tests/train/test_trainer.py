"""The loop: it learns, it resumes to the bit, and each option does what it says."""

import errno
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import SHAPE, Until, trainer

from synapse_engine.train.errors import CheckpointError, ConfigError
from synapse_engine.train.options import TrainOptions
from synapse_engine.train.run_folder import RunFolder
from synapse_engine.train.schedule import UNFREEZING, learning_rate, learns, phase_at
from synapse_engine.train.trainer import free_energy, gate_entropies


def weights(run: Path) -> dict[str, torch.Tensor]:
    return RunFolder(run).load(run / "checkpoint.pt")["model"]


def test_the_loss_falls(tmp_path: Path) -> None:
    watcher = Until()
    assert trainer(tmp_path, steps=120, learning_rate=1e-2).train(watcher)
    losses = [record["loss"] for record in watcher.records if record["kind"] == "train"]
    assert losses[0] > math.log(150)  # nothing is known of 260 tokens
    assert losses[-1] < losses[0] - 2
    assert [record["step"] for record in watcher.records if record["kind"] == "validation"][-1] == 120


@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_a_stopped_run_resumes_to_the_bit(tmp_path: Path, precision: str) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert trainer(whole, precision=precision).train(Until())
    for stop in (5, 9, 100):
        again = trainer(parts, precision=precision)
        complete = again.train(Until(again, stop))
    assert complete
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(parts)[name]), name


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    trainer(whole).train(Until())

    class Killed(Until):
        def record(self, record: dict[str, object]) -> None:
            if record["step"] == 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(killed, checkpoint_every=3).train(Killed())
    again = trainer(killed)
    assert again.step == 6
    assert again.train(Until())
    assert all(torch.equal(tensor, weights(killed)[name]) for name, tensor in weights(whole).items())

    def without_times(folder: Path) -> list[dict[str, object]]:
        return [
            {k: v for k, v in record.items() if k not in ("seconds", "tokens_per_second")}
            for record in RunFolder(folder).records()
        ]

    # Records after step 6 were made twice and are kept once. Averages start anew with the process, at step 6 here, too.
    assert without_times(killed) == without_times(whole)


def test_other_options_are_another_run(tmp_path: Path) -> None:
    trainer(tmp_path)
    with pytest.raises(CheckpointError, match=r"options.learning_rate = 0.001, not 0.5") as caught:
        trainer(tmp_path, learning_rate=0.5)
    assert "--out" in caught.value.hint


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    trainer(tmp_path).train(Until())
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: not a checkpoint"):
        trainer(tmp_path)


def test_accumulation_changes_no_result(tmp_path: Path) -> None:
    trainer(tmp_path / "one").train(Until())
    trainer(tmp_path / "four", accumulation=4).train(Until())
    for name, tensor in weights(tmp_path / "one").items():
        torch.testing.assert_close(tensor, weights(tmp_path / "four")[name], rtol=1e-3, atol=1e-4)


def test_bf16_is_near_f32(tmp_path: Path) -> None:
    losses = {}
    for precision in ("f32", "bf16"):
        watcher = Until()
        trainer(tmp_path / precision, precision=precision).train(watcher)
        losses[precision] = watcher.records[-1]["loss"]
    assert losses["bf16"] == pytest.approx(losses["f32"], rel=0.01)


def test_the_best_model_is_kept(tmp_path: Path) -> None:
    run = trainer(tmp_path, steps=30, learning_rate=1e-2)
    watcher = Until()
    run.train(watcher)
    best = RunFolder(tmp_path).load(tmp_path / "best.pt")
    assert best["loss"] == min(r["loss"] for r in watcher.records if r["kind"] == "validation")
    run.model.load_state_dict(best["model"])
    assert run.evaluate().loss == pytest.approx(best["loss"], rel=1e-6)


def test_free_energy(tmp_path: Path) -> None:
    model = trainer(tmp_path).model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(-math.e)
    assert free_energy(model).item() == pytest.approx(1, abs=1e-4)
    trainer(tmp_path / "without").train(Until())
    trainer(tmp_path / "with", free_energy=0.5).train(Until())
    without, with_it = (weights(tmp_path / name)["ln_f.weight"] for name in ("without", "with"))
    assert not torch.equal(without, with_it)


def test_gate_entropy_starts_at_the_highest(tmp_path: Path) -> None:
    assert gate_entropies(trainer(tmp_path / "softmax").model) == pytest.approx([math.log(3)] * 2)
    sigmoid = replace(SHAPE, gate="sigmoid")
    assert gate_entropies(trainer(tmp_path / "sigmoid", sigmoid).model) == [0.0, 0.0]


def test_the_rate_rises_and_falls() -> None:
    options = TrainOptions(steps=1000, warmup=50, learning_rate=2.0)
    rates = [learning_rate(step, options) for step in range(1000)]
    assert rates[0] == pytest.approx(2.0 / 50)
    assert rates[49] == max(rates) == 2.0
    assert rates[525] == pytest.approx(2 * (0.1 + 0.9 / 2))
    assert rates[999] == pytest.approx(0.2, rel=1e-3)
    assert learning_rate(9, TrainOptions(steps=100, warmup=500, learning_rate=2.0)) == 2.0  # at most a tenth


def test_phases_unfreeze_from_the_outside() -> None:
    assert [phase_at(step, 26_000) for step in (0, 10_399, 10_400, 18_199, 18_200, 25_999)] == [
        phase for phase in UNFREEZING for _ in (1, 2)
    ]
    parameters = (
        "junction.proj.weight", "out_proj.weight", "blocks.1.ln1.weight", "blocks.10.ln1.weight",
        "blocks.7.ffn.v.weight", "ln_f.weight", "donor.weight",
    )  # fmt: skip
    who = [[name for name in parameters if learns(phase, name)] for phase in UNFREEZING]
    assert [len(names) for names in who] == [2, 3, 6]


def test_a_frozen_part_does_not_move(tmp_path: Path) -> None:
    shape = replace(SHAPE, donor_hidden_size=8)
    run = trainer(tmp_path, shape, steps=10, phases=True, log_every=1)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    watcher = Until(run, 4)
    run.train(watcher)
    moved = {name for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"junction.proj.weight", "junction.norm.weight", "junction.norm.bias", "out_proj.weight"}
    again = trainer(tmp_path, shape, steps=10, phases=True, log_every=1)
    again.train(watcher := Until())
    assert torch.equal(again.model.donor.weight, before["donor.weight"])
    assert not torch.equal(again.model.ln_f.weight, before["ln_f.weight"])
    rates = {r["step"]: r["rate"] for r in watcher.records if r["kind"] == "train"}
    full = {step: learning_rate(step - 1, run.options) for step in rates}
    assert [round(rates[step] / full[step], 6) for step in (5, 7, 8, 10)] == [0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("given", "message"),
    [({"precision": "f8"}, "precision"), ({"accumulation": 3}, "3 passes"), ({"batch_size": 0}, "at least 1")],
)
def test_options_that_do_not_fit(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainOptions(**{"steps": 1} | given)


def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.save(run.best, {"step": 1})

    def fill(file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        run.write(run.best, fill)
    assert run.load(run.best) == {"step": 1}
    assert list(tmp_path.iterdir()) == [run.best]


def test_a_run_killed_before_its_first_checkpoint_starts_a_new_log(tmp_path: Path) -> None:
    RunFolder(tmp_path).append({"kind": "train", "step": 2})
    assert trainer(tmp_path).train(Until())
    steps = [record["step"] for record in RunFolder(tmp_path).records() if record["kind"] == "train"]
    assert steps == [2, 4, 6, 8, 10, 12]


def test_a_log_that_a_crash_cut_off(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.log.write_text(json.dumps({"step": 2}) + "\n" + json.dumps({"step": 4}) + '\n{"step": 5, "lo')
    run.forget_after(2)
    run.append({"step": 3})
    assert [record["step"] for record in run.records()] == [2, 3]
