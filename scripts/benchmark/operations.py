"""What the operations of a training step cost: a profile, and with it what a target that does not hold is limited by.

The profiler is TensorFlow's own. Times are those of all threads together, so that they may exceed the step.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from constraints import L1Ball, MaxNorm, NonNeg, TopK, Unconstrained
from scripts.benchmark.contests import LONG, MAXNORM
from scripts.benchmark.opponents import Floor
from trainer.reporting.text_table import table
from trainer.settings.config import Config
from trainer.settings.rule import Rule
from trainer.training import experiment

RULES = {
    "bare": Rule(Unconstrained()),
    "nonneg": Rule(NonNeg()),
    "maxnorm 2": MAXNORM,
    "maxnorm 0.5": Rule(MaxNorm(0.5)),
    "l1ball 3": Rule(L1Ball(3.0)),
    "topk 90 %": Rule(TopK(0.9)),
}
# What runs other operations, and is told by those; what waits.
_AROUND = ("ExecutorState", "while", "cond", "ThreadpoolListener", "_train", "Eager", "TFE_", "KernelAndDevice", "tf.")
_COMPILED, _ALL, _REST = "compiled by XLA", "the step", "other operations"
_SHOWN = 14
# Calls whose median is the time of a step.
_TIMED = 5

Figures = dict[str, dict[str, float]]


def measure(model: str = "mlp", steps: int = 100) -> Figures:
    """Profiles a step of a network, batch 128, under each rule.

    Returns:
      For each rule: operation -> microseconds a step, and the step itself.
    """
    figures: Figures = {}
    for name, rule in RULES.items():
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            config = dataclasses.replace(LONG, model=model, batch_size=128, rules=(rule,), run_dir=f"{folder}/run")
            figures[name] = _profiled(_chunk_of(config), steps)
            if name == "maxnorm 2":
                figures["bare loop, maxnorm 2"] = _profiled(Floor(config, jit=False).run, steps)
        keras.backend.clear_session()
    return figures


def _chunk_of(config: Config) -> Callable[[int], object]:
    """Makes some steps of a run, as a chunk of its loop does."""
    steps = experiment.build(config).steps
    return lambda count: steps.train(count, np.zeros(5), np.zeros(2, np.int64), False).totals.numpy()


def _profiled(run: Callable[[int], object], steps: int) -> dict[str, float]:
    """Microseconds a step of each operation, and of the step itself without a profiler."""
    run(steps)
    seconds = []
    for _ in range(_TIMED):
        begun = time.perf_counter()
        run(steps)
        seconds.append(time.perf_counter() - begun)
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        run(steps)
        tf.profiler.experimental.stop()
        spent = _operations(pathlib.Path(folder))
    return {name: 1e6 * total / steps for name, total in {_ALL: statistics.median(seconds), **spent}.items()}


def shown(figures: Figures) -> str:
    """The table of the costliest operations, in microseconds a step."""
    most: dict[str, float] = {}
    for spent in figures.values():
        for name, microseconds in spent.items():
            most[name] = max(most.get(name, 0.0), microseconds)
    named = sorted((name for name in most if name != _ALL), key=lambda name: -most[name])
    rows = []
    for name in (_ALL, *named[:_SHOWN]):
        rows.append([name, *(f"{spent.get(name, 0.0):.0f}" for spent in figures.values())])
    rest = [sum(spent.get(name, 0.0) for name in named[_SHOWN:]) for spent in figures.values()]
    rows.append([_REST, *(f"{microseconds:.0f}" for microseconds in rest)])
    return table(["microseconds a step", *figures], rows)


def _operations(folder: pathlib.Path) -> dict[str, float]:
    """Seconds of each operation in the profile that was written to a folder."""
    # Where TensorFlow keeps the description of what its profiler writes; there is no public name.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    seconds: dict[str, float] = collections.defaultdict(float)
    for file in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
        for plane in space.planes:
            names = {key: value.display_name or value.name for key, value in plane.event_metadata.items()}
            for line in plane.lines:
                for name, picoseconds in _outermost(line.events, names):
                    seconds[name] += 1e-12 * picoseconds
    return seconds


def _outermost(events: Iterable[Any], names: dict[int, str]) -> Iterator[tuple[str, int]]:
    """Operations of one thread, without those that run within another."""
    end = 0
    for event in sorted(events, key=lambda event: (event.offset_ps, -event.duration_ps)):
        name = names[event.metadata_id]
        if event.offset_ps < end or name.startswith(_AROUND):
            continue
        end = event.offset_ps + event.duration_ps
        yield _COMPILED if name.startswith("CpuExecutable") else name, event.duration_ps
