"""Trains a network under a constraint: `python -m trainer.main --constraint=maxnorm --max_value=2`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from .reporting import console
from .runtime import programs, quiet_import, signals


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the program and of the console script; a process may call it several times.

    Args:
      argv: the program's name and the command line; None for that of the process.

    Raises:
      SystemExit: always, with the exit code.
    """
    programs.start(_main, argv)


def _main(arguments: Sequence[str]) -> int:
    try:
        quiet_import.import_tensorflow()
    except ValueError as error:
        return _refused(error)
    from absl import logging

    from .reporting import certificate, outcome, run_card
    from .reporting.console import print_line
    from .settings import flags
    from .training import experiment, final_export
    from .training.session import Session

    try:
        if (text := flags.help_asked(arguments)) is not None:
            print_line(text, end="")
            return 0
        given = flags.parse(arguments)
        logging.use_absl_handler()
        logging.set_verbosity(flags.verbosity(given))
        config = flags.config(given)
        wishes = final_export.wishes(config)
        directory = experiment.directory_of(config)
        directory.check()
        built = experiment.build(config)
        if config.dry_run:
            print_line(built.data_line)
            print_line(built.task_line)
            for warning in built.warnings:
                print_line(f"warning: {warning}")
            print_line(run_card.variable_table(built.model, built.targets, 0))
            print_line(run_card.rules_table(built.targets, built.timeline.total_steps))
            return 0
        training = Session(built, directory)
        training.begin(flags.as_flagfile(given, run_dir=str(directory.path)))
        try:
            experiment.keep_data(config)
        except ValueError as error:
            print_line(f"the next run prepares its data again: {error}", stream=sys.stderr)
        # After the newest checkpoint was read, whose weights and bounds these are.
        print_line(run_card.variable_table(built.model, built.targets, built.step))
    except ValueError as error:
        return _refused(error)
    except Exception as error:
        return _failed(error)
    try:
        with signals.listen(built.steps.halt) as interrupt:
            result = training.run(interrupt)
        if result is None:
            return signals.INTERRUPTED
        print_line(certificate.printed(result))
        print_line(outcome.described(result, directory.path))
        # The run is whole by now, and a signal from here on ends the process at once.
        whole = wishes is None or final_export.export(built, directory.path, result, wishes)
    except Exception as error:
        return _failed(error)
    finally:
        training.close()
    return 0 if result["feasible"] and whole else 1


def _refused(error: ValueError) -> int:
    """Says what the user should mend; nothing was begun."""
    # Whatever a message quotes, it stays readable.
    message = re.sub(r"\S{500,}", lambda word: f"{word[0][:100]}... ({len(word[0])} characters)", str(error))
    console.print_line(f"error: {message}", stream=sys.stderr)
    return programs.MISTAKE


def _failed(error: Exception) -> int:
    """Prints what went wrong in one line; what nobody foresaw keeps its traceback."""
    from .runtime import errors

    message = errors.described(error)
    if message is None:
        raise error
    console.print_line(f"error: {message}", stream=sys.stderr)
    return 1


if __name__ == "__main__":
    run()
