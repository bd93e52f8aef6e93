"""Writes a model in a format, reloads the file in a fresh process, and gives it its name only if everything holds."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import importlib
import importlib.util
import io
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..reporting.certificate import Certificate, broken
from ..runtime import errors, quiet_import
from ..storage import files
from . import fresh, recover
from .formats import FORMATS, Format, names_of
from .formats.keras_file import function_of, plain_values
from .recover import Found
from .reload import outputs_of

# How far outputs in float32 may be from the model's, relative to the largest of them.
TOLERANCE = 1e-6
# Likewise of the smaller types, whose outputs are measured; beyond this they have nothing to do with the model's.
_MOST = 1.0
_UNFINISHED = ".unfinished-"


class ExportError(ValueError):
    """An export was written and does not hold, or could not be written; nothing of it is left."""


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A trained model and what its exports are held against.

    Attributes:
      model: the model to write, see `trainer.export.plain`.
      examples: an array for each input.
      outputs: of the trained model for the examples, an array for each output.
      certificate: of the trained model.
      certify: the certificate of other weights, in the order of the model's; None where the model was made smaller, so
        that no rule speaks of its weights any more.
      score: loss and metrics of outputs for the examples.
      representative: training examples, an array for each input.
      tolerance: how far outputs in float32 may be from the trained model's.
    """

    model: keras.Model
    examples: list[np.ndarray]
    outputs: list[np.ndarray]
    certificate: Certificate
    certify: Callable[[Sequence[np.ndarray]], Certificate] | None
    score: Callable[[list[np.ndarray]], dict[str, float]]
    representative: list[np.ndarray]
    tolerance: float = TOLERANCE


def predictions(model: keras.Model, examples: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a Keras model, an array for each."""
    return outputs_of(function_of(model), examples)


def check_names(names: Sequence[str]) -> None:
    """Raises ValueError for a format that is named twice or whose packages are not installed."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--formats names {name} twice; name it once.")
        missing = [package for package in FORMATS[name].packages if importlib.util.find_spec(package) is None]
        if missing:
            raise ValueError(
                f"--formats={name} needs {', '.join(missing)}, which the extra `{name}` brings: "
                f"pip install 'constrained-training[{name}]', or '.[{name}]' in a checkout."
            )


def check_free(paths: Sequence[pathlib.Path], overwrite: bool) -> None:
    """Raises ValueError where something lies in the way of an export."""
    for path in paths:
        if os.path.lexists(path) and not overwrite:
            raise ValueError(f"{path} exists already; choose another --output, or add --overwrite to replace it.")


