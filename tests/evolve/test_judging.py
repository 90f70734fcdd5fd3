"""Sentences, baselines and a whole small run of `synapse evolve`."""

import json
import math
from pathlib import Path
from random import Random

import pytest
import torch
from click.testing import CliRunner, Result

from synapse_engine.cli.app import synapse
from synapse_engine.evolve.genome import Genome
from synapse_engine.evolve.judge import Counted, Judge, Schooling, above, best_threshold, fitness, majority
from synapse_engine.evolve.sentences import Example, examples, sentences, spoil
from synapse_engine.evolve.statistics import wilson
from synapse_engine.export.folder import read_model, write_model
from synapse_engine.train.symbio import SymbioModel
from synapse_engine.train.symbio_config import SymbioConfig
from synapse_engine.train.tokenizer import learn_tokenizer

NOUNS, VERBS = ["cat", "dog", "bird", "child", "queen"], ["sees", "hears", "finds", "likes", "leaves"]


def prose(count: int) -> list[str]:
    random = Random(7)
    found: dict[str, None] = {}
    while len(found) < count:
        words = [random.choice(list_) for list_ in (NOUNS, VERBS, NOUNS, NOUNS, VERBS, NOUNS)]
        found[f"The {words[0]} {words[1]} a {words[2]}, and this {words[3]} {words[4]} that {words[5]}."] = None
    return list(found)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model; its features are enough to learn from."""
    folder = tmp_path_factory.mktemp("evolve")
    (folder / "prose.txt").write_text("\n".join(prose(900)) + "\n")
    tokenizer = learn_tokenizer(prose(900), 300)
    torch.manual_seed(0)
    shape = SymbioConfig(32, 48, (("causal_conv", "long_conv"),) * 2, vocab_size=300, max_position_embeddings=64)
    write_model(folder / "model", shape, SymbioModel(shape).state_dict(), tokenizer.to_str().encode())
    return folder


def test_sentences_of_a_text() -> None:
    text = (
        "This is a plain sentence of eight words. Too short to keep. It has 3 digits and is therefore left out here.\n"
        "Nothing ends this line of words without a mark\n"
        "This is a plain sentence of eight words. Is this one, too, a sentence?\n"
    )
    assert sentences(text) == ["This is a plain sentence of eight words.", "Is this one, too, a sentence?"]


def test_spoiled_sentences_keep_their_ends() -> None:
    seen = set()
    for seed in range(200):
        text = "The queen was here, and they have seen a bird."
        example = spoil(text, Random(seed))
        assert not example.acceptable
        assert example.text != text
        assert (example.text[0].isupper(), example.text[-1]) == (True, ".")
        assert abs(len(example.text.split()) - 10) <= 1
        seen.add(example.change)
    assert seen == {"swap", "drop", "double", "move", "form"}


def test_half_of_the_examples_are_spoiled() -> None:
    texts = prose(100)
    made = examples(texts, Random(1))
    assert sum(example.acceptable for example in made) == 50
    assert {example.text for example in made if example.acceptable} <= set(texts)
    assert made == examples(texts, Random(1))
    assert made != examples(texts, Random(2))


def test_wilson() -> None:
    # Brown, Cai and DasGupta 2001 and any table: 0 of 10 gives 0 to 0.2775, 8 of 10 gives 0.4902 to 0.9433.
    assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)
    assert wilson(0, 0) == (0, 1)


def labelled(labels: list[bool]) -> list[Example]:
    return [Example(str(number), label, "none") for number, label in enumerate(labels)]


def test_the_majority_is_that_of_what_was_learned() -> None:
    assert majority(labelled([True, True, False]), labelled([True, False, False, False])) == Counted(1, 4)
    assert majority(labelled([False, False, True]), labelled([True, False, False, False])) == Counted(3, 4)


def test_the_best_threshold() -> None:
    scores, asked = [-5.0, -4.0, -3.0, -2.0, -1.0], labelled([False, True, False, True, True])
    assert best_threshold(scores, asked) == -4.0
    assert above(scores, -4.0, asked) == Counted(4, 5)
    for candidate in (*scores, math.inf):
        assert above(scores, candidate, asked).hits <= 4
    assert above([0.0, 0.0], best_threshold([0.0, 0.0], asked[:2]), asked[:2]).hits == 1


def test_fitness_is_the_stated_one() -> None:
    assert fitness(0.75, 1000) == pytest.approx(0.75 - 0.01 * math.log(1000))


def test_likelihood_is_that_of_the_model(base: Path) -> None:
    model, tokenizer = read_model(base / "model")
    texts = [Example(prose(2)[0], True, "none"), Example("The cat sees a dog.", True, "none")]
    found = Judge(model, tokenizer, Schooling()).likelihood(texts)
    for value, example in zip(found, texts, strict=True):
        ids = torch.tensor(tokenizer.encode(example.text).ids)
        chances = model(ids[None])[0, :-1].log_softmax(-1)
        assert value == pytest.approx(chances[torch.arange(len(ids) - 1), ids[1:]].mean().item(), abs=1e-4)


def test_a_judge_learns_the_same_from_the_same_seed(base: Path) -> None:
    model, tokenizer = read_model(base / "model")
    judge = Judge(model, tokenizer, Schooling(steps=60, learning_rate=1e-2))
    made = examples(prose(900), Random(0))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one, same, other = (judge.learn(Genome(4, ("v", "w2")), made[:600], seed) for seed in (1, 1, 2))
    assert torch.equal(one.head["weight"], same.head["weight"])
    assert not torch.equal(one.head["weight"], other.head["weight"])
    assert one.parameters == 2 * 2 * 4 * (32 + 48) + 2 * 32 + 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert judge.examine(one, made[600:]).accuracy > 0.6  # doubled and dropped words show even here


def run(base: Path, out: Path, *more: str) -> Result:
    arguments = ["evolve", str(base / "model"), "--data", str(base / "prose.txt"), "--out", str(out)]
    small = ["--population", "3", "--generations", "1", "--steps", "10", "--lr", "0.01", "--held-out", "0.5"]
    return CliRunner().invoke(synapse, [*arguments, *small, *more], prog_name="synapse", env={"COLUMNS": "100"})


def test_a_whole_run(base: Path, tmp_path: Path) -> None:
    result = run(base, tmp_path / "out", "--compress", "0.5", "--targets", "w1,v")
    assert result.exit_code == 0, result.output
    assert "majority" in result.stdout.splitlines()[1]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    baseline, _, evolved, small = report["findings"]
    assert baseline["name"] == "majority"
    assert baseline["of"] == pytest.approx(900 * 0.5 / 2, abs=3)
    assert baseline["interval"][0] < baseline["accuracy"] < baseline["interval"][1]
    assert evolved["parameters"] > small["parameters"]
    config = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
    assert config["r"] == report["best"]["genome"]["rank"]
    assert set(config["target_modules"]) <= {"v", "w1"}
    assert (tmp_path / "out" / "adapter-compressed" / "adapter_model.safetensors").is_file()

    units = (tmp_path / "out" / "units.jsonl").read_text()
    assert len(units.splitlines()) == 5
    again = run(base, tmp_path / "out", "--compress", "0.5", "--targets", "w1,v")
    assert again.stdout == result.stdout
    assert "adapter 0" not in again.stderr
    other = run(base, tmp_path / "out", "--seed", "5")
    assert "plan.targets" in other.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [(["--targets", "wq"], "targets: the model has v, w1, w2, not wq"), (["--held-out", "0.1"], "are needed of each")],
)
def test_what_cannot_be_evolved(base: Path, tmp_path: Path, more: list[str], message: str) -> None:
    result = run(base, tmp_path / "out", *more)
    assert result.exit_code == 1
    assert message in result.stderr


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "prose.txt").write_text("x")
    result = run(tmp_path, tmp_path / "out")
    assert "no such model folder" in result.stderr
