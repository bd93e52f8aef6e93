"""Layers that hand on every channel alone: activations, normalisation by statistics, dropout, pooling, padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import activations
from .channels import Blocked
from .kind import Keep, Kind, Made, last, numpy, only, sliced


class Same(Kind):
    """What changes no constant in inference: dropout, noise, pooling, cropping, repeating.

    Average pooling with padding counts only the places inside, so that a constant stays one.
    """

    def forward(self, x: Any, *rest: Any, **options: Any) -> Made:
        channels, values = only(x, rest, options)
        last(self.layer)
        return [(channels, self.value(channels, values))]

    def value(self, channels: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What becomes of the values [C]; NaN stays."""
        return values


class Function(Same):
    """An activation without weights; its layer or operation maps numbers to numbers."""

    def value(self, channels: np.ndarray, values: np.ndarray) -> np.ndarray:
        return activations.applied(self.layer.call, values)


class Activation(Same):
    """`keras.layers.Activation`."""

    def value(self, channels: np.ndarray, values: np.ndarray) -> np.ndarray:
        if not activations.elementwise(self.layer.activation):
            raise Blocked("its activation is not known to treat each channel alone")
        return activations.applied(self.layer.activation, values)


class Rescaling(Same):
    """`keras.layers.Rescaling` by one number."""

    def value(self, channels: np.ndarray, values: np.ndarray) -> np.ndarray:
        if np.ndim(self.layer.scale) or np.ndim(self.layer.offset):
            raise Blocked("it has a scale for each channel in its configuration")
        return values * self.layer.scale + self.layer.offset


class ZeroPadding(Same):
    """`ZeroPadding1D`, `ZeroPadding2D`, `ZeroPadding3D`."""

    def forward(self, x: Any, *rest: Any, **options: Any) -> Made:
        ((channels, values),) = super().forward(x, *rest, **options)
        if not np.any(self.layer.padding):
            return [(channels, values)]
        lost = ~np.isnan(values) & (values != 0)
        self.flow.notes.append((channels[lost], f"`{self.name}`: it puts zeros around a constant"))
        return [(channels, np.where(lost, np.nan, values), np.where(lost, values, np.nan))]


class PReLU(Same):
    """`keras.layers.PReLU`: a slope for each channel, or for each place of it."""

    def value(self, channels: np.ndarray, values: np.ndarray) -> np.ndarray:
        self.read(channels)
        self.target = channels
        slopes = numpy(self.layer.alpha).astype(np.float64)
        rows = np.broadcast_to(slopes, (*slopes.shape[:-1], len(channels))).reshape(-1, len(channels))
        below = np.where((rows == rows[0]).all(axis=0), rows[0], np.nan)
        with np.errstate(invalid="ignore"):
            self.values = np.where(values < 0, below * values, values)
        return self.values

    def arrays(self, keep: Keep) -> list[np.ndarray]:
        slopes = numpy(self.layer.alpha)
        if slopes.shape[-1] != len(self.target):
            return [slopes]
        return [sliced(slopes, (*[None] * (slopes.ndim - 1), self.target), keep)]


class BatchNormalization(Kind):
    """`keras.layers.BatchNormalization` in inference: gamma * (x - mean) / sqrt(variance + epsilon) + beta."""

    noun = "channels"

    def forward(self, x: Any, *rest: Any, **options: Any) -> Made:
        channels, values = only(x, rest, options)
        if self.layer.axis not in (-1, len(x.shape) - 1):
            raise Blocked("it does not normalise along the last axis")
        self.read(channels)
        self.target = channels
        mean = numpy(self.layer.moving_mean).astype(np.float64)
        variance = numpy(self.layer.moving_variance).astype(np.float64)
        gamma = numpy(self.layer.gamma).astype(np.float64) if self.layer.scale else np.ones(len(mean))
        beta = numpy(self.layer.beta).astype(np.float64) if self.layer.center else np.zeros(len(mean))
        scale = gamma / np.sqrt(variance + self.layer.epsilon)
        self.values = np.where(gamma == 0, beta, scale * (values - mean) + beta)
        return [(channels, self.values)]

    def arrays(self, keep: Keep) -> list[np.ndarray]:
        return [sliced(numpy(weight), (self.target,), keep) for weight in self.layer.weights]