def export(
    subject: Subject,
    name: str,
    path: pathlib.Path,
    *,
    overwrite: bool = False,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes one format, checks it in a fresh process, and puts it in its place.

    Args:
      subject: the model and what the file is held against.
      name: a key of `FORMATS`.
      path: where the file or folder goes.
      overwrite: whether it may replace what is there.
      options: for the format's `write`, beside its own.

    Returns:
      What was found in the file: `difference` of the outputs, `scores`, `certificate` and more, as plain JSON values.

    Raises:
      ValueError: the path is taken or the packages of the format are missing; nothing was written.
      ExportError: the file cannot be written, cannot be reloaded or does not hold; nothing of it is left.
    """
    chosen = FORMATS[name]
    check_names([name])
    check_free([path], overwrite)
    with _unfinished(path) as new:
        _write(subject, name, new, {**chosen.options, **(options or {})})
        try:
            found = fresh.reloaded(chosen, new, subject.examples)
        except fresh.ReloadError as error:
            raise ExportError(f"{path} cannot be reloaded, so it is not kept: {error}.") from None
        report = _checked(subject, chosen, found, path)
        report |= {"format": name, "path": str(path), "bytes": size(new)}
        _put(new, path)
    return report


def size(path: pathlib.Path) -> int:
    """The bytes of a file, or of all files of a folder."""
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())


def _write(subject: Subject, name: str, path: pathlib.Path, options: Mapping[str, Any]) -> None:
    module = importlib.import_module(f".formats.{FORMATS[name].module}", __package__)
    problem: Exception | None = None
    with quiet_import.native_stderr(), contextlib.redirect_stdout(io.StringIO()):
        try:
            module.write(subject.model, str(path), representative=subject.representative, **options)
            for file in [path, *path.rglob("*")]:
                files.sync(file)
        except Exception as error:
            problem = error
    if isinstance(problem, (OSError, tf.errors.OpError)):
        raise ExportError(
            f"{path.name} cannot be written: {errors.reason(problem)}; mend the disk, or choose another --output."
        )
    if problem is not None:
        said = next(iter(str(problem).strip().splitlines()), type(problem).__name__)[:300]
        raise ExportError(f"{path.name} cannot be written: the converter to {name} does not take this model: {said}")


def _checked(subject: Subject, chosen: Format, found: fresh.Reloaded, path: pathlib.Path) -> dict[str, Any]:
    """Holds a reloaded file against the model; raises ExportError where it does not hold."""
    names = names_of([variable.path for variable in subject.model.weights])
    weights = dict(zip(names, (plain_values(variable.numpy()) for variable in subject.model.weights), strict=True))
    try:
        there = (recover.by_name if chosen.named else recover.by_value)(weights, found.stored)
    except ValueError as error:
        raise ExportError(f"{path} {error}, so it is not kept.") from None
    for name, one in there.items():
        if not one.zeros_kept:
            raise ExportError(f"{path} stores zeros of `{name}` as other numbers, so it is not kept.")
    difference = distance(found.outputs, subject.outputs)
    allowed = subject.tolerance if chosen.exact else _MOST
    if not difference <= allowed:
        raise ExportError(
            f"{path} gives outputs that are {difference:.1e} from the model's, relative to the largest of them, and "
            f"{allowed:g} is allowed; it is not kept."
        )
    certificate = subject.certificate
    if subject.certify is not None:
        certificate = subject.certify([there[name].values if name in there else weights[name] for name in names])
    altered = {name: one for name, one in there.items() if one.how in ("folded", "merged", "rounded")}
    if subject.certificate["feasible"] and not certificate["feasible"] and not altered:
        raise ExportError(f"{path} breaks a rule, so it is not kept: {broken(certificate)}.")
    return {
        "difference": difference,
        "scores": subject.score(found.outputs),
        "libraries": found.libraries,
        "weights": {name: one.how for name, one in there.items()},
        "sparse": sorted(name for name, one in there.items() if one.stored is not None and one.stored.sparse),
        "certificate": certificate,
        "rules": _verdict(subject, certificate, there),
    }


def distance(outputs: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest difference of two outputs, relative to the largest expected one; infinity where shapes differ."""
    found = [0.0]
    for one, other in zip(outputs, expected, strict=True):
        if one.shape != other.shape:
            return float("inf")
        scale = float(np.max(np.abs(other), initial=0.0)) or 1.0
        found.append(float(np.max(np.abs(one.astype(np.float64) - other), initial=0.0)) / scale)
    # NumPy's maximum is NaN where one of them is.
    return float(np.max(found))


def _verdict(subject: Subject, certificate: Certificate, there: Mapping[str, Found]) -> str:
    """What a file's weights say of the rules, in a few words."""
    if subject.certify is None:
        return f"{'hold' if certificate['feasible'] else 'broken'} in the model that was made smaller"
    if certificate["feasible"]:
        return "hold"
    if not subject.certificate["feasible"]:
        return "broken, as in the trained model"
    how = {one.how for one in there.values()}
    worst = max(
        (entry["largest_violation"] or 0.0 for entry in certificate["variables"] if entry["feasible"] is False),
        default=0.0,
    )
    why = "rounding to the file's type" if "rounded" in how else "what the converter folded together"
    return f"hold but for {why}: off by {worst:.1e}; zeros are kept"


@contextlib.contextmanager
def _unfinished(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path of the same name in a folder beside it, which goes in the end whatever happens.

    The folder is locked, so that the next export recognises and removes one that a killed process left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in path.parent.glob(f"{_UNFINISHED}*"):
            _remove_abandoned(folder)
        folder = pathlib.Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=path.parent))
    except OSError as error:
        raise ExportError(
            f"{path} cannot be written: {errors.reason(error)}; choose another --output on a writable disk."
        ) from None
    lock = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_abandoned(folder: pathlib.Path) -> None:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        # Another export is writing there.
        pass
    finally:
        os.close(lock)


def _put(new: pathlib.Path, path: pathlib.Path) -> None:
    """Gives what was checked its name."""
    try:
        if path.is_dir() and not path.is_symlink():
            # A folder cannot take another's place; the old one goes with the unfinished ones.
            os.rename(path, new.with_name("replaced"))
        os.replace(new, path)
        files.sync(path.parent)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {errors.reason(error)}; choose another --output.") from None
