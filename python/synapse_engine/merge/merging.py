"""The way from a base and its sources to a model folder, in order. Holds a few blocks of numbers, never a model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np

from synapse_engine.convert.errors import MismatchError
from synapse_engine.convert.target import check_target, new_folder, write_text
from synapse_engine.store.progress import Progress, Silent

from .base import Base, open_base
from .card import model_card
from .evaluate import Evaluation, Passage, Scorer, WorseError, engine_scorer, evaluate, read_passages
from .formats import NAME_OF, OF_NAME, Floats, all_finite, from_float32
from .methods import Dare, Linear, Method, MethodName, Prune, Ties, cut_of
from .sources import Source, open_source
from .trim import Cut
from .weights import Tensor, row_blocks
from .writer import flush, lay_out, write_rows


@dataclass(frozen=True)
class MergeRequest:
    """What the user asked for."""

    base: Path
    sources: tuple[tuple[Path, float], ...]
    """Folders of adapters and models, each with its weight."""
    target: Path
    """The folder to make."""
    method: MethodName = "ties"
    strength: float = 1.0
    """Lambda: what the merged change is multiplied with."""
    trim: float = 0.8
    """For ties: the share of each source's changes that goes."""
    trim_over: Literal["model", "tensor"] = "model"
    drop: float = 0.9
    """For dare and dare-ties: the probability of each change to go."""
    seed: int = 0
    dtype: str | None = None
    """``float32``, ``float16`` or ``bfloat16``; None: as the base."""
    evaluation: Path | None = None
    """A text, or JSON lines, on which the merge must not be worse than the base."""
    force: bool = False
    """Replace a model that is there."""


@dataclass(frozen=True)
class Merged:
    """What was written."""

    target: Path
    sources: tuple[tuple[str, float, str], ...]
    """Name, weight, and what is known of each."""
    tensors: int
    """Those that were changed."""
    dtype: str
    evaluation: Evaluation | None


def merge(request: MergeRequest, progress: Progress | None = None, scorer: Scorer = engine_scorer) -> Merged:
    """Merges. Raises ConvertError, of which WorseError is one; the target is then as it was."""
    progress = progress or Silent()
    _check(request)
    check_target(request.target, force=request.force)
    base = open_base(request.base)
    passages = read_passages(request.evaluation) if request.evaluation else []
    sources = [open_source(path, weight, base) for path, weight in request.sources]
    with new_folder(request.target, force=request.force) as folder:
        _write(folder, request, base, sources, progress)
        base.copy_along(folder, OF_NAME[request.dtype] if request.dtype else None)
        evaluation = _evaluate(base.folder, folder, passages, scorer, progress) if passages else None
        merged = _merged(request, base, sources, evaluation)
        write_text(folder / "README.md", model_card(base.folder.name, merged, settings(request)))
    return merged


def settings(request: MergeRequest) -> dict[str, str]:
    """The settings that count for the method, for people."""
    found = {"Method": request.method, "Lambda": f"{request.strength:g}"}
    if request.method == "ties":
        found["Trim"] = f"{request.trim:g} of each {'source' if request.trim_over == 'model' else 'tensor'}"
    if request.method.startswith("dare"):
        found |= {"Drop": f"{request.drop:g}", "Seed": str(request.seed)}
    return found


def _check(request: MergeRequest) -> None:
    """Raises ValueError for settings that no command line lets through."""
    if not request.sources:
        raise ValueError("sources: expected at least one")
    for name, share in (("trim", request.trim), ("drop", request.drop)):
        if not 0 <= share < 1:
            raise ValueError(f"{name}: expected a number from 0 to less than 1, found {share}")
    if not all(map(isfinite, (request.strength, *(weight for _, weight in request.sources)))):
        raise ValueError("strength and weights: expected finite numbers")
    if request.seed < 0:
        raise ValueError(f"seed: expected no number below 0, found {request.seed}")


