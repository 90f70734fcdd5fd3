"""Teaching a tiny model: packed is as if alone, it learns, it resumes to the bit, and what it writes is PEFT's."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_specialist as tiny
import torch
from peft import PeftModel
from tiny_training import Until
from transformers import AutoModelForCausalLM, AutoTokenizer

from synapse_engine import Engine
from synapse_engine.specialists import read_specialist
from synapse_engine.train.specialist.conversations import Conversation, read_conversations
from synapse_engine.train.specialist.encoding import Encoded, Encoder
from synapse_engine.train.specialist.loss import conversation_losses, token_losses
from synapse_engine.train.specialist.packing import Stream, assign, lay_out
from synapse_engine.train.specialist.result import write_specialist
from synapse_engine.train.specialist.start import SpecialistPlan, start

LONGER = [
    tiny.turns("Pack my box", "five dozen", "and then?", "liquor jugs 0123"),
    {
        "messages": [
            {"role": "system", "content": "Be quick."},
            *tiny.turns("The fox?", "It jumps over the dog.")["messages"],
        ]
    },
    tiny.turns("x", "y"),
]


@pytest.fixture(scope="module", params=[tiny.LLAMA, tiny.QWEN2], ids=["llama", "qwen2"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_base(tmp_path_factory.mktemp("base"), request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_base(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("data") / "data.jsonl", tiny.mapping())


def encoded(base: Path, rows: list[dict[str, Any]]) -> list[Encoded]:
    conversations = [Conversation(tuple(row["messages"]), at) for at, row in enumerate(rows, 1)]
    return Encoder(base, 96).encode(conversations)


def test_only_the_assistant_is_learned(llama: Path) -> None:
    one = encoded(llama, LONGER[:1])[0]
    tokenizer = AutoTokenizer.from_pretrained(llama)
    assert tokenizer.decode(one.tokens[one.learned]) == "five dozen</s>liquor jugs 0123</s>"
    assert tokenizer.decode(one.tokens) == (
        "<user>Pack my box</s><assistant>five dozen</s><user>and then?</s><assistant>liquor jugs 0123</s>"
    )


def test_a_prompt_has_the_tokens_that_the_engine_will_give_it(llama: Path) -> None:
    one = encoded(llama, LONGER[1:2])[0]
    with Engine(llama, packed_file=False) as engine:
        rendered = engine.native.apply_chat_template(json.dumps(LONGER[1]["messages"][:2]))
        assert engine.tokenize(rendered, add_special=False) == one.tokens[~one.learned].tolist()


def alone(model: Any, one: Encoded) -> float:
    """The mean loss of one conversation, as `transformers` computes it."""
    ids = torch.from_numpy(one.tokens)[None]
    labels = torch.where(torch.from_numpy(one.learned)[None], ids, -100)
    with torch.no_grad():
        return model(input_ids=ids, labels=labels).loss.item()


def test_packed_costs_what_each_costs_alone(base: Path, data: Path, tmp_path: Path) -> None:
    tuner = tiny.tuner(base, data, tmp_path)
    generator = torch.Generator().manual_seed(1)
    tuner.load({name: torch.randn(p.shape, generator=generator) * 0.2 for name, p in tuner.learned.items()})
    found = encoded(base, LONGER + tiny.mapping(9))
    rows = assign([len(one.tokens) for one in found], 96)
    assert max(map(len, rows)) == 3
    packed = lay_out(found, rows, 96)
    tuner.model.eval()
    losses = conversation_losses(tuner.model, packed.split(2), len(found))
    expected = torch.tensor([alone(tuner.model, one) for one in found]).double()
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)


def test_packed_gradients_are_those_of_each_alone(llama: Path, data: Path, tmp_path: Path) -> None:
    tuner = tiny.tuner(llama, data, tmp_path)
    found = encoded(llama, tiny.mapping(6))
    token_losses(tuner.model, lay_out(found, assign([len(one.tokens) for one in found], 96), 96)).sum().backward()
    packed = {name: p.grad.clone() for name, p in tuner.learned.items()}
    tuner.optimizer.zero_grad()
    for at in range(len(found)):
        token_losses(tuner.model, lay_out(found, [[at]], 96)).sum().backward()
    for name, p in tuner.learned.items():
        torch.testing.assert_close(p.grad, packed[name], rtol=1e-4, atol=1e-5)


def test_what_another_conversation_says_changes_nothing(llama: Path, data: Path, tmp_path: Path) -> None:
    """To the bit, as rows keep their shape."""
    tuner = tiny.tuner(llama, data, tmp_path)
    found = encoded(llama, tiny.mapping(6))
    packed = lay_out(found, [[0, 1]], 96)
    owners = packed.conversations[:, 1:][packed.learned[:, 1:]]
    before = token_losses(tuner.model, packed)[owners == 1]
    packed.tokens[packed.conversations == 0] = 7
    packed.tokens[packed.conversations == -1] = 9
    after = token_losses(tuner.model, packed)
    assert torch.equal(before, after[owners == 1])
    assert packed.conversations.eq(-1).any()


def test_every_conversation_once_an_epoch() -> None:
    source = np.random.default_rng(0)
    found = [Encoded(np.arange(n), np.ones(n, np.bool_)) for n in source.integers(2, 40, 200)]
    stream = Stream(found, 96, seed=5)
    first, second = stream.epoch(0), stream.epoch(1)
    for rows in (first, second):
        assert sorted(number for row in rows for number in row) == list(range(200))
        assert max(sum(len(found[number].tokens) for number in row) for row in rows) <= 96
        assert sum(len(one.tokens) for one in found) / (96 * len(rows)) > 0.9, "few places are left empty"
    assert first != second
    across = stream.batch(len(first) - 1, 3).conversations
    owners = [sorted(set(row.tolist()) - {-1}) for row in across]
    assert owners == [sorted(row) for row in (first[-1], second[0], second[1])]


def test_it_learns_a_mapping(base: Path, data: Path, tmp_path: Path) -> None:
    watcher = Until()
    tuner = tiny.tuner(base, data, tmp_path, steps=120, eval_every=40)
    assert tuner.train(watcher)
    looks = [record["loss"] for record in watcher.records if record["kind"] == "validation"]
    assert looks[0] > 3
    assert looks[-1] < 0.1
    model, tokenizer = tuner.model.eval(), AutoTokenizer.from_pretrained(base)
    for animal, answer in zip(tiny.ANIMALS, tiny.ANSWERS, strict=True):
        prompt = tokenizer(
            f"<user>501 {animal} 3</s><assistant>", add_special_tokens=False, return_tensors="pt"
        ).input_ids
        length = len(tokenizer(answer, add_special_tokens=False)["input_ids"])
        reply = model.generate(input_ids=prompt, max_new_tokens=length, do_sample=False)[0, prompt.shape[1] :]
        assert tokenizer.decode(reply) == answer


def test_a_stopped_run_resumes_to_the_bit(llama: Path, data: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert tiny.tuner(llama, data, whole).train(Until())
    for stop in (2, 5, 100):
        tuner = tiny.tuner(llama, data, parts)
        complete = tuner.train(Until(tuner, stop))
    assert complete
    assert all(torch.equal(tensor, tiny.checkpoint(parts)[name]) for name, tensor in tiny.checkpoint(whole).items())


def test_a_killed_run_goes_on_from_its_last_checkpoint(llama: Path, data: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    tiny.tuner(llama, data, whole).train(Until())

    class Killed(Until):
        def record(self, record: dict[str, Any]) -> None:
            if record["kind"] == "train" and record["step"] == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.tuner(llama, data, killed, checkpoint_every=3).train(Killed())
    again = tiny.tuner(llama, data, killed)
    assert again.step == 3
    assert again.train(Until())
    assert all(torch.equal(tensor, tiny.checkpoint(killed)[name]) for name, tensor in tiny.checkpoint(whole).items())


def test_a_step_does_not_depend_on_how_many_passes_it_takes(llama: Path, data: Path, tmp_path: Path) -> None:
    for name, tokens in (("one", 192), ("two", 96)):
        tiny.tuner(llama, data, tmp_path / name, pass_tokens=tokens, steps=2).train(Until())
    for name, tensor in tiny.checkpoint(tmp_path / "one").items():
        torch.testing.assert_close(tensor, tiny.checkpoint(tmp_path / "two")[name], rtol=1e-3, atol=1e-5)


def test_the_base_is_kept_if_nothing_was_better(llama: Path, tmp_path: Path) -> None:
    """Random answers cannot be foretold, so a high rate only spoils them."""
    source = np.random.default_rng(3)
    rows = [tiny.turns(f"{at} fox", " ".join(map(str, source.integers(0, 10, 12)))) for at in range(64)]
    data = tiny.write(tmp_path / "noise.jsonl", rows)
    tuner = tiny.tuner(llama, data, tmp_path / "run", learning_rate=3.0, steps=3, clip=1e9)
    tuner.train(Until())
    assert tuner.run.load(tuner.run.best)["step"] == 0


def test_what_is_written_is_an_adapter_for_peft_and_for_the_engine(llama: Path, data: Path, tmp_path: Path) -> None:
    from synapse_engine.merge import MergeRequest, merge
    from synapse_engine.train.specialist.options import SpecialistOptions

    options = SpecialistOptions(30, window=96, batch_tokens=192, learning_rate=1e-2, warmup=1, eval_every=10)
    started = start(SpecialistPlan(llama, data, tmp_path / "run", options))
    started.tuner.train(Until())
    written = write_specialist(started, "words", "Words for words.")
    assert written.loss < written.base_loss
    one = encoded(llama, tiny.mapping(1))[0]
    expected = alone(started.tuner.model.eval(), one)
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama), written.adapter)
    assert alone(loaded, one) == pytest.approx(expected, abs=1e-5)
    merged = merge(MergeRequest(llama, ((written.adapter, 1.0),), tmp_path / "merged", method="linear"))
    assert alone(AutoModelForCausalLM.from_pretrained(merged.target), one) == pytest.approx(expected, abs=1e-4)

    specialist = read_specialist(written.toml)
    assert (specialist.name, specialist.adapter) == ("words", written.adapter.absolute())
    assert len(specialist.examples) == 12
    assert {text.split()[1] for text in specialist.examples} == set(tiny.ANIMALS), "examples are varied"
    known = {conversation.request for conversation in read_conversations(data)}
    assert set(specialist.examples) <= known
    assert math.isfinite(written.margin or math.nan)
