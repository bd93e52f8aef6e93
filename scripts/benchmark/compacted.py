"""What `compact` makes of networks that were trained under `unitsparse`: size, multiply-adds and latency."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

import models
from constraints import Mask, UnitSparse
from scripts.benchmark import turns
from scripts.benchmark.contests import row
from trainer import Rule, Trainer
from trainer.export.compact import compact
from trainer.export.formats.keras_file import function_of
from trainer.export.verify import distance
from trainer.reporting.text_table import table

SHARES = (0.5, 0.75)
CLASSES = 10
BATCHES = (1, 32)
# Steps of training, which give batch normalisation its statistics and every weight another value.
STEPS = 12
# Layers of `resnet` whose filters an addition joins: for each stage, those with the first word or the second.
_JOINED = {1: r"conv|stage_1_block_\d+_conv_2", **{n: rf"stage_{n}_block_(\d+_conv_2|1_shortcut)" for n in (2, 3)}}

Figures = dict[str, dict[str, Any]]


def cases(quick: bool) -> dict[str, Callable[[], tuple[keras.Model, list[Rule], int]]]:
    """By name what makes a network, its rules, and the side of its images."""
    depth, alpha, side = (8, 0.25, 32) if quick else (20, 1.0, 64)

    def resnet(share: float, joined: bool) -> tuple[keras.Model, list[Rule], int]:
        model = models.REGISTRY["resnet"]((32, 32, 3), CLASSES, depth=depth)
        if not joined:
            return model, [Rule(UnitSparse(share), variables=["*conv*/kernel", "*shortcut/kernel"])], 32
        members = zero_together(model, share)
        inside = Rule(UnitSparse(share), variables="*_conv_1/kernel")
        return model, [inside, Rule(Mask(), variables=[f"{name}/kernel" for name in members])], 32

    def mobilenet(share: float) -> tuple[keras.Model, list[Rule], int]:
        shape = (side, side, 3)
        model = keras.applications.MobileNet(input_shape=shape, alpha=alpha, weights=None, classes=CLASSES)
        return model, [Rule(UnitSparse(share), variables=["conv1/kernel", "conv_pw_*/kernel"])], side

    made: dict[str, Callable[[], tuple[keras.Model, list[Rule], int]]] = {}
    for share in SHARES[:1] if quick else SHARES:
        made[f"resnet, {share:.0%}"] = partial(resnet, share, False)
        made[f"resnet, {share:.0%}, joined"] = partial(resnet, share, True)
        made[f"MobileNet, {share:.0%}"] = partial(mobilenet, share)
    return made


def zero_together(model: keras.Model, share: float) -> list[str]:
    """Sets filters of `resnet` to zero that an addition joins, in all its branches; returns the layers.

    Of the filters of a stage those go whose weights, over all layers, have the smallest norm.
    """
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    names = []
    for pattern in _JOINED.values():
        members = [layer for layer in convolutions if re.fullmatch(pattern, layer.name)]
        squares = sum(np.sum(layer.kernel.numpy() ** 2, axis=(0, 1, 2)) for layer in members)
        least = np.argsort(squares)[: round(share * len(squares))]
        for layer in members:
            kernel = layer.kernel.numpy()
            kernel[..., least] = 0
            layer.kernel.assign(kernel)
            names.append(layer.name)
    return names


def measure(quick: bool, only: str = "", tell: Callable[[str], None] = print) -> Figures:
    """Trains, compacts and times each case whose name holds `only`; raises AssertionError where outputs differ."""
    figures: Figures = {}
    for name, make in cases(quick).items():
        if only in name:
            keras.backend.clear_session()
            figures[name] = _measured(make, rounds=5 if quick else 31)
            tell(f"{name}: {figures[name]['difference']:.1e} between outputs")
    return figures


def _measured(make: Callable[[], tuple[keras.Model, list[Rule], int]], rounds: int) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    model, rules, side = make()
    x, y = _images(side, 32 * STEPS)
    logits = model.layers[-1].get_config()["activation"] == "linear"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    trainer = Trainer(model, rules, optimizer="adam", loss=loss)
    trainer.fit(x, y, epochs=1, batch_size=32, verbose=0)
    certificate = trainer.certify()
    assert certificate["feasible"], certificate
    found = compact(trainer.model)
    before, after = function_of(trainer.model), function_of(found.model)
    difference = distance(after([x[:64]]), before([x[:64]]))
    assert difference <= 1e-5, difference
    calls = {"before": before, "after": after}
    latency = {
        str(size): turns.quartiles({name: partial(call, [x[:size]]) for name, call in calls.items()}, rounds)
        for size in BATCHES
    }
    return {
        "parameters": [found.parameters_before, found.parameters_after],
        "multiply_adds": [found.multiply_adds_before, found.multiply_adds_after],
        "difference": difference,
        "latency": latency,
        "kept": sum(one.number for one in found.kept if one.noun == "filters"),
    }


def _images(side: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise around a pattern for each class."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, number)
    patterns = random.standard_normal((CLASSES, side, side, 3))
    return (patterns[labels] + random.standard_normal((number, side, side, 3))).astype(np.float32), labels


def shown(figures: Figures) -> str:
    """A line for each network and share."""
    header = ["network and share", "parameters", "multiply-adds", "batch 1, ms", "batch 32, ms", "outputs", "kept"]
    rows = [
        [
            name,
            *(f"{before:,} -> {after:,}" for before, after in (one["parameters"], one["multiply_adds"])),
            *(
                " -> ".join(turns.shown(one["latency"][str(size)][when], 1e3) for when in ("before", "after"))
                for size in BATCHES
            ),
            f"{one['difference']:.0e}",
            f"{one['kept']}",
        ]
        for name, one in figures.items()
    ]
    return table(header, rows)


def targets(figures: Figures) -> list[list[str]]:
    """Rows: target, measured, whether it holds."""
    worst = max(one["difference"] for one in figures.values())
    return [row("outputs of compacted networks off by, millionths of the largest", "<=", 10, [1e6 * worst], "rounding")]
