"""The library of specialists: what it shows while files come, change, break and go; what a killed `add` leaves."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specialist_support import COOKING, write_adapter, write_specialist
from synapse_engine.specialists import Library, Specialist, SpecialistError, UnknownSpecialistError, parse_specialist
from synapse_engine.specialists.reading import STARTERS
from synapse_engine.specialists.writing import document

pytest_plugins = ["store_fixtures"]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "specialists")


def names(library: Library) -> list[str]:
    return [specialist.name for specialist in library.all()]


def test_without_a_folder_there_are_the_starters(library: Library) -> None:
    assert names(library) == list(STARTERS)
    assert library.problems() == ()
    assert not library.folder.exists()


def test_files_that_come_change_and_go_are_seen_at_once(library: Library) -> None:
    file = write_specialist(library.folder)
    assert names(library) == [*STARTERS, "cooking"]
    file.write_text(COOKING.replace("a cook", "an old cook"))
    assert library.find("cooking").system_prompt == "You are an old cook."
    write_specialist(library.folder, "baking")
    assert names(library) == [*STARTERS, "baking", "cooking"]
    file.unlink()
    assert names(library) == [*STARTERS, "baking"]


def test_a_users_file_wins_over_a_starter_and_keeps_its_place(library: Library) -> None:
    write_specialist(library.folder, "math")
    assert names(library) == list(STARTERS)
    assert library.find("math").system_prompt == "You are a cook."
    library.remove("math")
    assert library.find("math").source is None
    with pytest.raises(SpecialistError, match="comes with the package"):
        library.remove("math")


def test_a_broken_file_takes_nothing_else_down(library: Library) -> None:
    write_specialist(library.folder, "cooking")
    write_specialist(library.folder, "baking").write_text("name = ")
    write_specialist(library.folder, "other", text=COOKING.replace('"cooking"', '"other" # cooking'))
    (library.folder / "twice.toml").write_text(COOKING)
    (library.folder / "folder.toml").mkdir()
    assert names(library) == [*STARTERS, "cooking", "other"]
    problems = {problem.file.name: str(problem.error) for problem in library.problems()}
    assert set(problems) == {"baking.toml", "twice.toml", "folder.toml"}
    assert "taken by" in problems["twice.toml"]
    with pytest.raises(UnknownSpecialistError, match=r"baking\.toml: no TOML"):
        library.find("baking")
    library.remove("baking")
    assert "baking.toml" not in {problem.file.name for problem in library.problems()}


def test_an_unknown_name_is_told_what_was_meant(library: Library) -> None:
    with pytest.raises(UnknownSpecialistError) as caught:
        library.find("grammer")
    assert caught.value.hint == "did you mean grammar?"


def test_a_specialist_whose_adapter_is_missing_waits_for_it(library: Library, tmp_path: Path) -> None:
    write_specialist(library.folder, adapter=f"{tmp_path}/lora")
    assert names(library) == list(STARTERS)
    (problem,) = library.problems()
    assert "adapter_config.json is missing" in str(problem.error)
    write_adapter(tmp_path / "lora")
    assert library.find("cooking").adapter == tmp_path / "lora"


def test_add_copies_the_file_and_its_adapter(library: Library, tmp_path: Path) -> None:
    write_adapter(tmp_path / "run" / "lora")
    added = library.add(write_specialist(tmp_path / "run", adapter="lora").parent)
    assert added == library.find("cooking")
    assert added.adapter is not None
    assert library.folder in added.adapter.parents
    assert sorted(file.name for file in added.adapter.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert (added.adapter / "adapter_model.safetensors").read_bytes() == b"weights"


def test_a_replaced_adapter_stays_for_those_about_to_load_it_and_goes_later(library: Library, tmp_path: Path) -> None:
    file = write_specialist(tmp_path, adapter="lora")
    write_adapter(tmp_path / "lora")
    first = library.add(file).adapter
    write_adapter(tmp_path / "lora", b"trained longer")
    second = library.add(file).adapter
    assert first is not None
    assert second is not None
    assert first != second
    assert first.exists()
    library.remove("cooking")
    assert not first.exists()
    assert not second.exists()


def test_what_users_put_beside_our_copies_stays(library: Library) -> None:
    mine = write_adapter(library.folder / "adapters" / "my-own")
    library.put(parse_specialist(COOKING, "x"))
    library.remove("cooking")
    assert (mine / "adapter_config.json").exists()


def test_a_file_named_after_another_specialist_is_not_overwritten(library: Library) -> None:
    library.folder.mkdir()
    (library.folder / "cooking.toml").write_text(COOKING.replace('"cooking"', '"baking"'))
    library.put(parse_specialist(COOKING, "x"))
    assert names(library) == [*STARTERS, "baking", "cooking"]


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_add_refuses_half_an_adapter(library: Library, tmp_path: Path, missing: str) -> None:
    (write_adapter(tmp_path / "lora") / missing).unlink()
    with pytest.raises(SpecialistError, match=f"{missing} is missing") as caught:
        library.add(write_specialist(tmp_path, adapter="lora"))
    assert caught.value.field == "adapter"
    assert names(library) == list(STARTERS)


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from synapse_engine.specialists import Library
from synapse_engine.specialists import writing

def dies(*_):
    os.kill(os.getpid(), signal.SIGKILL)

where = sys.argv[3]
if where == "copying":
    writing.shutil.copyfile = dies
elif where == "renaming":
    writing._write_whole = dies
else:
    writing.os.fsync = dies
Library(Path(sys.argv[1])).add(Path(sys.argv[2]))
"""


@pytest.mark.parametrize("where", ["copying", "renaming", "writing"])
def test_a_killed_add_leaves_what_was_there(library: Library, tmp_path: Path, where: str) -> None:
    file = write_specialist(tmp_path, adapter="lora")
    write_adapter(tmp_path / "lora")
    before = library.add(file)
    write_adapter(tmp_path / "lora", b"new")
    file.write_text(file.read_text().replace("a cook", "a new cook"))
    done = subprocess.run([sys.executable, "-c", KILLED, library.folder, file, where], check=False)
    assert done.returncode == -signal.SIGKILL
    assert library.find("cooking") == before
    assert library.problems() == ()
    after = library.add(file)
    assert after.system_prompt == "You are a new cook."
    library.remove("cooking")
    assert [path.name for path in library.folder.rglob("*") if path.is_file()] == [".lock"]


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(str.strip)


@given(
    description=texts,
    examples=st.lists(texts, min_size=1, max_size=5, unique_by=lambda text: text.strip().casefold()),
    system_prompt=st.text(st.characters(codec="utf-8"), max_size=60),
    temperature=st.floats(0, 2),
    top_k=st.integers(0, 100),
)
@settings(max_examples=200, deadline=None)
def test_what_is_written_reads_the_same(description, examples, system_prompt, temperature, top_k) -> None:
    specialist = Specialist(
        "cooking",
        description.strip(),
        tuple(example.strip() for example in examples),
        system_prompt.strip(),
        {"temperature": temperature, "top_k": top_k},
        Path('some/"odd" folder'),
    )
    assert parse_specialist(document(specialist), "x") == specialist
