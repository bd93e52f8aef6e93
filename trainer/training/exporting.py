"""Exports the model of a run: puts together what `trainer.export` needs, and writes the report beside the files."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from ..export import fresh, measure, verify
from ..export.compact import compact, low_rank, multiply_adds
from ..export.formats import FORMATS
from ..reporting import tensorboard
from ..reporting.console import print_line
from ..reporting.text_table import table
from ..runtime import errors
from ..settings.checks import check_choice
from ..storage import files
from . import export_subject
from .run import Run

# How far outputs may be from the trained model's where units were removed or kernels factored.
TOLERANCE_OF_SMALLER = 1e-5
REPORT = "export.json"
MEASUREMENTS = "benchmark.txt"
# Targets of `--target`, with the options that they mean for formats.
TARGETS = {"tflite": {"sparse": True}}


def described() -> str:
    """The formats, with a few words about each."""
    return "; ".join(f"{name}: {one.text}" for name, one in FORMATS.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wishes:
    """What is exported, and how.

    Attributes:
      formats: keys of `trainer.export.formats.FORMATS`.
      target: a key of `TARGETS`; None: files that any interpreter runs.
      compact: whether units, filters and heads that are zero are removed.
      low_rank: whether kernels become two factors where that is smaller.
      benchmark: whether each file is measured, and a dense one beside them.
      overwrite: whether files that lie in the way are replaced.
    """

    formats: Sequence[str] = ("keras",)
    target: str | None = None
    compact: bool = False
    low_rank: bool = False
    benchmark: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.formats, str):
            object.__setattr__(self, "formats", tuple(self.formats.split(",")))
        if not self.formats:
            raise ValueError(f"--formats is empty; name some of {', '.join(FORMATS)}.")
        for name in self.formats:
            check_choice(f"--formats={name}", name, FORMATS)
        verify.check_names(self.formats)
        if self.target is not None:
            check_choice(f"--target={self.target}", self.target, TARGETS)

    def paths(self, output: pathlib.Path) -> dict[str, pathlib.Path]:
        """Where each format goes; raises ValueError where something lies there."""
        paths = {name: output / FORMATS[name].file for name in self.formats}
        verify.check_free(list(paths.values()), self.overwrite)
        return paths


def export(run: Run, output: str | os.PathLike[str], step: int, wishes: Wishes) -> dict[str, Any]:
    """Writes the model of a run in several formats, each checked in a fresh process.

    Args:
      run: the run; its model has the weights that are exported.
      output: the folder; made where there is none.
      step: the step that the weights are of.
      wishes: what is exported, and how.

    Returns:
      The report, which is written there as `export.json` too.

    Raises:
      ValueError: something lies in the way, or the model cannot be copied; nothing was written.
      verify.ExportError: a file could not be written or does not hold; the files before it stay, and nothing of it.
    """
    folder = pathlib.Path(output)
    paths = wishes.paths(folder)
    dense = export_subject.of_run(run, step)
    subject, changes = _made_smaller(dense, wishes)
    exports: list[dict[str, Any]] = []
    report: dict[str, Any] = {"step": step, "examples": len(subject.examples[0]), **changes, "exports": exports}
    with _failures_told(folder):
        for name, path in paths.items():
            options = TARGETS[wishes.target] if wishes.target and FORMATS[name].module == wishes.target else {}
            exports.append(verify.export(subject, name, path, overwrite=wishes.overwrite, options=options))
            print_line(f"{path}: {exports[-1]['bytes']:,} bytes, checked in a process of its own")
        print_line(_printed(exports))
        if wishes.benchmark:
            report["benchmark"] = _measured(dense, subject, wishes, paths, exports)
            text = measure.printed(report["benchmark"])
            print_line(text)
            files.write_atomically(folder / MEASUREMENTS, text + "\n")
            _show(run, step, text)
        files.write_atomically(folder / REPORT, json.dumps(report, indent=2) + "\n")
    return report


@contextlib.contextmanager
def _failures_told(folder: pathlib.Path) -> Iterator[None]:
    """Has a failing disk, or a file that cannot be measured, end an export in a sentence."""
    try:
        yield
    except fresh.ReloadError as error:
        raise verify.ExportError(
            f"an export cannot be measured: {error}; the files in {folder} hold and stay."
        ) from None
    except OSError as error:
        raise verify.ExportError(
            f"{error.filename or folder} cannot be written: {errors.reason(error)}; every file in {folder} holds. Mend "
            "the disk, and export again with --overwrite."
        ) from None


def _made_smaller(subject: verify.Subject, wishes: Wishes) -> tuple[verify.Subject, dict[str, Any]]:
    """The subject with the smaller model that was wished for, and what became of its layers as plain JSON values."""
    changes: dict[str, Any] = {}
    model = subject.model
    try:
        if wishes.compact:
            compacted = compact(model)
            model = compacted.model
            changes["compact"] = {
                "removed": [dataclasses.asdict(one) for one in compacted.removed],
                "kept": [dataclasses.asdict(one) for one in compacted.kept],
            }
            for one in compacted.removed:
                print_line(f"{one.layer}: {one.after:,} of {one.before:,} {one.noun} are left")
            for kept in compacted.kept:
                print_line(f"{kept.layer}: keeps {kept.number:,} {kept.noun}: {kept.reason}")
        if wishes.low_rank:
            factored = low_rank(model)
            model = factored.model
            changes["low_rank"] = [dataclasses.asdict(one) for one in factored.factored]
            for pair in factored.factored:
                print_line(f"{pair.layer}: {pair.shape[0]:,} x {pair.shape[1]:,} as two factors of rank {pair.rank:,}")
    except TypeError as error:
        raise ValueError(f"--{'low_rank' if 'compact' in changes else 'compact'}: {error}") from None
    if not changes:
        return subject, changes
    return dataclasses.replace(subject, model=model, certify=None, tolerance=TOLERANCE_OF_SMALLER), changes


def _show(run: Run, step: int, text: str) -> None:
    """Has TensorBoard show a table; charts are no reason to lose an export."""
    if run.settings.run_dir is not None:
        try:
            tensorboard.show_text(pathlib.Path(run.settings.run_dir), "export", step, text)
        except (OSError, tf.errors.OpError) as error:
            print_line(f"warning: TensorBoard does not show the benchmark: {errors.reason(error)}")


def _printed(exports: Sequence[dict[str, Any]]) -> str:
    """The exports as a table, a line for each."""
    scored = list(dict.fromkeys(name for one in exports for name in one["scores"]))
    rows = [
        [
            pathlib.Path(one["path"]).name,
            f"{one['bytes']:,}",
            f"{one['difference']:.1e}",
            *(f"{one['scores'][name]:.4f}" for name in scored),
            one["rules"],
        ]
        for one in exports
    ]
    return table(["file", "bytes", "difference of outputs", *scored, "rules"], rows)


def _measured(
    dense: verify.Subject,
    subject: verify.Subject,
    wishes: Wishes,
    paths: dict[str, pathlib.Path],
    exports: Sequence[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Measures a dense file of each kind first, and then each export."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("keras", *(["tflite"] if "tflite" in {FORMATS[one].module for one in wishes.formats} else [])):
            path = pathlib.Path(folder) / FORMATS[name].file
            report = verify.export(dense, name, path)
            rows.append(_row(f"dense {path.name}", name, path, dense, report))
    return rows + [
        _row(paths[one["format"]].name, one["format"], paths[one["format"]], subject, one) for one in exports
    ]


def _row(file: str, name: str, path: pathlib.Path, subject: verify.Subject, report: dict[str, Any]) -> dict[str, Any]:
    found = measure.measured(name, path, subject.examples)
    return {
        "file": file,
        "format": name,
        **found,
        "scores": report["scores"],
        "multiply_adds": _multiply_adds(subject.model),
    }


def _multiply_adds(model: keras.Model) -> int | None:
    """None for a model whose layers cannot be listed."""
    try:
        return multiply_adds(model)
    except (TypeError, ValueError):
        return None
