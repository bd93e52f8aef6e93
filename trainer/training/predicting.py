"""Answers of a run's model for new examples, as a table or an archive."""

from __future__ import annotations

import csv
import io
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from ..data import unlabelled
from ..storage import files, run_directory
from . import model_file


def predict(run: str, source: str, text: str | None) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    """Applies the model of a run.

    Args:
      run: the run directory.
      source: file or folder of examples.
      text: the column of a table that holds texts.

    Returns:
      A name for each example, its answers [n, outputs], and what `run.json` says of the task.

    Raises:
      ValueError: there is no model, or it does not take what the file holds.
    """
    model = model_file.load(run)
    inputs, names = unlabelled.read(source, model, text)
    tensors = tf.nest.map_structure(
        lambda array: tf.constant(array.tolist() if array.dtype == object else array), inputs
    )
    found = model.predict(tensors, verbose=0)
    if isinstance(found, (list, dict)):
        raise ValueError(f"{run}: the model has several outputs; use trainer.load and predict in Python.")
    return names, np.asarray(found).reshape(len(found), -1), _task(pathlib.Path(run) / run_directory.RUN)


def check_output(output: str | None, overwrite: bool) -> None:
    """Raises ValueError for a file that cannot be written or must not be replaced."""
    if output is None:
        return
    if pathlib.PurePath(output).suffix.lower() not in (".csv", ".npz"):
        raise ValueError(f"--output={output} is neither .csv nor .npz; give a name that ends in one of these.")
    if os.path.lexists(output) and not overwrite:
        raise ValueError(f"--output={output} exists; choose another name, or add --overwrite.")
    folder = pathlib.Path(output).parent
    if not folder.is_dir():
        raise ValueError(f"--output={output}: there is no folder {folder}; make it first.")


def write(output: str | None, names: list[str], answers: np.ndarray, task: dict[str, Any]) -> str:
    """Writes predictions, and returns what to print: that they were written, or themselves.

    Args:
      output: a .csv or .npz file; None: nothing is written.
      names: of the examples.
      answers: [n, outputs].
      task: what `run.json` says of the task.

    Raises:
      OSError: the disk does not take the file; nothing of it stays.
    """
    content = _archive(names, answers, task) if output is not None and output.lower().endswith(".npz") else None
    text = io.StringIO()
    if content is None:
        header, rows = _table(names, answers, task)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    if output is None:
        return text.getvalue()
    files.write_atomically(pathlib.Path(output), text.getvalue() if content is None else content)
    return f"{output}: {len(names):,} predictions\n"


def _task(record: pathlib.Path) -> dict[str, Any]:
    """What `run.json` says of the task; nothing of a run that was begun in Python on arrays."""
    try:
        task = files.document(record).get("task")
    except (OSError, ValueError, AttributeError):
        task = None
    return task if isinstance(task, dict) else {}


def _archive(names: list[str], answers: np.ndarray, task: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    np.savez(content, names=np.array(names), classes=np.array(task.get("classes") or ()), predictions=answers)
    return content.getvalue()


def _table(names: list[str], answers: np.ndarray, task: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The header and a row for each example: its name, its class where there are classes, and the numbers."""
    classes = [str(name) for name in task.get("classes") or ()]
    chosen: list[list[str]] = [[] for _ in names]
    columns = [f"output_{place}" for place in range(answers.shape[1])]
    if task.get("name") == "classification":
        if answers.shape[1] == 1:
            answers = np.concatenate([1 - answers, answers], axis=1)
        classes = classes or [str(number) for number in range(answers.shape[1])]
        chosen = [[classes[place]] for place in answers.argmax(axis=1)]
    if len(classes) == answers.shape[1]:
        columns = classes
    header = ["example", *(["class"] if task.get("name") == "classification" else []), *columns]
    numbers = [[f"{value:.7g}" for value in row] for row in answers.tolist()]
    return header, [[name, *one, *row] for name, one, row in zip(names, chosen, numbers, strict=True)]
