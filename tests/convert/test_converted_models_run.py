"""The engine opens what the converter wrote, and computes what the source's own forward pass does."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import organelle_sources as sources
import pytest
import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jld2_writer import Jld2Writer

from synapse_engine import Engine
from synapse_engine.convert import ConvertRequest, convert

TEXT = "in the thin tin, then within the inn"
SIZES = {"width": 64, "inner": 64, "layers": 2}
Logits = Callable[[Sequence[int]], np.ndarray]


def write_julia(folder: Path, heads: int, monarch_slm: bool) -> tuple[Path, Logits]:
    tree = sources.julia_tree(heads=heads, monarch_slm=monarch_slm, **SIZES)
    (folder / "final.jld2").write_bytes(Jld2Writer().file({"parameters": tree}))
    return folder / "final.jld2", lambda ids: sources.julia_logits(tree, ids)


def write_torch(folder: Path, state: dict[str, np.ndarray], organelles: Sequence[str]) -> tuple[Path, Logits]:
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, folder / "model.pt")
    return folder / "model.pt", lambda ids: sources.torch_logits(state, ids, organelles, head_dim=32)


SOURCES = {
    "SymbioSLM": lambda folder: write_julia(folder, 1, monarch_slm=False),
    "SymbioSLM with 4 heads": lambda folder: write_julia(folder, 4, monarch_slm=False),
    "MonarchSLM": lambda folder: write_julia(folder, 2, monarch_slm=True),
    "SymbioGPT": lambda folder: write_torch(folder, sources.torch_state(head_dim=32, **SIZES), sources.ALL),
    "two organelles": lambda folder: write_torch(
        folder, sources.torch_state(organelles=("long_conv", "monarch"), **SIZES), ("long_conv", "monarch")
    ),
    "VocabFusion": lambda folder: write_torch(
        folder, sources.vocab_fusion_state(donor=32, head_dim=32, vocabulary=260, **SIZES), sources.ALL
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_engine_gives_the_sources_probabilities(tmp_path: Path, name: str) -> None:
    sources.write_bpe(tmp_path)
    source, logits = SOURCES[name](tmp_path)
    target = convert(ConvertRequest(source, tmp_path / "model")).target
    with Engine(target, quant="none", kv_type="f32") as engine:
        ids = engine.tokenize(TEXT)
        first = engine.generate(TEXT, max_tokens=1, temperature=0, logprobs=20).tokens[0]
    assert {256, 257, 258, 259} <= set(ids)
    last = logits(ids)[-1]
    wanted = last - last.max() - np.log(np.sum(np.exp(last - last.max())))
    found = np.array([choice.logprob for choice in first.top])
    assert len(found) == 20
    assert [choice.id for choice in first.top] == list(np.argsort(-wanted)[:20])
    assert np.abs(found - np.sort(wanted)[::-1][:20]).max() <= 1e-5 * np.abs(last).max()


def test_what_is_said_is_continued(tmp_path: Path) -> None:
    """By the chat template, which `transformers` understands, too."""
    sources.write_bpe(tmp_path)
    source, _ = SOURCES["SymbioSLM"](tmp_path)
    target = convert(ConvertRequest(source, tmp_path / "model")).target
    said = [("user", "in the"), ("assistant", "thin"), ("user", "tin, then")]
    messages = [{"role": role, "content": content} for role, content in said]
    with Engine(target, quant="none") as engine:
        answer = engine.chat(messages, max_tokens=5, temperature=0)
        continued = engine.generate("in the thin tin, then", max_tokens=5, temperature=0)
    assert (answer.text, answer.usage.prompt_tokens) == (continued.text, continued.usage.prompt_tokens)
    template = ImmutableSandboxedEnvironment().from_string((target / "chat_template.jinja").read_text())
    assert template.render(messages=messages, add_generation_prompt=True) == "in the thin tin, then"


def test_the_engine_reads_a_vocabulary_of_characters(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('["\\n", " ", "a", "b", "é"]')
    tree = sources.julia_tree(vocabulary=5, **SIZES)
    (tmp_path / "final.jld2").write_bytes(Jld2Writer().file({"parameters": tree}))
    target = convert(ConvertRequest(tmp_path / "final.jld2", tmp_path / "model")).target
    with Engine(target, quant="none") as engine:
        assert engine.tokenize("ab é?\na") == [2, 3, 1, 4, 0, 2]
        assert engine.detokenize([2, 3, 1, 4]) == "ab é"
        text = engine.generate("ab", max_tokens=3, temperature=0).text
    assert set(text) <= set("\n abé")
