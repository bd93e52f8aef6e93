"""What only a process of its own can tell: how soon the first step is made, and how much memory a run takes."""

from __future__ import annotations

import concurrent.futures
import pathlib
import statistics
import subprocess
import sys
import time

from scripts.benchmark.contests import row
from trainer.data import dataset

_STEP = (
    "from trainer import main; main.run(['', '--constraint=maxnorm', '--max_value=2', '--train_steps=1', "
    "'--eval_every=100%', '--run_dir={folder}/run', '--overwrite'])"
)
_DATA = (
    "from trainer.runtime import quiet_import; quiet_import.import_tensorflow(); "
    "from trainer.data import dataset; dataset.load('digits')"
)
# Not `ru_maxrss`, which a process inherits from the one that started it.
_MEMORY = (
    "import pathlib, re; from scripts.benchmark.contests import LONG; "
    "from scripts.benchmark.opponents import Fit, Ours; {who}.run(500); "
    "print('peak', re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])"
)
_STEPS = (
    "import dataclasses; from scripts.benchmark.contests import LONG; from scripts.benchmark.opponents import Ours; "
    "ours = Ours(dataclasses.replace(LONG, model={model!r}, batch_size=128, deterministic={deterministic})); "
    "ours.run({steps}); print('took', ours.run({steps}))"
)
# What stands in the way of targets that do not hold.
_TRACES = "building the network and tracing its step, which comes on top of what is imported"
_LOADS = "what summaries and checkpoints load, of which fit has none here"
# Steps that take about a second.
_MODELS = {"mlp": 500, "convnet": 100, "lstm": 50}


def determinism(rounds: int) -> dict[str, float]:
    """How many times as long a step takes in a deterministic process, for a few models: medians over rounds."""
    ratios = {}
    for model, steps in _MODELS.items():
        times = []
        for _ in range(rounds):
            both = (_run(_STEPS.format(model=model, deterministic=d, steps=steps)) for d in (True, False))
            with_it, without = (float(output.rsplit("took ", 1)[1]) for output in both)
            times.append(with_it / without)
        ratios[f"deterministic step, {model}, times"] = statistics.median(times)
    return ratios


def measure(folder: pathlib.Path, quick: bool) -> dict[str, float]:
    """Seconds and MiB, medians over five rounds, or of one to be quick; runs are kept in `folder`."""
    dataset.load("digits")  # Prepares it, which is done once.
    timed = {"import and data, s": _DATA, "whole run of one step, s": _STEP.format(folder=folder)}
    if not quick:
        timed = {"import tensorflow, s": "import tensorflow"} | timed
    rounds = range(1 if quick else 5)
    seconds = [{name: _seconds(code) for name, code in timed.items()} for _ in rounds]
    figures = {name: statistics.median(each[name] for each in seconds) for name in timed}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # Memory does not depend on who else is busy.
        peaks = {
            name: [pool.submit(_peak, who) for _ in rounds]
            for name, who in (("peak memory, MiB", "Ours(LONG)"), ("peak memory of fit, MiB", "Fit(LONG, 1, False)"))
        }
        return figures | {name: statistics.median(one.result() for one in each) for name, each in peaks.items()}


def targets(figures: dict[str, float]) -> list[list[str]]:
    """Rows: target, measured, whether it holds."""
    start = figures["whole run of one step, s"] / figures["import and data, s"]
    memory = figures["peak memory, MiB"] / figures["peak memory of fit, MiB"]
    return [
        row("whole run of one step, to importing TensorFlow and loading the data", "<=", 1.5, [start], _TRACES),
        row("peak memory, to that of fit", "<=", 1.1, [memory], _LOADS),
    ]


def _seconds(code: str) -> float:
    begun = time.perf_counter()
    _run(code)
    return time.perf_counter() - begun


def _peak(who: str) -> float:
    return float(_run(_MEMORY.format(who=who)).rsplit("peak ", 1)[1]) / 1024


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
