"""Trains a network under a constraint: `python -m trainer.main --constraint=maxnorm --max_value=2`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from trainer import interrupts, progress, quiet

if TYPE_CHECKING:
    from trainer.config import Config

MISTAKE = 2


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the program and of the console script; a process may call it several times.

    Args:
      argv: the program's name and the command line; None for that of the process.

    Raises:
      SystemExit: always, with the exit code.
    """
    quiet.complete_streams()
    interrupts.leave_when_asked()
    sys.exit(_main((sys.argv if argv is None else argv)[1:]))


def _main(arguments: Sequence[str]) -> int:
    try:
        quiet.import_tensorflow()
    except ValueError as error:
        return _refused(error)
    from absl import logging

    from trainer import certificate, cli, experiment, outcome, rundir, session
    from trainer.progress import say

    try:
        if (text := cli.help_asked(arguments)) is not None:
            say(text, end="")
            return 0
        flags = cli.parse(arguments)
        logging.use_absl_handler()
        logging.set_verbosity(cli.verbosity(flags))
        config = cli.config(flags)
        directory = rundir.RunDirectory(config)
        directory.check()
        built = experiment.build(config)
        if config.dry_run:
            say(experiment.data_line(built))
            for warning in built.warnings:
                say(f"warning: {warning}")
            say(experiment.variable_table(built))
            say(experiment.rules_table(built))
            return 0
        training = session.Session(built, directory)
        training.begin(cli.as_flagfile(flags, run_dir=str(directory.path)))
        _keep_data(config)
        # After the newest checkpoint was read, whose weights and bounds these are.
        say(experiment.variable_table(built))
    except ValueError as error:
        return _refused(error)
    except Exception as error:
        return _failed(error)
    try:
        with interrupts.listen(built.steps.halt) as interrupt:
            result = training.run(interrupt)
    except Exception as error:
        return _failed(error)
    finally:
        training.close()
    if result is None:
        return interrupts.INTERRUPTED
    say(certificate.printed(result))
    say(outcome.described(result, directory.path))
    return 0 if result["feasible"] else 1


def _keep_data(config: Config) -> None:
    """Leaves a data set on disk for the next run; this one has it in memory."""
    from trainer.datasets import prepare

    try:
        prepare.keep(config.dataset, config.data_dir)
    except ValueError as error:
        progress.say(f"the next run prepares its data again: {error}", stream=sys.stderr)


def _refused(error: ValueError) -> int:
    """Says what the user should mend; nothing was begun."""
    # Whatever a message quotes, it stays readable.
    message = re.sub(r"\S{500,}", lambda word: f"{word[0][:100]}... ({len(word[0])} characters)", str(error))
    progress.say(f"error: {message}", stream=sys.stderr)
    return MISTAKE


def _failed(error: Exception) -> int:
    """Prints what went wrong in one line; what nobody foresaw keeps its traceback."""
    from trainer import failures

    message = failures.described(error)
    if message is None:
        raise error
    progress.say(f"error: {message}", stream=sys.stderr)
    return 1


if __name__ == "__main__":
    run()
