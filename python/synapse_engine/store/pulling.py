"""Installs a model: sources in order, into a folder of its own, then one rename. Knows no source from the inside.

Everything lands in ``models/.partial-NAME``; only a rename makes it a model, so a killed pull leaves no half model.
"""

import os
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from .catalogue import BundledSource, HubSource, PackageSource, catalogue
from .errors import SourceUnavailableError, StoreError, UnknownModelError
from .headers import read_header
from .local import OLD, PARTIAL, Installed, Store
from .manifest import FileRecord, Manifest, write_manifest
from .names import HubName, PathName, PlainName, folder_name, name_for_path, parse_name
from .progress import Progress
from .sources import BundledModel, FolderSource, HubRepository, PackageWheel, Source
from .sources.base import Workplace
from .space import require_space

_KEY_FILE = ".source"


@dataclass(frozen=True)
class PullRequest:
    """What the user asked for."""

    model: str
    name: str | None = None
    """Install under this name instead of the model's own."""
    file: str | None = None
    """The one file to take from a repository with several."""
    link: bool = False
    """Hard-link local files instead of copying them."""
    source: str | None = None
    """Only sources of this kind: ``bundled``, ``package`` or ``hub``."""
    force: bool = False
    """Fetch again even if the model is installed."""


@dataclass(frozen=True)
class _Job:
    name: str
    load_quant: str
    sources: list[Source]


@dataclass(frozen=True)
class Pulled:
    """The installed model, and whether it was here before."""

    model: Installed
    already_there: bool


def pull(store: Store, request: PullRequest, progress: Progress) -> Pulled:
    """Installs a model, or finds it installed. Raises StoreError; may be interrupted at any time and run again."""
    job = _plan(request)
    store.root.mkdir(parents=True, exist_ok=True)
    folder = folder_name(job.name)
    with store.lock(folder, lambda: progress.note(f"another process is pulling {job.name}; waiting for it")) as lock:
        present = store.get(job.name)
        if present and not request.force:
            return Pulled(present, already_there=True)
        return Pulled(_first_that_delivers(store, job, lock, progress), already_there=False)


def _plan(request: PullRequest) -> _Job:
    parsed = parse_name(request.model)
    if isinstance(parsed, PathName):
        name = request.name or name_for_path(parsed.path)
        return _Job(_checked(name), "auto", [FolderSource(parsed.path, link=request.link)])
    if isinstance(parsed, HubName):
        source = HubSource(parsed.repo_id, parsed.revision, request.file)
        return _Job(_checked(request.name or str(parsed)), "auto", [HubRepository(source, None)])
    return _plan_catalogue(parsed, request)


def _plan_catalogue(parsed: PlainName, request: PullRequest) -> _Job:
    entry = catalogue().get(parsed.name)
    if entry is None:
        near = catalogue().similar(parsed.name)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else "synapse ls --all shows the names; hf.co/org/repo works too"
        )
        raise UnknownModelError(f"no model is called {parsed.name!r}", hint)
    sources: list[Source] = []
    for source in entry.sources:
        if isinstance(source, BundledSource) and request.source in (None, "bundled"):
            sources.append(BundledModel(source, entry.licence))
        elif isinstance(source, PackageSource) and request.source in (None, "package"):
            sources.append(PackageWheel(source, entry.licence))
        elif isinstance(source, HubSource) and request.source in (None, "hub"):
            sources.append(HubRepository(source, entry.licence))
    if not sources:
        raise StoreError(f"{entry.name} has no source of the kind {request.source!r}", "leave --source out")
    return _Job(_checked(request.name or entry.name), entry.quant, sources)


def _checked(name: str) -> str:
    folder_name(name)
    return name


def _first_that_delivers(store: Store, job: _Job, lock: int, progress: Progress) -> Installed:
    failures: list[tuple[Source, SourceUnavailableError]] = []
    for source in job.sources:
        try:
            return _install(store, job, source, lock, progress)
        except SourceUnavailableError as error:
            failures.append((source, error))
            if source is not job.sources[-1]:
                progress.note(f"skipped {source.label}: {error}")
    if len(failures) == 1:
        raise failures[0][1]
    reasons = "\n".join(f"  {source.label}: {error}" for source, error in failures)
    raise SourceUnavailableError(f"no source could deliver {job.name}:\n{reasons}", failures[-1][1].hint)


def _install(store: Store, job: _Job, source: Source, lock: int, progress: Progress) -> Installed:
    partial = store.root / (PARTIAL + folder_name(job.name))
    _open_partial(partial, source.prepare())
    require_space(store.root, source.space_needed(partial))
    files = source.fetch(Workplace(partial, lock, progress))
    manifest = _describe(job, source, partial, files)
    _drop_strangers(partial, files)
    write_manifest(partial, manifest)
    _sync(partial)
    final = store.root / folder_name(job.name)
    _swap_in(partial, final, store.root / (OLD + final.name))
    return Installed(final, manifest)


def _open_partial(partial: Path, key: str) -> None:
    """Keeps what an interrupted pull of the very same thing left, and nothing else."""
    key_file = partial / _KEY_FILE
    if key_file.is_file() and key_file.read_text(encoding="utf-8", errors="replace") == key:
        return
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    key_file.write_text(key, encoding="utf-8")


def _describe(job: _Job, source: Source, partial: Path, files: list[FileRecord]) -> Manifest:
    ggufs = [file.name for file in files if file.name.lower().endswith(".gguf")]
    header = read_header(partial / ggufs[0] if ggufs else partial)
    return Manifest(
        name=job.name,
        source=source.label,
        licence=source.licence or header.metadata.get("general.license"),
        pulled=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        format=header.format,
        quant=header.quant,
        load_quant=job.load_quant if header.format == "safetensors" else "auto",
        files=tuple(files),
    )


def _drop_strangers(partial: Path, files: list[FileRecord]) -> None:
    wanted = {file.name for file in files}
    for path in partial.iterdir():
        if path.name in wanted:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sync(folder: Path) -> None:
    """A power cut after the rename must not leave empty files behind it."""
    for path in [*folder.iterdir(), folder]:
        if path.is_dir() and os.name != "posix":
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if os.name == "posix":
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _swap_in(partial: Path, final: Path, old: Path) -> None:
    """One rename for a new model; two for a replaced one, and ``Store`` undoes the first if the second never came."""
    if final.exists():
        final.replace(old)
    partial.replace(final)
    if old.exists():
        shutil.rmtree(old)
