"""Predicts with what a run trained: `python -m trainer.predict RUN --input=FILE`."""

from __future__ import annotations

import argparse
import csv
import io
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .reporting.console import print_line
from .runtime import quiet_import

MISTAKE = 2


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the program.

    Args:
      argv: the program's name and the command line; None for that of the process.

    Raises:
      SystemExit: always, with the exit code: 0, or 2 after a mistake, when nothing was written.
    """
    quiet_import.complete_streams()
    sys.exit(_main((sys.argv if argv is None else argv)[1:]))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print_line(f"error: {message}; see --help.", stream=sys.stderr)
        sys.exit(MISTAKE)


def _main(arguments: Sequence[str]) -> int:
    parser = _Parser(
        prog=f"python -m {__package__}.predict",
        description="Predicts with what a run trained. A table has a row for each example.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="directory of a run that ended")
    parser.add_argument(
        "--input",
        required=True,
        metavar="FILE",
        help="an .npz or .npy file, a table (CSV, Parquet), an image, a .txt file, or a folder of images or texts",
    )
    parser.add_argument("--text", metavar="COLUMN", help="column of a table that holds texts")
    parser.add_argument("--output", metavar="FILE", help=".csv or .npz file to write (default: CSV on the screen)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing --output")
    given = parser.parse_args(arguments)
    try:
        _check_output(given.output, given.overwrite)
        quiet_import.import_tensorflow()
        from .data import unlabelled
        from .storage import files, run_directory
        from .training import model_file

        model = model_file.load(given.run)
        task = _task(files, pathlib.Path(given.run) / run_directory.RUN)
        inputs, names = unlabelled.read(given.input, model, given.text)
        answers = _answers(model, inputs)
        _write(files, given.output, names, answers, task)
    except ValueError as error:
        print_line(f"error: {error}", stream=sys.stderr)
        return MISTAKE
    except OSError as error:
        print_line(f"error: {error.filename or given.output}: {error.strerror or error}.", stream=sys.stderr)
        return 1
    if given.output is not None:
        print_line(f"{given.output}: {len(names):,} predictions")
    return 0


def _check_output(output: str | None, overwrite: bool) -> None:
    if output is None:
        return
    if pathlib.PurePath(output).suffix.lower() not in (".csv", ".npz"):
        raise ValueError(f"--output={output} is neither .csv nor .npz; give a name that ends in one of these.")
    if os.path.lexists(output) and not overwrite:
        raise ValueError(f"--output={output} exists; choose another name, or add --overwrite.")
    folder = pathlib.Path(output).parent
    if not folder.is_dir():
        raise ValueError(f"--output={output}: there is no folder {folder}; make it first.")


def _task(files: Any, record: pathlib.Path) -> dict[str, Any]:
    """What `run.json` says of the task; nothing of a run that was begun in Python."""
    try:
        task = files.document(record).get("task")
    except (OSError, ValueError, AttributeError):
        task = None
    return task if isinstance(task, dict) else {}


def _answers(model: Any, inputs: Any) -> Any:
    import numpy as np
    import tensorflow as tf

    if isinstance(inputs, dict) or inputs.dtype != object:
        inputs = tf.nest.map_structure(tf.constant, inputs)
    else:
        inputs = tf.constant(inputs.tolist())
    found = model.predict(inputs, verbose=0)
    if isinstance(found, (list, dict)):
        raise ValueError("The model has several outputs; use keras.models.load_model and predict in Python.")
    return np.asarray(found).reshape(len(found), -1)


def _write(files: Any, output: str | None, names: list[str], answers: Any, task: dict[str, Any]) -> None:
    import numpy as np

    header, rows = _table(names, answers, task)
    if output is not None and output.lower().endswith(".npz"):
        content = io.BytesIO()
        np.savez(content, names=np.array(names), classes=np.array(task.get("classes") or ()), predictions=answers)
        files.write_atomically(pathlib.Path(output), content.getvalue())
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    if output is None:
        print_line(text.getvalue(), end="")
    else:
        files.write_atomically(pathlib.Path(output), text.getvalue())


def _table(names: list[str], answers: Any, task: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The header and a row for each example: its name, its class where there are classes, and the numbers."""
    import numpy as np

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


if __name__ == "__main__":
    run()