def _method(request: MergeRequest, sources: Sequence[Source], progress: Progress) -> Method:
    if request.method == "ties":
        over_model = request.trim_over == "model"
        return Ties(request.trim, [_cut(source, request.trim, progress) for source in sources] if over_model else None)
    if request.method == "linear":
        return Linear()
    return Dare(request.drop, request.method == "dare-ties", request.seed)


def _cut(source: Source, trim: float, progress: Progress) -> Cut:
    twice = 2 * 4 * sum(tensor.elements for tensor in source.tensors)
    with _task(progress, f"largest changes of {source.name}", twice) as task:
        return cut_of(source, source.tensors, trim, task.advance)


def _write(folder: Path, request: MergeRequest, base: Base, sources: Sequence[Source], progress: Progress) -> None:
    made = lay_out(folder, base.weights, OF_NAME[request.dtype] if request.dtype else None)
    method = _method(request, sources, progress)
    changes: dict[str, list[int]] = {}
    for index, source in enumerate(sources):
        for tensor in source.tensors:
            changes.setdefault(tensor.name, []).append(index)
    with _task(progress, "merging", sum(4 * tensor.elements for tensor in made.values())) as task:
        # By name, as trimming counts equal magnitudes in this order; a file's own order is left to chance.
        for name, tensor in base.weights.tensors.items():
            by = [(sources[index], method.pruner(index, sources[index], tensor)) for index in changes.get(name, [])]
            for start, stop in row_blocks(tensor):
                change = _change(method, request.strength, by, tensor, start, stop)
                write_rows(made[name], start, _stored(tensor, made[name].dtype, change, start, stop))
                task.advance((stop - start) * tensor.width)
    flush({tensor.path for tensor in made.values()})


def _change(
    method: Method, strength: float, by: Sequence[tuple[Source, Prune]], tensor: Tensor, start: int, stop: int
) -> Floats | None:
    """What is added to some rows; None where no source changes the tensor."""
    if not by:
        return None
    deltas = [np.float32(source.weight) * prune(source.delta(tensor, start, stop)) for source, prune in by]
    change: Floats = np.float32(strength) * method.combine(deltas)
    return change


def _stored(tensor: Tensor, dtype: str, change: Floats | None, start: int, stop: int) -> Floats:
    """New rows in the new format; unchanged ones byte for byte if they may stay in theirs."""
    if change is None and dtype == tensor.dtype:
        return tensor.stored(start, stop)
    values = tensor.read(start, stop)
    stored = from_float32(values if change is None else values + change, dtype)
    if not all_finite(stored, dtype):
        hint = "use --dtype float32" if dtype == "F16" else "use smaller weights, or a smaller --lambda"
        raise MismatchError(f"tensor `{tensor.name}` gets numbers that {NAME_OF[dtype]} cannot hold", hint)
    return stored


def _evaluate(base: Path, folder: Path, passages: Sequence[Passage], scorer: Scorer, progress: Progress) -> Evaluation:
    found = evaluate(base, folder, passages, scorer, progress)
    if found.worse:
        raise WorseError(found)
    return found


def _merged(request: MergeRequest, base: Base, sources: Sequence[Source], evaluation: Evaluation | None) -> Merged:
    changed = {tensor.name for source in sources for tensor in source.tensors}
    kinds = sorted({NAME_OF[tensor.dtype] for tensor in base.weights.tensors.values()})
    rows = tuple((source.name, source.weight, source.facts) for source in sources)
    return Merged(request.target, rows, len(changed), request.dtype or ", ".join(kinds), evaluation)


class _Task:
    """A task of the progress display, as it goes on: four bytes for each number."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._done = progress, 0

    def advance(self, numbers: int) -> None:
        self._done += 4 * numbers
        self._progress.update(self._done)


@contextmanager
def _task(progress: Progress, name: str, total: int) -> Iterator[_Task]:
    progress.start(name, total)
    try:
        yield _Task(progress)
    finally:
        progress.finish()
