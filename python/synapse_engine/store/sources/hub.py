"""A repository on the Hugging Face hub. ``huggingface_hub`` speaks to it, so its environment variables hold.

Its own downloads start from nothing after a crash, so files are fetched here with its transport, and resume.
"""

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synapse_engine.store.catalogue import HubSource
from synapse_engine.store.digest import git_blob_of, sha256_of
from synapse_engine.store.errors import DamagedError, NoSpaceError, SourceUnavailableError, StoreError
from synapse_engine.store.manifest import FileRecord, is_plain_file_name
from synapse_engine.store.progress import Progress
from synapse_engine.store.space import human_size

from .base import Workplace, reported, settle
from .folder import belongs_to_model

_ANSWER_SECONDS = 15
_PIECE = 1 << 18
_PART_OF_SEVERAL = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


@dataclass(frozen=True)
class _RemoteFile:
    name: str
    size: int
    sha256: str | None
    git_blob: str | None


class HubRepository:
    """The files of one repository at one commit."""

    def __init__(self, source: HubSource, licence: str | None) -> None:
        self._source = source
        self._commit = ""
        self._files: list[_RemoteFile] = []
        self.label = f"hf.co/{source.repository}"
        self.licence = licence

    def prepare(self) -> str:
        """Asks the hub for the list of files; the key is the commit."""
        info = self._ask()
        self._commit = info.sha
        card = info.card_data
        self.licence = self.licence or (card.get("license") if card else None)
        self._files = self._choose([_remote_file(sibling) for sibling in info.siblings or []])
        return f"{self.label} {self._commit} {' '.join(file.name for file in self._files)}"

    def space_needed(self, folder: Path) -> int:
        """What is not fetched yet."""
        return sum(file.size - _there(folder, file) for file in self._files)

    def fetch(self, place: Workplace) -> list[FileRecord]:
        """Fetches each file, from where it stopped, and checks it."""
        return [self._take(file, place) for file in self._files]

    def _ask(self) -> Any:
        from huggingface_hub import HfApi

        with _translated(self.label):
            return HfApi().model_info(
                self._source.repository, revision=self._source.revision, files_metadata=True, timeout=_ANSWER_SECONDS
            )

    def _choose(self, files: list[_RemoteFile]) -> list[_RemoteFile]:
        """One GGUF, or the safetensors with all that belongs to them. Only files at the top of the repository."""
        files = [file for file in files if is_plain_file_name(file.name)]
        if self._source.file:
            return [self._named(self._source.file, files)]
        chosen = [file for file in files if belongs_to_model(file.name)]
        if any(file.name.endswith(".safetensors") for file in chosen):
            return chosen
        ggufs = [file for file in files if file.name.endswith(".gguf") and not _PART_OF_SEVERAL.search(file.name)]
        if len(ggufs) == 1:
            return ggufs
        if not ggufs:
            raise StoreError(f"{self.label} has no .safetensors and no single .gguf file", "choose another repository")
        listing = "\n".join(f"  {file.name}  {human_size(file.size)}" for file in ggufs)
        raise StoreError(f"{self.label} has several models:\n{listing}", "choose one with --file")

    def _named(self, name: str, files: list[_RemoteFile]) -> _RemoteFile:
        for file in files:
            if file.name == name:
                return file
        names = ", ".join(file.name for file in files if file.name.endswith((".gguf", ".safetensors")))
        raise StoreError(f"{self.label} has no file {name!r}", f"it has: {names or 'no model files'}")

    def _take(self, file: _RemoteFile, place: Workplace) -> FileRecord:
        target = place.folder / file.name
        if not target.is_file():
            part = target.with_name(target.name + ".part")
            self._download(file, part, place.progress)
            _check_blob(file, part)
            return settle(part, target, file.size, file.sha256, sha256_of(part))
        return FileRecord(file.name, target.stat().st_size, sha256_of(target))

    def _download(self, file: _RemoteFile, part: Path, progress: Progress) -> None:
        from huggingface_hub import constants, hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers, disable_progress_bars  # type: ignore[attr-defined]

        disable_progress_bars()
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        # Its own pieces of 10 MB make a jumping bar, and an interruption loses up to that much.
        constants.DOWNLOAD_CHUNK_SIZE = _PIECE
        if part.exists() and part.stat().st_size > file.size:
            part.unlink()
        there = part.stat().st_size if part.exists() else 0
        url = hf_hub_url(self._source.repository, file.name, revision=self._commit)
        with reported(progress, file.name, file.size, there), _translated(self.label), part.open("ab") as stream:
            http_get(
                url,
                _Watched(stream, progress),  # type: ignore[arg-type]
                resume_size=there,
                headers=build_hf_headers(),
                expected_size=file.size,
                displayed_filename=file.name,
            )


class _Watched:
    """A file that tells how much has been written to it."""

    def __init__(self, file: Any, progress: Progress) -> None:
        self._file = file
        self._progress = progress

    def write(self, piece: bytes) -> int:
        written: int = self._file.write(piece)
        self._progress.update(self._file.tell())
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def _translated(label: str) -> Iterator[None]:
    """Says in our words why the hub could not deliver."""
    from huggingface_hub import errors

    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise SourceUnavailableError("HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE to allow downloads") from error
    except errors.GatedRepoError as error:
        raise SourceUnavailableError(
            f"{label} wants its conditions accepted", "accept them on the model's page, then set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise SourceUnavailableError(
            f"{label} does not exist or is private", "check the spelling, or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise SourceUnavailableError(f"{label} has no such revision", "check the part after the @") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise SourceUnavailableError(f"the hub answered {status} for {label}", "try again later") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise NoSpaceError(
                "the disk is full", "free some space and run the same command again; it goes on"
            ) from error
        if not _is_transport_error(error):
            raise
        raise SourceUnavailableError(
            f"the hub cannot be reached ({_short(error)})",
            "check the network; HF_ENDPOINT names another hub; run again to go on",
        ) from error


def _is_transport_error(error: Exception) -> bool:
    """Network failures, by family: the HTTP library under ``huggingface_hub`` differs between its versions."""
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in {
        "httpx",
        "httpx2",
        "httpcore",
        "requests",
    }


def _short(error: Exception) -> str:
    lines = re.sub(r"\[Errno -?\d+\] ", "", str(error)).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__


def _remote_file(sibling: Any) -> _RemoteFile:
    lfs = sibling.lfs
    return _RemoteFile(
        sibling.rfilename, sibling.size or 0, lfs.sha256 if lfs else None, None if lfs else sibling.blob_id
    )


def _check_blob(file: _RemoteFile, part: Path) -> None:
    """Small files have no SHA-256 on the hub, but git's own name of their contents."""
    if file.sha256 is None and file.git_blob is not None and git_blob_of(part) != file.git_blob:
        part.unlink()
        raise DamagedError(f"{file.name} is not what the hub's listing says", "run the same command again")


def _there(folder: Path, file: _RemoteFile) -> int:
    for path in (folder / file.name, folder / f"{file.name}.part"):
        if path.is_file():
            return min(path.stat().st_size, file.size)
    return 0


def reach() -> SourceUnavailableError | None:
    """Asks the hub for a sign of life; returns what is in the way, if anything."""
    from huggingface_hub import HfApi

    try:
        with _translated("the hub"):
            HfApi().model_info("HuggingFaceTB/SmolLM2-135M-Instruct", timeout=_ANSWER_SECONDS)
    except SourceUnavailableError as error:
        return error
    return None
