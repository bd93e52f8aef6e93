"""Small folders of images and texts, as a user has them."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

ENCODERS = {
    ".png": tf.io.encode_png,
    ".jpg": tf.io.encode_jpeg,
}


def pixels(number: int, shape: Sequence[int] = (4, 6, 3)) -> np.ndarray:
    """An image of its own for each number."""
    return np.random.default_rng(number).integers(0, 256, shape, np.uint8)


def bitmap(image: np.ndarray) -> bytes:
    """A BMP file of an RGB image, rows from below, each filled up to four bytes."""
    height, width, _ = image.shape
    rows = np.zeros((height, -(-3 * width // 4) * 4), np.uint8)
    rows[:, : 3 * width] = image[::-1, :, ::-1].reshape(height, -1)
    numbers = [54 + rows.size, 0, 54, 40, width, height]
    header = b"BM" + b"".join(number.to_bytes(4, "little") for number in numbers)
    return header + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24) + rows.tobytes()


def write_image(path: pathlib.Path, image: np.ndarray) -> pathlib.Path:
    """Writes an image in the format that its name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bitmap(image) if path.suffix == ".bmp" else ENCODERS[path.suffix](image).numpy())
    return path


def images(
    root: pathlib.Path, classes: Mapping[str, int] | None = None, shape: Sequence[int] = (4, 6, 3)
) -> pathlib.Path:
    """Writes so many PNG images of each class: `root/CLASS/0.png` and so on, no two alike."""
    number = 0
    for name, count in (classes or {"cat": 3, "dog": 2}).items():
        for place in range(count):
            write_image(root / name / f"{place}.png", pixels(number, shape))
            number += 1
    return root


def texts(root: pathlib.Path, classes: Mapping[str, Sequence[str]] | None = None) -> pathlib.Path:
    """Writes the texts of each class: `root/CLASS/0.txt` and so on."""
    for name, contents in (classes or {"bad": ["a dull film", "Dull!"], "good": ["a fine film"]}).items():
        for place, content in enumerate(contents):
            path = root / name / f"{place}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    return root
