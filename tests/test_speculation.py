"""Speculation on the real model: the same answers, by look-up, by a draft model and without; counts; refusals."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader, GGUFWriter

from synapse_engine import Engine, FileError, RequestError

LIST = "Apples, 3 kg, Monday\nPears, 2 kg, Tuesday\nFlour, 5 kg, Tuesday\nSalt, 1 kg, Wednesday\nButter, 2 kg, Friday\n"
COPY = f"The list:\n{LIST}\nThe same list once more:\nApples, 3 kg, Monday\nPears,"
STORY = "Once upon a time, in a village by the sea,"
OPTIONS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 1, "seed": 5, "logprobs": 2},
    {"temperature": 0.8, "seed": 6, "top_p": 0.9, "repetition_penalty": 1.1, "frequency_penalty": 0.3},
    {"temperature": 0, "stop": ["Wednesday", "beach"], "logit_bias": {28: 1.5}},
]


@pytest.fixture(scope="module")
def plain(smollm2_path: Path) -> Iterator[Engine]:
    """Without drafts."""
    with Engine(smollm2_path, speculation="off") as engine:
        yield engine


@pytest.fixture(scope="module")
def drafted(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """With the first layers of the model itself as the draft model: quick, of the same tokens, seldom right."""
    path = tmp_path_factory.mktemp("draft") / "first-layers.gguf"
    write_first_layers(smollm2_path, path, 2)
    with Engine(smollm2_path, draft_model=path, packed_file=False) as engine:
        yield engine


def write_first_layers(source: Path, path: Path, layers: int) -> None:
    """The same model without the layers from ``layers`` on."""
    reader = GGUFReader(source)
    family = reader.fields["general.architecture"].contents()
    writer = GGUFWriter(path, family)
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            value = layers if name == f"{family}.block_count" else field.contents()
            writer.add_key_value(name, value, field.types[0], field.types[-1] if len(field.types) > 1 else None)
    for tensor in reader.tensors:
        if not tensor.name.startswith("blk.") or int(tensor.name.split(".")[1]) < layers:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def settled(engine: Engine) -> dict[str, Any]:
    """The counts, when the last step has been counted."""
    while engine.stats["running"]:
        time.sleep(0.001)
    return engine.stats


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("prompt", [COPY, STORY])
def test_answers_do_not_depend_on_drafts(
    plain: Engine, engine: Engine, drafted: Engine, prompt: str, options: dict[str, Any]
) -> None:
    expected = plain.generate(prompt, max_tokens=60, **options)
    assert expected.usage.drafted_tokens == 0
    for other in (engine, drafted):
        found = other.generate(prompt, max_tokens=60, **options)
        assert (found.text, found.finish_reason, found.tokens) == (
            expected.text,
            expected.finish_reason,
            expected.tokens,
        )
        assert found.usage.completion_tokens == expected.usage.completion_tokens


def test_several_at_once_get_what_they_get_alone(plain: Engine, engine: Engine, drafted: Engine) -> None:
    prompts = [COPY, STORY, COPY + " 2", STORY + " there was"]
    expected = [plain.generate(prompt, max_tokens=40, temperature=0).text for prompt in prompts]
    for other in (engine, drafted):
        streams = [other.stream(prompt, max_tokens=40, temperature=0) for prompt in prompts]
        assert ["".join(stream) for stream in streams] == expected


def test_a_text_that_is_copied_takes_fewer_passes(engine: Engine) -> None:
    before = settled(engine)
    usage = engine.generate(COPY, max_tokens=60, temperature=0).usage
    after = settled(engine)
    assert usage.accepted_tokens > 20
    assert usage.drafted_tokens >= usage.accepted_tokens
    for name in ("drafted_tokens", "accepted_tokens"):
        assert after[f"{name}_total"] - before[f"{name}_total"] == getattr(usage, name)
    assert after["steps_total"] - before["steps_total"] <= 60 - usage.accepted_tokens


def test_the_engine_says_how_it_speculates(plain: Engine, engine: Engine, drafted: Engine) -> None:
    told = [(each.info["speculation"], each.info["draft_model"] is not None) for each in (plain, engine, drafted)]
    assert told == [("off", False), ("ngram", False), ("ngram", True)]


def test_a_draft_model_is_asked_where_nothing_repeats(engine: Engine, drafted: Engine) -> None:
    looked_up, by_model = (each.generate(STORY, max_tokens=40, temperature=0).usage for each in (engine, drafted))
    assert by_model.drafted_tokens > looked_up.drafted_tokens
    assert drafted.stats["draft_failures_total"] == 0


def test_what_cannot_be_meant_is_refused(smollm2_path: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="draft_model: expected none with speculation off"):
        Engine(smollm2_path, speculation="off", draft_model=smollm2_path)
    with pytest.raises(RequestError, match="speculation: expected ngram or off, found often"):
        Engine(smollm2_path, speculation="often")  # type: ignore[arg-type]
    with pytest.raises(FileError, match=r"nothing\.gguf"):
        Engine(smollm2_path, draft_model=tmp_path / "nothing.gguf")
