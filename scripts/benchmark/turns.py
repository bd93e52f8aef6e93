"""Times calls in turns, so that noise of the machine falls on all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def quartiles(calls: Mapping[str, Callable[[], Any]], rounds: int, seconds: float = 0.02) -> dict[str, list[float]]:
    """The lower quartile, the median and the upper quartile of the time of each call, in microseconds.

    Args:
      calls: by name; each is made twice before anything is timed.
      rounds: in each, every call has its turn.
      seconds: about how long a turn takes; a time is the mean over the calls of a turn.
    """
    repeats = {}
    for name, call in calls.items():
        call()
        begun = time.perf_counter()
        call()
        repeats[name] = max(1, round(seconds / (time.perf_counter() - begun)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    gc.disable()
    for _ in range(rounds):
        for name, call in calls.items():
            begun = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            times[name].append(1e6 * (time.perf_counter() - begun) / repeats[name])
    gc.enable()
    return {name: np.quantile(one, [0.25, 0.5, 0.75]).tolist() for name, one in times.items()}


def shown(microseconds: list[float], unit: float = 1.0) -> str:
    """The median with its quartiles."""
    low, median, high = (one / unit for one in microseconds)
    digits = 0 if median >= 100 else 1 if median >= 10 else 2
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
