"""The judgement of a merge: scores against transformers, the interval, and what is refused."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import merge_models as models
import numpy as np
import pytest
import torch
from tests.oracle import tiny_models
from transformers import AutoModelForCausalLM

from synapse_engine.convert.errors import DamagedFileError, MismatchError
from synapse_engine.merge import MergeRequest, WorseError, merge
from synapse_engine.merge.evaluate import Passage, Score, compare, engine_scorer, read_passages

TEXT = " ".join(tiny_models.TOKENIZER_TEXT * 20)
TEMPLATE = "{% for m in messages %}<|end|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}:{% endif %}"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.make_base(tmp_path_factory.mktemp("evaluated") / "base", models.LLAMA)


def truth(base: Path, tokens: list[int]) -> np.ndarray:
    """The log-likelihood of every token but the first."""
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(base)(torch.tensor([tokens])).logits[0, :-1]
    return logits.double().log_softmax(-1).numpy()[np.arange(len(tokens) - 1), tokens[1:]]


def test_texts_are_scored_once_and_whole(base: Path) -> None:
    tokens = tiny_models.tokenizer().encode(TEXT).ids
    assert len(tokens) > 600
    scores = engine_scorer(base, [Passage(TEXT, None, "text")])
    assert sum(score.tokens for score in scores) == len(tokens) - 1
    assert max(score.tokens for score in scores) == 64
    # The first window sees what the oracle sees. The engine rounds weights to 8 bits.
    first = [score.logprob for score in scores[:7]]
    wanted = truth(base, tokens[:512])[: 7 * 64].reshape(7, 64).sum(axis=1)
    np.testing.assert_allclose(first, wanted, rtol=0.02)


@pytest.mark.parametrize("template", [False, True])
def test_answers_are_scored_after_their_prompts(base: Path, tmp_path: Path, template: bool) -> None:
    folder = tmp_path / "base"
    folder.symlink_to(base)
    if template:
        folder = models.make_base(tmp_path / "chat", models.LLAMA)
        (folder / "chat_template.jinja").write_text(TEMPLATE)
    passages = [Passage("lazy dog", "quick brown", "one"), Passage("jugs", "five", "two")]
    scores = engine_scorer(folder, passages)
    encode = tiny_models.tokenizer().encode
    for score, passage in zip(scores, passages, strict=True):
        prompt = f"<|end|>{passage.prompt}:" if template else passage.prompt
        before, answer = encode(prompt).ids, encode(passage.text).ids
        assert score.tokens == len(answer)
        wanted = truth(folder, before + answer)[-len(answer) :].sum()
        assert score.logprob == pytest.approx(wanted, rel=0.03)


def scores(means: Sequence[float], tokens: int = 10) -> list[Score]:
    return [Score(mean * tokens, tokens) for mean in means]


def test_the_interval_is_that_of_the_paired_differences() -> None:
    random = np.random.default_rng(0)
    before = random.normal(-2, 1, 400)
    gains = random.normal(0.05, 0.1, 400)
    found = compare(scores(before), scores(before + gains))
    error = gains.std() / 20
    assert found.merged - found.base == pytest.approx(gains.mean())
    assert found.low == pytest.approx(gains.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(gains.mean() + 1.96 * error, abs=0.1 * error)
    assert (found.tokens, found.pieces, found.worse) == (4000, 400, False)
    assert compare(scores(before), scores(before - gains)).worse
    unsure = compare(scores(before), scores(before + gains - gains.mean() - 0.5 * error))
    assert unsure.merged < unsure.base
    assert (unsure.low < 0 < unsure.high, unsure.worse) == (True, False)


def test_longer_pieces_count_for_more() -> None:
    before = [Score(-90.0, 90)] + [Score(-10.0, 10)] * 5
    after = [Score(-81.0, 90)] + [Score(-10.0, 10)] * 5
    assert compare(before, after).merged == pytest.approx(-131 / 140)


def test_equal_models_are_not_worse() -> None:
    found = compare(scores([-1.0] * 5), scores([-1.0] * 5))
    assert (found.low, found.high, found.worse) == (0.0, 0.0, False)


def test_too_little_text_is_refused(base: Path) -> None:
    with pytest.raises(MismatchError, match="4 pieces of text; an interval takes 5"):
        compare(scores([-1.0] * 4), scores([-1.0] * 4))


def test_passages_are_read(tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"prompt": "2+2", "answer": "4", "more": 1}\n\n{"text": "a\\u2028b"}\n', encoding="utf-8")
    assert read_passages(lines) == [
        Passage("4", "2+2", "lines.jsonl, line 1"), Passage("a\u2028b", None, "lines.jsonl, line 3")
    ]  # fmt: skip
    for wrong in ("{", "[1]", '{"prompt": "x"}', '{"text": 3}'):
        lines.write_text(f'{{"text": "x"}}\n{wrong}\n')
        with pytest.raises(DamagedFileError, match=r"lines\.jsonl, line 2"):
            read_passages(lines)


def test_rows_that_do_not_fit_are_named(base: Path) -> None:
    with pytest.raises(MismatchError, match=r"three: .* the model takes 512"):
        engine_scorer(base, [Passage("x " * 600, "y", "three")])
    with pytest.raises(MismatchError, match="four: the prompt or the answer has no tokens"):
        engine_scorer(base, [Passage("", "y", "four")])


@pytest.fixture
def trained(base: Path, tmp_path: Path) -> Path:
    """A model that was trained on the text for a few steps."""
    model = AutoModelForCausalLM.from_pretrained(base)
    tokens = torch.tensor([tiny_models.tokenizer().encode(TEXT).ids[:128]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(8):
        optimizer.zero_grad()
        model(tokens, labels=tokens).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.save_pretrained(tmp_path / "trained")
    return tmp_path / "trained"


def test_only_a_merge_that_is_not_worse_is_written(base: Path, trained: Path, tmp_path: Path) -> None:
    held_out = tmp_path / "text.txt"
    held_out.write_text(TEXT)
    target = tmp_path / "merged"
    better = MergeRequest(base, ((trained, 1.0),), target, method="linear", evaluation=held_out)
    found = merge(better).evaluation
    assert found is not None
    assert found.low > 0
    assert f"| Merged | {found.merged:.4f} |" in (target / "README.md").read_text()

    worse = MergeRequest(base, ((trained, -1.0),), tmp_path / "worse", method="linear", evaluation=held_out)
    with pytest.raises(WorseError, match=r"base -\d+\.\d{4}, merged -\d+\.\d{4}") as caught:
        merge(worse)
    assert caught.value.evaluation.base == pytest.approx(found.base)
    assert caught.value.evaluation.high < 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged", "text.txt", "trained"]


def test_lines_of_json_judge_too(base: Path, trained: Path, tmp_path: Path) -> None:
    held_out = tmp_path / "rows.jsonl"
    words = TEXT.split()[:40]
    rows = [{"prompt": first, "answer": f" {second}"} for first, second in pairwise(words)]
    held_out.write_text("\n".join(json.dumps(row) for row in rows))
    found = merge(MergeRequest(base, ((trained, 1.0),), tmp_path / "out", method="linear", evaluation=held_out))
    assert found.evaluation is not None
    assert found.evaluation.pieces == 39
