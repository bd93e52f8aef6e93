"""Convolutions: plain, grouped, transposed, depthwise and separable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from . import activations
from .channels import Fact
from .kind import Keep, Kind, Made, last, numpy, only, sliced
from .linear import Linear

_PADS = "it pads with zeros, so that a constant differs at the border"
_OVERLAPS = "its steps overlap unevenly, so that a constant differs from place to place"


class Convolution(Linear):
    """`Conv1D`, `Conv2D`, `Conv3D`, with groups."""

    noun = "filters"
    balance = "groups of a convolution stay equal in size"

    def setup(self, x: Fact) -> None:
        kernel = numpy(self.layer.kernel)
        places = tuple(range(kernel.ndim - 2))
        self.matrix = self._over_groups((kernel != 0).any(axis=places))
        self.sums = self._over_groups(kernel.sum(axis=places, dtype=np.float64))
        self.bias = self.constant_bias(self.layer.filters)
        self.exact = unpadded(self.layer)
        self.why = _PADS
        self.merges = self.layer.groups == 1

    def _over_groups(self, part: np.ndarray) -> np.ndarray:
        """[n / groups, m] as [n, m], with zeros between groups."""
        groups = self.layer.groups
        if groups == 1:
            return part
        rows, columns = part.shape[0], part.shape[1] // groups
        whole = np.zeros((rows * groups, part.shape[1]), dtype=part.dtype)
        for i in range(groups):
            here = slice(i * columns, (i + 1) * columns)
            whole[i * rows : (i + 1) * rows, here] = part[:, here]
        return whole

    def _groups(self, keep: Keep) -> list[tuple[np.ndarray, np.ndarray]]:
        """What stays of the inputs and of the filters, for each group that has any."""
        groups = self.layer.groups
        parts = zip(np.split(keep(self.source), groups), np.split(keep(self.target), groups), strict=True)
        return list(parts)

    def unbalanced(self, keep: Keep) -> Iterable[np.ndarray]:
        if self.layer.groups == 1 or not len(self.source):
            return
        groups = self._groups(keep)
        alive = [i for i, (inputs, filters) in enumerate(groups) if inputs.any() or filters.any()]
        for side, channels in enumerate((self.source, self.target)):
            parts = np.split(channels, self.layer.groups)
            most = max((int(groups[i][side].sum()) for i in alive), default=0)
            for i in alive:
                missing = max(most, 1) - int(groups[i][side].sum())
                if missing > 0:
                    yield parts[i][~groups[i][side]][:missing]

    def sizes(self, keep: Keep) -> dict[str, Any]:
        groups = sum(bool(filters.any()) for _, filters in self._groups(keep))
        return {"filters": int(keep(self.target).sum()), "groups": groups, "use_bias": self.with_bias(keep)}

    def arrays(self, keep: Keep) -> list[np.ndarray]:
        parts = np.split(self.merged(numpy(self.layer.kernel), -2, keep), self.layer.groups, axis=-1)
        kernels = [
            part[..., inputs, :][..., filters]
            for part, (inputs, filters) in zip(parts, self._groups(keep), strict=True)
            if filters.any()
        ]
        return [np.concatenate(kernels, axis=-1), *self.new_bias(keep)]


class Transposed(Linear):
    """`Conv1DTranspose`, `Conv2DTranspose`, `Conv3DTranspose`; kernels are [..., filters, channels]."""

    noun = "filters"

    def setup(self, x: Fact) -> None:
        kernel = numpy(self.layer.kernel)
        places = tuple(range(kernel.ndim - 2))
        self.matrix = (kernel != 0).any(axis=places).T
        self.sums = kernel.sum(axis=places, dtype=np.float64).T
        self.bias = self.constant_bias(self.layer.filters)
        self.exact = all(size == 1 for size in (*self.layer.kernel_size, *self.layer.strides))
        self.why = _OVERLAPS

    def sizes(self, keep: Keep) -> dict[str, Any]:
        return {"filters": int(keep(self.target).sum()), "use_bias": self.with_bias(keep)}

    def arrays(self, keep: Keep) -> list[np.ndarray]:
        kernel = self.merged(numpy(self.layer.kernel), -1, keep)
        places = [None] * (kernel.ndim - 2)
        return [sliced(kernel, (*places, self.target, self.source), keep), *self.new_bias(keep)]


class Separable(Linear):
    """`SeparableConv1D`, `SeparableConv2D`: a filter for each channel, then a 1x1 convolution."""

    noun = "filters"
    merges = False

    def setup(self, x: Fact) -> None:
        depthwise, pointwise = numpy(self.layer.depthwise_kernel), numpy(self.layer.pointwise_kernel)
        places = tuple(range(depthwise.ndim - 2))
        channels, multiplier = depthwise.shape[-2:]
        across = pointwise.reshape(channels, multiplier, -1).astype(np.float64)
        self._multiplier = multiplier
        self.matrix = ((depthwise != 0).any(axis=places)[..., None] & (across != 0)).any(axis=1)
        self.sums = np.einsum("cd,cdf->cf", depthwise.sum(axis=places, dtype=np.float64), across)
        self.bias = self.constant_bias(self.layer.filters)
        self.exact = unpadded(self.layer)
        self.why = _PADS

    def sizes(self, keep: Keep) -> dict[str, Any]:
        return {"filters": int(keep(self.target).sum()), "use_bias": self.with_bias(keep)}

    def arrays(self, keep: Keep) -> list[np.ndarray]:
        depthwise, pointwise = numpy(self.layer.depthwise_kernel), numpy(self.layer.pointwise_kernel)
        places = [None] * (depthwise.ndim - 2)
        between = np.repeat(self.source, self._multiplier)
        return [
            sliced(depthwise, (*places, self.source, None), keep),
            sliced(pointwise, (*places, between, self.target), keep),
            *self.new_bias(keep),
        ]


class Depthwise(Kind):
    """`DepthwiseConv1D`, `DepthwiseConv2D`: a channel goes together with the filters that read it alone."""

    noun = "filters"

    def forward(self, x: Any, *rest: Any, **options: Any) -> Made:
        channels, values = only(x, rest, options)
        last(self.layer)
        kernel = numpy(self.layer.kernel)
        places = tuple(range(kernel.ndim - 2))
        multiplier = kernel.shape[-1]
        self.read(channels)
        self.target = np.repeat(channels, multiplier)
        zero = ~(kernel != 0).any(axis=places).reshape(-1)
        usable = ~np.isnan(values) & (unpadded(self.layer) | (values == 0))
        sums = np.where(usable, values, 0.0)[:, None] * kernel.sum(axis=places, dtype=np.float64)
        bias = 0.0 if self.layer.bias is None else numpy(self.layer.bias).astype(np.float64)
        known = np.repeat(usable, multiplier) | zero
        if activations.elementwise(self.layer.activation):
            self.values = activations.applied(self.layer.activation, np.where(known, sums.reshape(-1) + bias, np.nan))
        else:
            self.values = np.full(len(known), np.nan)
            reason = f"`{self.name}`: its activation is not known to treat each channel alone"
            self.flow.pin(Fact((), self.target, self.values), reason, blocks=True)
        lost = ~np.isnan(values) & ~usable & ~zero.reshape(-1, multiplier).all(axis=1)
        self.flow.notes.append((channels[lost], f"`{self.name}`: {_PADS}"))
        return [(self.target, self.values)]

    def arrays(self, keep: Keep) -> list[np.ndarray]:
        kernel = numpy(self.layer.kernel)
        places = [None] * (kernel.ndim - 2)
        bias = [] if self.layer.bias is None else [sliced(numpy(self.layer.bias), (self.target,), keep)]
        return [sliced(kernel, (*places, self.source, None), keep), *bias]


def unpadded(layer: Any) -> bool:
    """Whether every place of the output sees the whole kernel."""
    return layer.padding == "valid" or all(size == 1 for size in layer.kernel_size)
