"""Names of models: what is accepted, and that no name leads out of the models folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_engine.store import BadNameError
from synapse_engine.store.names import (
    HubName,
    PathName,
    PlainName,
    folder_name,
    name_for_path,
    parse_name,
    stored_name,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("smollm2-135m-instruct", PlainName("smollm2-135m-instruct")),
        ("qwen2.5-0.5b-instruct", PlainName("qwen2.5-0.5b-instruct")),
        ("hf.co/Qwen/Qwen2.5-0.5B", HubName("Qwen", "Qwen2.5-0.5B")),
        ("https://huggingface.co/Qwen/Qwen2.5-0.5B/", HubName("Qwen", "Qwen2.5-0.5B")),
        ("Qwen/Qwen2.5-0.5B", HubName("Qwen", "Qwen2.5-0.5B")),
        ("hf.co/a/b@refs/pr/1", HubName("a", "b", "refs/pr/1")),
        ("./model", PathName(Path("model"))),
        ("../x", PathName(Path("../x"))),
        ("/models/x", PathName(Path("/models/x"))),
        ("tiny.GGUF", PathName(Path("tiny.GGUF"))),
        ("sub/tiny.gguf", PathName(Path("sub/tiny.gguf"))),
    ],
)
def test_parses(text: str, wanted: object) -> None:
    assert parse_name(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\0b",
        "a b",
        "-x",
        "x-",
        "a--b",
        "a..b",
        "hf.co/a",
        "hf.co/a/b/c",
        "hf.co/../b",
        "a/b@../c",
        "x" * 97,
        "ä",
        "a\n",
        "a:b",
        "~:",
    ],
)
def test_refuses_what_is_no_name(text: str) -> None:
    with pytest.raises(BadNameError) as caught:
        parse_name(text)
    assert caught.value.hint
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["../x", "/etc/passwd", "~/x", ".", "..", "C:\\x", "a.gguf", "..\\x"])
def test_a_path_is_never_the_name_of_an_installed_model(text: str) -> None:
    with pytest.raises(BadNameError, match="is a path"):
        stored_name(text)


@given(st.text(st.characters() | st.sampled_from("./\\-~@:aA0\0"), max_size=200))
def test_every_folder_name_stays_inside(text: str) -> None:
    try:
        folder = folder_name(text)
    except BadNameError:
        return
    assert Path("/models", folder).resolve().parent == Path("/models")
    assert not folder.startswith(".")
    assert folder == folder.lower()


_PART = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda part: "--" not in part and ".." not in part and not part.endswith((".gguf", ".safetensors"))
)


@given(st.lists(_PART | st.tuples(_PART, _PART).map("/".join), unique=True, min_size=2, max_size=2))
def test_different_names_have_different_folders(names: list[str]) -> None:
    assert folder_name(names[0]) != folder_name(names[1])


@given(st.text(max_size=200))
def test_a_name_made_from_a_path_is_a_plain_name(stem: str) -> None:
    path = Path("/x") / (stem.replace("/", "_") + ".gguf")
    try:
        name = name_for_path(path)
    except BadNameError:
        return
    assert parse_name(name) == PlainName(name)
