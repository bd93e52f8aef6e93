"""What blocks of zeros are worth in a TFLite file: 1024-1024-1024-16, 90 % zeros in blocks of 16 inputs of a unit."""

from __future__ import annotations

import contextlib
import io
import pathlib
from functools import partial
from typing import Any

import keras
import numpy as np

from constraints import Block
from scripts.benchmark import turns
from scripts.benchmark.contests import row
from trainer import Rule, Trainer
from trainer.export.formats import tflite
from trainer.export.plain import plain
from trainer.reporting.text_table import table

UNITS = (1024, 1024, 16)
# Files by name, with what `tflite.write` takes.
FILES: dict[str, dict[str, Any]] = {
    "dense": {},
    "sparse": {"sparse": True},
    "int8, sparse": {"sparse": True, "kind": "int8"},
}
_MEMORY = "how fast the machine reads the weights of the dense file"

Figures = dict[str, dict[str, Any]]


def trained() -> tuple[keras.Model, np.ndarray]:
    """The network after some steps under its rule, and the examples."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x = random.standard_normal((512, 1024)).astype(np.float32)
    y = random.integers(0, UNITS[-1], 512)
    hidden = [keras.layers.Dense(units, activation="relu") for units in UNITS[:-1]]
    model = keras.Sequential([keras.Input([1024]), *hidden, keras.layers.Dense(UNITS[-1])])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # A kernel is [inputs, units], so that a block of 16 rows is 1x16 in TFLite, which has units first.
    trainer = Trainer(model, Rule(Block(0.9, block=(16, 1))), optimizer="adam", loss=loss)
    trainer.fit(x, y, epochs=2, batch_size=32, verbose=0)
    certificate = trainer.certify()
    assert certificate["feasible"], certificate
    return plain(trainer.model), x


def written(folder: pathlib.Path) -> tuple[dict[str, pathlib.Path], np.ndarray]:
    """Writes the files; returns their paths and the examples."""
    model, x = trained()
    paths = {name: folder / f"{number}.tflite" for number, name in enumerate(FILES)}
    for name, options in FILES.items():
        # The converter prints a page about each file.
        with contextlib.redirect_stdout(io.StringIO()):
            tflite.write(model, str(paths[name]), representative=[x[:256]], **options)
    return paths, x


def measure(folder: pathlib.Path, quick: bool) -> Figures:
    """Size and latency at batch 1 of each file, one thread, in turns."""
    paths, x = written(folder)
    predictors = {name: tflite.predictor(str(path), threads=1) for name, path in paths.items()}
    calls = {name: partial(predict, [x[:1]]) for name, predict in predictors.items()}
    latency = turns.quartiles(calls, rounds=11 if quick else 101, seconds=0.01)
    return {name: {"bytes": path.stat().st_size, "latency": latency[name]} for name, path in paths.items()}


def shown(figures: Figures) -> str:
    """A line for each file."""
    dense = figures["dense"]
    rows = [
        [
            name,
            f"{one['bytes']:,}",
            f"{dense['bytes'] / one['bytes']:.1f}",
            turns.shown(one["latency"]),
            f"{dense['latency'][1] / one['latency'][1]:.1f}",
        ]
        for name, one in figures.items()
    ]
    return table(["file", "bytes", "times smaller", "batch 1, us", "times faster"], rows)


def targets(figures: Figures) -> list[list[str]]:
    """Rows: target, measured, whether it holds."""
    dense, sparse, int8 = (figures[name] for name in FILES)
    return [
        row("a sparse TFLite file, times smaller", ">=", 9, [dense["bytes"] / sparse["bytes"]], "the positions"),
        row("a sparse TFLite file, times faster", ">=", 2, [dense["latency"][1] / sparse["latency"][1]], _MEMORY),
        row("a sparse TFLite file in int8, times smaller", ">=", 30, [dense["bytes"] / int8["bytes"]], "the positions"),
    ]
