"""Small files of every kind that a run reads, as a user has them; and such that no run should read."""

from __future__ import annotations

import pathlib
import random

import numpy as np

from tests.support import media

WORDS = {"trade": ("stock", "bank", "money"), "sport": ("ball", "goal", "team"), "science": ("cell", "gene", "atom")}


def archive(folder: pathlib.Path, name: str = "numbers.npz", examples: int = 90, **changes: np.ndarray) -> pathlib.Path:
    """Three classes of rows of five numbers."""
    rng = np.random.default_rng(0)
    labels = np.arange(examples) % 3
    features = rng.standard_normal((examples, 5)).astype(np.float32) + 2 * labels[:, None]
    np.savez(folder / name, **{"x_train": features, "y_train": labels, **changes})
    return folder / name


def table(folder: pathlib.Path, name: str = "prices.csv", rows: int = 90) -> pathlib.Path:
    """Prices that follow from a number and a word, with some sizes missing."""
    draw = random.Random(0)
    lines = ["size,kind,price"]
    for _ in range(rows):
        size, kind = draw.uniform(1, 9), draw.choice("abc")
        price = 3 * size + 5 * "abc".index(kind) + draw.gauss(0, 0.5)
        lines.append(f"{'' if draw.random() < 0.1 else format(size, '.3f')},{kind},{price:.3f}")
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def images(folder: pathlib.Path, name: str = "pictures", examples: int = 60) -> pathlib.Path:
    """Two classes of 8x8 images in colour: dark ones and bright ones."""
    rng = np.random.default_rng(0)
    for number in range(examples):
        image = rng.integers(0, 128, (8, 8, 3), np.uint8) + np.uint8(100 * (number % 2))
        media.write_image(folder / name / ("dark", "bright")[number % 2] / f"{number}.png", image)
    return folder / name


def texts(folder: pathlib.Path, name: str = "articles", examples: int = 90) -> pathlib.Path:
    """Three classes of texts by their words, of two to nine words."""
    draw = random.Random(0)
    classes = {
        kind: [" ".join(draw.choices([*words, "the", "a"], k=draw.randint(2, 9))) for _ in range(examples // 3)]
        for kind, words in WORDS.items()
    }
    return media.texts(folder / name, classes)
