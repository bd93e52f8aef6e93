"""`python -m trainer.export RUN --formats=keras,tflite`: writes the model of a finished run as files."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..reporting.console import print_line
from ..runtime import programs, quiet_import

_WEIGHTS = ("best", "last")


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the program.

    Args:
      argv: the program's name and the command line; None for that of the process.

    Raises:
      SystemExit: always: 0 where every file holds, 1 where one does not, 2 for a mistake in the command.
    """
    programs.start(_main, argv)


def _main(arguments: Sequence[str]) -> int:
    try:
        quiet_import.import_tensorflow()
        from ..training import exporting, restored

        given = _parser(exporting.described()).parse_args(arguments)

        wishes = exporting.Wishes(
            formats=given.formats,
            target=given.target,
            benchmark=given.benchmark,
            overwrite=given.overwrite,
            compact=given.compact,
            low_rank=given.low_rank,
        )
        output = restored.export_folder(given.run) if given.output is None else pathlib.Path(given.output)
        wishes.paths(output)
        found, step = restored.restored(given.run, given.weights)
    except ValueError as error:
        return _told(error, programs.MISTAKE)
    try:
        exporting.export(found, output, step, wishes)
    except exporting.verify.ExportError as error:
        return _told(error, 1)
    except ValueError as error:
        return _told(error, programs.MISTAKE)
    return 0


def _told(error: ValueError, code: int) -> int:
    print_line(f"error: {error}", stream=sys.stderr)
    return code


def _parser(formats: str) -> argparse.ArgumentParser:
    parser = programs.Parser(
        prog=f"python -m {__package__}",
        description="Writes the model of a finished run as files, each checked by reloading it in another process.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="the run directory")
    parser.add_argument("--formats", default="keras", help=f"Formats, with commas between ({formats}; default: keras).")
    parser.add_argument("--output", help="Folder of the files (default: export in the run directory).")
    parser.add_argument(
        "--weights",
        choices=_WEIGHTS,
        help="Which weights (default: the best that obey every rule).",
    )
    parser.add_argument("--target", help="tflite: stores TFLite's weights without their zeros where that runs.")
    parser.add_argument("--compact", action="store_true", help="Remove units, filters and heads that are zero.")
    parser.add_argument("--low_rank", action="store_true", help="Write kernels as two factors where that is smaller.")
    parser.add_argument("--benchmark", action="store_true", help="Measure size, memory and time of each file.")
    parser.add_argument("--overwrite", action="store_true", help="Replace files that are there.")
    return parser


if __name__ == "__main__":
    run()
