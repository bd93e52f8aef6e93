"""Trains a network under a constraint: `python -m trainer.main --constraint=maxnorm --max_value=2`."""

from __future__ import annotations

import sys

from trainer import interrupts, quiet


def run(argv: list[str] | None = None) -> None:
    """Entry point of the program and of the console script."""
    interrupts.leave_when_asked()
    quiet.import_tensorflow()
    from absl import app, flags

    from trainer import cli

    cli.define()
    flags.adopt_module_key_flags(cli)
    app.run(_main, argv=argv)


def _main(argv: list[str]) -> int:
    from absl import flags, logging

    from trainer import certificate, cli, experiment, outcome, rundir, session
    from trainer.progress import say

    if not flags.FLAGS["verbosity"].present:
        # TensorFlow and TFDS narrate at the level of information; --verbosity=0 brings that back.
        logging.set_verbosity(logging.WARNING)
    try:
        if argv[1:]:
            raise ValueError(f"{argv[1]} is not a flag; write --name=value.")
        config = cli.config()
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
        training.begin(cli.as_flagfile(run_dir=str(directory.path)))
        # After the newest checkpoint was read, whose weights and bounds these are.
        say(experiment.variable_table(built))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
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


def _failed(error: Exception) -> int:
    """Prints what went wrong in one line; what nobody foresaw keeps its traceback."""
    from trainer import failures

    message = failures.described(error)
    if message is None:
        raise error
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    run()
