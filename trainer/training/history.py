"""What each epoch came to, kept with the run so that a continued one knows all of them."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping

from ..reporting.quantities import number
from ..storage import files


class History:
    """One record an epoch: its step, and the numbers of training and validation by their Keras names.

    Args:
      path: the file they are kept in; None: they are not.
    """

    def __init__(self, path: pathlib.Path | None):
        self._path = path
        self._records: list[dict[str, float | None]] = []

    def rewind(self, step: int) -> None:
        """Reads what an earlier session kept, up to a step; records that cannot be read are lost, and nothing else."""
        records = self._records
        if self._path is not None:
            try:
                records = files.document(self._path)["epochs"]
                self._records = [record for record in records if record["step"] <= step]
                return
            except (OSError, ValueError, KeyError, TypeError):
                records = []
        self._records = [record for record in records if (record["step"] or 0) <= step]

    def add(self, step: int, logs: Mapping[str, float]) -> None:
        """Adds an epoch that ended at a step."""
        self._records.append({"step": step, **{name: number(value) for name, value in logs.items()}})
        if self._path is not None:
            files.write_atomically(self._path, json.dumps({"epochs": self._records}, indent=1) + "\n")

    def columns(self) -> dict[str, list[float]]:
        """The numbers by name, as Keras's `History.history` has them; NaN where an epoch has none."""
        names = dict.fromkeys(name for record in self._records for name in record if name != "step")
        missing = float("nan")
        return {
            name: [missing if record.get(name) is None else record[name] for record in self._records]  # type: ignore[misc]
            for name in names
        }

    @property
    def steps(self) -> list[int]:
        """The step at which each epoch ended."""
        return [int(record["step"] or 0) for record in self._records]
