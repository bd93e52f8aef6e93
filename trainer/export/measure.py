"""What an export costs beside the dense model: bytes, memory, time, multiply-adds; and what it still gets right."""

from __future__ import annotations

import gzip
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..reporting.text_table import table
from . import fresh
from .formats import FORMATS
from .verify import size

HEADER = (
    *("file", "bytes", "gzipped", "peak memory", "batch 1, us", "quartiles", "batch 32, us", "quartiles"),
    "multiply-adds",
)
MEGABYTE = 1e6


def measured(name: str, path: pathlib.Path, examples: Sequence[np.ndarray]) -> dict[str, Any]:
    """Measures an exported file in a process of its own, on one thread.

    Args:
      name: its format.
      path: the file or folder.
      examples: an array for each input.

    Returns:
      `bytes`, `gzipped`, `memory` (peak of the process, its libraries included) and `latency`: for a batch of 1 and of
      32 the quartiles in seconds.

    Raises:
      fresh.ReloadError: the file cannot be run.
    """
    found = fresh.measured(FORMATS[name], path, [one[:32] for one in examples])
    return {"bytes": size(path), "gzipped": gzipped(path), **found}


def gzipped(path: pathlib.Path) -> int:
    """The bytes of a file, or of the files of a folder one behind the other, as gzip packs them."""
    counter = _Counter()
    with gzip.GzipFile(fileobj=counter, mode="wb", mtime=0) as packed:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                packed.write(file.read_bytes())
    return counter.count


class _Counter:
    """A file that counts what is written to it."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, data: bytes) -> int:
        """Counts."""
        self.count += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept that could be flushed."""


def printed(rows: Sequence[dict[str, Any]]) -> str:
    """Measurements as a table, a line for each file.

    Args:
      rows: what `measured` returns, with `file`, `scores`, and `multiply_adds`, None where they are not known.
    """
    scored = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    cells = [
        [
            row["file"],
            f"{row['bytes']:,}",
            f"{row['gzipped']:,}",
            f"{row['memory'] / MEGABYTE:,.0f} MB",
            *_latency(row["latency"]["1"]),
            *_latency(row["latency"]["32"]),
            _count(row.get("multiply_adds")),
            *(f"{row['scores'][name]:.4f}" if name in row["scores"] else "-" for name in scored),
        ]
        for row in rows
    ]
    return table([*HEADER, *scored], cells)


def _latency(quartiles: Sequence[float]) -> tuple[str, str]:
    low, median, high = (f"{1e6 * seconds:,.1f}" for seconds in quartiles)
    return median, f"{low} to {high}"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
