"""Layers and operations that take several tensors: sums, products, extremes, concatenation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from .channels import Blocked, Fact, agreed
from .kind import Kind, Made


class Merging(Kind):
    """Combines tensors channel by channel: a channel goes only together with those it is combined with."""

    # From values [n, C] to [C]; NaN where any is NaN.
    combine: Callable[[np.ndarray], np.ndarray]

    def forward(self, *args: Any, **options: Any) -> Made:
        parts = keras.tree.flatten(args)
        if not all(isinstance(part, Fact | int | float) for part in parts):
            raise Blocked("it combines a tensor with an array")
        known = [part.known[0] for part in parts if isinstance(part, Fact)]
        size = max(map(len, known))
        full = [channels for channels in known if len(channels) == size]
        for channels in full[1:]:
            self.flow.channels.join(full[0], channels)
        values = []
        for part in parts:
            own = part.known[1] if isinstance(part, Fact) else np.array([float(part)])
            if isinstance(part, Fact) and len(own) != size:
                # One channel stands for all: it stays.
                self.flow.pin(part, f"`{self.name}`: it spreads one channel over {size}", blocks=True)
            values.append(np.broadcast_to(own, (size,)))
        return [(full[0], type(self).combine(np.stack(values)))]


class Add(Merging):
    """Sum."""

    combine = staticmethod(lambda values: values.sum(axis=0))


class Subtract(Merging):
    """Difference of two."""

    combine = staticmethod(lambda values: values[0] - values[1])


class Average(Merging):
    """Mean."""

    combine = staticmethod(lambda values: values.mean(axis=0))


class Maximum(Merging):
    """Largest."""

    combine = staticmethod(lambda values: values.max(axis=0))


class Minimum(Merging):
    """Smallest."""

    combine = staticmethod(lambda values: values.min(axis=0))


class Multiply(Merging):
    """Product; zero if any factor is."""

    combine = staticmethod(lambda values: np.where((values == 0).any(axis=0), 0.0, values.prod(axis=0)))


class Concatenate(Kind):
    """`keras.layers.Concatenate`: channels side by side, or places of the same channels."""

    def forward(self, *args: Any, **options: Any) -> Made:
        facts = [x for x in keras.tree.flatten(args) if isinstance(x, Fact)]
        known = [fact.known for fact in facts]
        if self.layer.axis in (-1, len(facts[0].shape) - 1):
            return [
                (np.concatenate([channels for channels, _ in known]), np.concatenate([values for _, values in known]))
            ]
        for channels, _ in known[1:]:
            self.flow.channels.join(known[0][0], channels)
        return [(known[0][0], agreed([values for _, values in known]))]
