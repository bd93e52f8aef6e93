"""How the programs of the project begin, and how they refuse a command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from . import quiet_import, signals

# Exit code of a mistake in the command.
MISTAKE = 2


def start(main: Callable[[Sequence[str]], int], argv: Sequence[str] | None) -> NoReturn:
    """Runs a program, which a signal ends without a traceback.

    Args:
      main: takes the command line without the program's name, and returns the exit code.
      argv: the program's name and the command line; None for that of the process.

    Raises:
      SystemExit: always, with the exit code.
    """
    quiet_import.complete_streams()
    signals.leave_when_asked()
    sys.exit(main((sys.argv if argv is None else argv)[1:]))


class Parser(argparse.ArgumentParser):
    """Raises ValueError for a wrong command line, which the program then refuses in one sentence."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message[:1].lower()}{message[1:]}; --help lists all flags.")
