"""Where a benchmark is to leave its figures: looked at before the first of its minutes, not after the last."""

from __future__ import annotations

import argparse
import importlib.util
import os
import pathlib


def add(parser: argparse.ArgumentParser, drawn: str) -> None:
    """Adds `--json` and `--plot`; `drawn` says what the plot shows."""
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    parser.add_argument("--plot", type=pathlib.Path, help=f"also draw {drawn}, as PNG (needs the extra `plots`)")


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Ends the program where one of them could not be written, or nothing could be drawn."""
    for flag in ("json", "plot"):
        path: pathlib.Path | None = getattr(arguments, flag)
        if path is None:
            continue
        if path.is_dir():
            parser.error(f"--{flag}={path} is a folder; give the name of a file in it")
        if not path.parent.is_dir():
            parser.error(f"--{flag}={path}: there is no folder {path.parent}; make it first, or choose another")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            parser.error(f"--{flag}={path} cannot be written; choose another")
    if arguments.plot is not None and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib; install it with: pip install -e '.[plots]'")
