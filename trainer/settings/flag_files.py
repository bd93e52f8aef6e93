"""Flag files: a flag a line, blank lines and comments (`#`, `//`) between; a file may include others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from . import user_files

# Files in all: twenty that each include the next one twice would be a million.
MOST_FILES = 100

_KIND = "a file with a flag a line"


def expand(arguments: Iterable[str]) -> list[str]:
    """Puts the flags of each `--flagfile` in its place; of two flags of a name the later one wins.

    Args:
      arguments: the command line, without the program's name.

    Raises:
      ValueError: a file that cannot be read, holds something else than flags, or includes itself.
    """
    return list(_expanded(iter(arguments), (), []))


def _expanded(arguments: Iterator[str], inside: tuple[str, ...], opened: list[str]) -> Iterator[str]:
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if argument == "--":
            yield argument
            yield from arguments
        elif name in ("--flagfile", "-flagfile"):
            yield from _flags_of((path if equals else next(arguments, "")).strip(), inside, opened)
        else:
            yield argument


def _flags_of(path: str, inside: tuple[str, ...], opened: list[str]) -> Iterator[str]:
    if not path:
        raise ValueError(f"--flagfile is empty; give the path of {_KIND}.")
    text = user_files.read_text(path, "--flagfile", _KIND)
    real = os.path.realpath(os.path.expanduser(path))
    if real in inside:
        raise ValueError(f"--flagfile={user_files.shown(path)} includes itself; remove the --flagfile line that does.")
    opened.append(real)
    if len(opened) > MOST_FILES:
        raise ValueError(f"--flagfile={user_files.shown(path)} is one of more than {MOST_FILES} files; include fewer.")
    flags = []
    for number, line in enumerate(text.split("\n"), start=1):
        flag = line.strip()
        if not flag or flag.startswith(("#", "//")):
            continue
        if not flag.startswith("-"):
            raise ValueError(
                f"--flagfile={user_files.shown(path)}, line {number}: {user_files.shown(flag)!r} is not a flag; "
                "write --name=value."
            )
        flags.append(flag)
    yield from _expanded(iter(flags), (*inside, real), opened)
