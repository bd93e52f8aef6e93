"""`--export`: the exports that a run makes of itself once it has reached its end."""

from __future__ import annotations

import contextlib
import pathlib
import sys
from typing import Any

from ..reporting.console import print_line
from ..settings.config import Config
from ..storage import run_directory
from . import exporting
from .best import at_best
from .run import Run


def wishes(config: Config) -> exporting.Wishes | None:
    """What `--export`, `--export_with` and `--target` ask for; None: nothing.

    Raises:
      ValueError: a format is unknown, named twice, or its packages are not installed.
    """
    if not config.export:
        return None
    options = dict.fromkeys(config.export_with, True)
    try:
        return exporting.Wishes(formats=config.export, target=config.target, overwrite=True, **options)
    except ValueError as error:
        raise ValueError(str(error).replace("--formats", "--export")) from None


def export(run: Run, directory: pathlib.Path, certificate: dict[str, Any], wished: exporting.Wishes) -> bool:
    """Writes the weights that `model.keras` holds into the run's folder `export`, in place of an earlier export.

    Args:
      run: a run that has reached its end, with its last weights.
      directory: the run directory, which says all of the run already.
      certificate: the content of `certificate.json`.
      wished: see `wishes`.

    Returns:
      Whether every file holds. Of one that does not, a sentence is printed and nothing is kept.
    """
    chosen = certificate["model"] or {"step": (certificate["best"] or certificate)["step"]}
    step, last = chosen["step"], certificate["step"]
    remembered = [variable for target in run.targets for variable in target.state]
    checkpoints = directory / run_directory.CHECKPOINTS
    try:
        with contextlib.nullcontext() if step == last else at_best(run.model, checkpoints, remembered):
            exporting.export(run, directory / run_directory.EXPORT, step, wished)
    except ValueError as error:
        print_line(f"error: --export: {error}", stream=sys.stderr)
        print_line(f"the run is whole; python -m trainer.export {directory} makes the export", stream=sys.stderr)
        return False
    return True
