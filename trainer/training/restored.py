"""A finished run, put together again from its directory with the weights that it saved."""

from __future__ import annotations

import dataclasses
import os
import pathlib

from ..settings import flags
from ..settings.checks import check_choice
from ..storage import checkpoints, files, run_directory
from . import experiment
from .run import Run

# Which weights, and the folder that they are in.
WEIGHTS = {"best": f"{run_directory.CHECKPOINTS}/best", "last": run_directory.CHECKPOINTS}


def export_folder(directory: str | os.PathLike[str]) -> pathlib.Path:
    """Where the exports of a run go unless the user says otherwise."""
    return pathlib.Path(directory) / run_directory.EXPORT


def restored(directory: str | os.PathLike[str], weights: str | None = None) -> tuple[Run, int]:
    """Makes a run of its `flags.txt` on one replica, and reads its weights; nothing is written.

    Args:
      directory: the run directory.
      weights: a key of `WEIGHTS`; None: those of `model.keras`, the best if they obey the rules of the end.

    Returns:
      The run, and the step that its weights are of.

    Raises:
      ValueError: the directory holds no run, or one that is under way, has no checkpoint, was begun in Python, or was
        made by another version of the program.
    """
    path = pathlib.Path(directory)
    weights = _of_model_file(path) if weights is None else weights
    check_choice(f"--weights={weights}", weights, WEIGHTS)
    if not (path / run_directory.RUN).is_file():
        what = "is no run directory: it holds no run.json" if path.is_dir() else "does not exist"
        raise ValueError(f"{path} {what}; give the folder of a run, as --run_dir named it.")
    flagfile = path / run_directory.FLAGS
    if not flagfile.is_file():
        raise ValueError(
            f"{path} holds a run that was begun in Python, without flags.txt; export it there, with "
            "Trainer.export(folder) after fit()."
        )
    try:
        config = flags.config(flags.parse([f"--flagfile={flagfile}", f"--run_dir={path}", "--resume=auto"]))
    except ValueError as error:
        raise ValueError(f"{path} holds a run of another version of this program: {error}") from None
    # Refuses a run that is under way, and settings that this version takes for others.
    experiment.directory_of(config).check()
    if not any((path / WEIGHTS[weights]).glob("step-*")):
        raise ValueError(f"{path} holds no checkpoint in {WEIGHTS[weights]}; train the run to its first checkpoint.")
    run = experiment.build(dataclasses.replace(config, num_replicas=1))
    remembered = [variable for target in run.targets for variable in target.state]
    return run, checkpoints.read_weights(path / WEIGHTS[weights], run.model, str(path), remembered)


def _of_model_file(path: pathlib.Path) -> str:
    """Which weights the run's `model.keras` holds, by its certificate; the best where it does not say."""
    try:
        weights = files.document(path / run_directory.CERTIFICATE)["model"]["weights"]
    except (OSError, ValueError, KeyError, TypeError):
        return "best"
    return weights if weights in WEIGHTS else "best"
