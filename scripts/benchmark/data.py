"""What data costs: reading images, waiting for them, the memory of a stream, and the start on an archive."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import tensorflow as tf

from scripts.benchmark.contests import row

# Sides of an image, and classes.
_SIDE, _CLASSES = 32, 10
_START = (
    "import pathlib, re, time; from trainer.runtime import quiet_import; quiet_import.import_tensorflow(); "
    "from trainer.data import dataset; dataset.MEMORY_LIMIT = {limit}; "
    "begun, used = time.perf_counter(), time.process_time(); "
)
# Decodes all images, as every run does before it trains.
_READ = _START + (
    "from trainer.data.readers import images; from trainer.data.examples import FileOptions; "
    "begun, used = time.perf_counter(), time.process_time(); images.read({path!r}, FileOptions()); "
    "took = time.perf_counter() - begun; print('measured', took, (time.process_time() - used) / took)"
)
# Not `ru_maxrss`, which a process inherits from the one that started it.
_TRAIN = _START + (
    "from trainer import main\n"
    "try: main.run(['', '--dataset={path}', '--run_dir={run}', '--overwrite', *{flags!r}])\n"
    "except SystemExit as end: assert not end.code, end.code\n"
    "peak = re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1]\n"
    "print('measured', time.perf_counter() - begun, int(peak) / 1024)"
)
# Ends with the first steps, of which there may be ten.
_FIRST = _START + (
    "from trainer import main; from trainer.engine.train_step import Steps; import os; train = Steps.train\n"
    "def first(*arguments):\n"
    "    train(*arguments)\n"
    "    print('measured', time.perf_counter() - begun, time.process_time() - used, flush=True)\n"
    "    os._exit(0)\n"
    "Steps.train = first\n"
    "main.run(['', '--dataset={path}', '--run_dir={run}', '--overwrite', '--constraint=maxnorm', '--max_value=2'])"
)
_DISK = "listing the files and tracing, which take one core"
_SCHEDULING = "training and decoding share the same cores"
_LISTS = "the names of the files"
_LOADS = "what is imported, and tracing the step"


def measure(folder: pathlib.Path, quick: bool) -> dict[str, float]:
    """Figures by name; data sets and runs are kept in `folder`."""
    sizes = (1_000, 4_000) if quick else (10_000, 40_000)
    steps = 100 if quick else 600
    small, large = (_images(folder / f"images-{size}", size) for size in sizes)
    figures: dict[str, float] = {}
    took, cores = _measured(_READ.format(limit=2**30, path=str(large)))
    figures |= {"images decoded, per second": sizes[1] / took, "cores busy with decoding": cores}
    train = [
        "--model=convnet",
        "--batch_size=64",
        f"--train_steps={steps}",
        f"--eval_every={steps}",
        "--test_split=0.1",
    ]
    for name, path, limit in (
        ("in memory", large, 2**30),
        ("streamed", large, 0),
        ("streamed, a quarter of them", small, 0),
    ):
        run = folder / "run"
        code = _TRAIN.format(limit=limit, path=path, run=run, flags=train)
        figures[f"peak memory, {name}, MiB"] = _measured(code)[1]
        share = json.loads((run / "certificate.json").read_text()).get("waiting_share", 0.0)
        figures[f"waiting, {name}, %"] = 100 * share
    rng = np.random.default_rng(0)
    parts: dict[str, Any] = {
        f"{kind}_{part}": rng.integers(0, most, (size, *shape), np.uint8)
        for part, size in (("train", 60_000), ("test", 10_000))
        for kind, most, shape in (("x", 256, (28, 28)), ("y", _CLASSES, ()))
    }
    np.savez_compressed(folder / "mnist.npz", **parts)
    code = _FIRST.format(limit=2**30, path=folder / "mnist.npz", run=folder / "run")
    figures["first step on an archive of the size of MNIST, s"] = _measured(code)[0]
    return figures


def targets(figures: dict[str, float]) -> list[list[str]]:
    """Rows: target, measured, whether it holds."""
    memory = figures["peak memory, streamed, MiB"] / figures["peak memory, streamed, a quarter of them, MiB"]
    start = figures["first step on an archive of the size of MNIST, s"]
    return [
        row(
            "cores busy with decoding", ">=", 0.9 * (os.cpu_count() or 1), [figures["cores busy with decoding"]], _DISK
        ),
        row("share of waiting for streamed images, %", "<=", 5, [figures["waiting, streamed, %"]], _SCHEDULING),
        row("memory for four times as many streamed images, times", "<=", 1.1, [memory], _LISTS),
        row("first step on an archive of the size of MNIST, s", "<=", 3, [start], _LOADS),
    ]


def _images(folder: pathlib.Path, size: int) -> pathlib.Path:
    """Writes PNG images by class. Noise takes longest to decode."""
    rng = np.random.default_rng(0)
    for number in range(_CLASSES):
        (folder / str(number)).mkdir(parents=True)
    for number, pixels in enumerate(rng.integers(0, 256, (size, _SIDE, _SIDE, 3), np.uint8)):
        path = folder / str(number % _CLASSES) / f"{number}.png"
        path.write_bytes(tf.io.encode_png(pixels).numpy())
    return folder


def _measured(code: str) -> tuple[float, float]:
    """The two numbers that a process of its own prints last."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    first, second = done.stdout.rsplit("measured ", 1)[1].split()
    return float(first), float(second)
