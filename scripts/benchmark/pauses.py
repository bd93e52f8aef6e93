"""How long training waits for a checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import statistics
from collections.abc import Callable

from scripts.benchmark.contests import LONG, row
from scripts.benchmark.opponents import Ours
from trainer.reporting.text_table import table

# Steps between two saves here, for about half a second; and as many as a share is taken of.
_MODELS = {"mlp": 300, "convnet": 30, "lstm": 50, "resnet": 3, "transformer": 10}
_STEPS = 1000
_LIMIT = "looking at all values and handing them to the system"

Figures = dict[str, dict[str, float]]


def measure(quick: bool, tell: Callable[[str], None]) -> Figures:
    """How long training waits for a checkpoint, next to a step: for each model, in milliseconds."""
    figures: Figures = {}
    for model, steps in _MODELS.items():
        if quick and model != "mlp":
            continue
        steps = min(steps, 100) if quick else steps
        with contextlib.redirect_stdout(io.StringIO()):
            config = dataclasses.replace(LONG, model=model, batch_size=128, checkpoint_every=str(steps))
            ours = Ours(config)
            ours.run(2 * steps)
            ours.pauses.clear()
            # The last one of a run waits for the disk as well.
            step, waited = ours.run((4 if quick else 8) * steps), ours.pauses[:-1]
            ours.close()
        low, middle, high = statistics.quantiles(waited, n=4, method="inclusive")
        times = {"pause": middle, "quartile_1": low, "quartile_3": high, "step": step}
        figures[model] = {name: 1e3 * seconds for name, seconds in times.items()}
    rows = [
        [model, f"{f['pause']:.1f}", f"{f['quartile_1']:.1f}-{f['quartile_3']:.1f}", f"{f['step']:.2f}"]
        for model, f in figures.items()
    ]
    tell("\nwaiting for a checkpoint, batch 128\n" + table(["", "ms", "quartiles", "ms a step"], rows))
    return figures


def targets(figures: Figures) -> list[list[str]]:
    """What was asked of checkpoints: that one every 1 000 steps is no more to be noticed than summaries."""
    rows = []
    for model, f in figures.items():
        shares = [100.0 * f[name] / (_STEPS * f["step"]) for name in ("quartile_1", "pause", "quartile_3")]
        what = f"{model}, batch 128: waiting for a checkpoint, percent of the {_STEPS} steps between two"
        rows.append(row(what, "<=", 2.0, shares, _LIMIT))
    return rows
