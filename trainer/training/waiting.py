"""How much of the training time went by in waiting for data."""

from __future__ import annotations

import pathlib

from ..data.source import Source
from ..engine.train_step import Steps
from ..storage import files, run_directory


class Waiting:
    """The share of training time for which training waited for data, since the last look and in all.

    A batch is asked for as soon as the gradients of the step before are known. What is left of that step counts as
    waiting too if the batch comes late.

    Args:
      steps: compiled training; what it did before counts for nothing.
      source: where its batches come from.
    """

    def __init__(self, steps: Steps, source: Source):
        self._steps = steps
        self._source = source
        self._begun = self._looked = self._now()

    def lately(self) -> float:
        """The share since the last call; 0 where the data is in memory."""
        before, self._looked = self._looked, self._now()
        return _share(before, self._looked) or 0.0

    def in_all(self, directory: pathlib.Path | None) -> float | None:
        """The share of all steps of this process, to four digits.

        Args:
          directory: the run directory, or None.

        Returns:
          The share. If this process made no step, what an earlier certificate in the directory says; None: it says
          nothing.
        """
        share = _share(self._begun, self._now())
        if share is not None:
            return round(share, 4)
        try:
            return None if directory is None else files.document(directory / run_directory.CERTIFICATE)["waiting_share"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _now(self) -> tuple[float, float]:
        return self._source.waited, self._steps.seconds


def _share(before: tuple[float, float], after: tuple[float, float]) -> float | None:
    waited, took = (late - early for early, late in zip(before, after, strict=True))
    return min(waited / took, 1.0) if took else None
