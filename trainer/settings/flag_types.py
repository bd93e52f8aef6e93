"""The types of flags: what a text stands for, and what to write in place of one that stands for nothing."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import Any

from absl import flags

from . import user_files
from .checks import suggestion


class Whole(flags.IntegerParser):
    """A whole number."""

    def convert(self, argument: Any) -> int:
        try:
            return super().convert(argument)
        except ValueError:
            raise ValueError(f"is not a whole number; {_remedy(argument, '100', whole=True)}") from None


class Number(flags.FloatParser):
    """A number, with a point as the decimal sign."""

    def convert(self, argument: Any) -> float:
        try:
            return super().convert(argument)
        except ValueError:
            raise ValueError(f"is not a number; {_remedy(argument, '0.5', whole=False)}") from None


class Wholes(flags.ListParser):
    """Whole numbers with commas between, as a tuple."""

    def parse(self, argument: Any) -> tuple[Any, ...]:
        try:
            return tuple(int(part) for part in super().parse(argument))
        except ValueError:
            raise ValueError("is not a list of whole numbers such as 300,100") from None


class Numbers(flags.ListParser):
    """Numbers with commas between, as a tuple."""

    def parse(self, argument: Any) -> tuple[Any, ...]:
        try:
            return tuple(float(part) for part in super().parse(argument))
        except ValueError:
            raise ValueError("is not a list of numbers such as 4,2,1") from None


class Words(flags.ListParser):
    """Texts with commas between, as a tuple."""

    def parse(self, argument: Any) -> tuple[Any, ...]:
        parts = tuple(super().parse(argument))
        if not all(parts):
            raise ValueError("has an empty part; write names with commas between")
        return parts


class Truth(flags.BooleanParser):
    """True or false."""

    def parse(self, argument: Any) -> bool:
        try:
            return super().parse(argument)
        except ValueError:
            raise ValueError("is not true or false; write the flag alone, or `no` before its name") from None


# Kinds that are no type of Python have a parser of their own.
_PARSERS = {int: Whole, float: Number, list: flags.ListParser, str: flags.ArgumentParser, tuple: Wholes}


def define(name: str, kind: type, default: Any, text: str, flag_values: flags.FlagValues, module: str) -> None:
    """Defines a flag.

    Args:
      name: its name.
      kind: the type of its value (a tuple is one of whole numbers), or a parser.
      default: its value where it is not given.
      text: what `--help` says.
      flag_values: where it is defined.
      module: the module that it is filed under.
    """
    if kind is bool:
        flag = flags.BooleanFlag(name, default, text)
        flag.parser = Truth()
    else:
        flag = flags.Flag(_PARSERS.get(kind, kind)(), flags.ArgumentSerializer(), name, default, text)
    flags.DEFINE_flag(flag, flag_values, module_name=module)


def told(error: flags.Error, known: Iterable[str]) -> str:
    """What absl found, in one sentence with the way out.

    Args:
      error: what parsing raised.
      known: the names of all flags.
    """
    if isinstance(error, flags.UnrecognizedFlagError):
        hint = suggestion(error.flagname.removeprefix("no"), sorted(known), "--").rstrip() or "--help lists all flags."
        return f"--{user_files.shown(error.flagname)} is not a flag; {hint}"
    # "Missing value for flag --seed.", "flag --seed=x: is not a whole number; ...".
    _, missing, flag = str(error).partition("Missing value for flag ")
    if missing:
        return f"{flag.rstrip('.')} has no value; write it behind `=`."
    message = str(error).removeprefix("flag ").replace(": is not", " is not", 1)
    return f"{message.rstrip('.')}."


def _remedy(text: str, example: str, whole: bool) -> str:
    """What to write in place of a text that is no number."""
    for pattern, meant in ((r"(.+)%", "for a share"), (r"-?\d+,\d+", "with a point as the decimal sign")):
        if not whole and len(text) < 20 and (found := re.fullmatch(pattern, text)):
            with contextlib.suppress(ValueError):
                number = float(found[1]) / 100 if found.lastindex else float(text.replace(",", "."))
                return f"write {number:g}, {meant}"
    with contextlib.suppress(ValueError, OverflowError):
        if whole and float(text).is_integer() and abs(float(text)) < 1e12:
            return f"write {int(float(text))}"
    return f"write one such as {example}"
