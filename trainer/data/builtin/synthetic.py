"""Random examples around one mean per class, for benchmarks: any shape, any number, nothing to prepare."""

from __future__ import annotations

import math

import numpy as np


def generate(
    input_shape: tuple[int, ...], num_classes: int, sizes: tuple[int, ...], seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draws splits of a classification problem that a linear model can learn.

    Each class has a mean drawn from N(0, s^2) and examples around it with noise N(0, 1); s is at least 1/2, and larger
    where the dimension is so small that the means would lie close together. Classes are as equal in number as possible.

    Args:
        input_shape: shape of one example.
        num_classes: number of classes.
        sizes: number of examples of each split; the splits share the means and nothing else.
        seed: the same seed gives the same numbers.

    Returns:
        For each size n: float32 features [n, *input_shape] and int32 labels [n].
    """
    rng = np.random.default_rng(seed)
    spread = max(0.5, 4 / math.sqrt(math.prod(input_shape)))
    means = spread * rng.standard_normal((num_classes, *input_shape), dtype=np.float32)
    splits = []
    for size in sizes:
        labels = rng.permutation(np.arange(size, dtype=np.int32) % num_classes)
        features = rng.standard_normal((size, *input_shape), dtype=np.float32)
        features += means[labels]
        splits.append((features, labels))
    return splits
