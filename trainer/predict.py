"""Predicts with what a run trained: `python -m trainer.predict RUN --input=FILE`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from .reporting.console import print_line
from .runtime import programs, quiet_import


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the program.

    Args:
      argv: the program's name and the command line; None for that of the process.

    Raises:
      SystemExit: always, with the exit code: 0, or 2 after a mistake, when nothing was written.
    """
    programs.start(_main, argv)


def _main(arguments: Sequence[str]) -> int:
    parser = programs.Parser(
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
    try:
        given = parser.parse_args(arguments)
        quiet_import.import_tensorflow()
        from .training import predicting

        predicting.check_output(given.output, given.overwrite)
        names, answers, task = predicting.predict(given.run, given.input, given.text)
        text = predicting.write(given.output, names, answers, task)
    except ValueError as error:
        print_line(f"error: {error}", stream=sys.stderr)
        return programs.MISTAKE
    except OSError as error:
        print_line(f"error: {error.filename or given.output}: {error.strerror or error}.", stream=sys.stderr)
        return 1
    print_line(text, end="")
    return 0


if __name__ == "__main__":
    run()
