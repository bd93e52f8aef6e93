"""Layers that add up their channels: Dense, EinsumDense, convolutions; and Embedding, which looks channels up."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import activations
from .channels import Blocked, Fact
from .kind import Keep, Kind, Made, last, numpy, only, plain, sliced


class Linear(Kind):
    """A kernel, a bias and an activation.

    Subclasses set in `setup`:
      sums: [n, m] what a constant 1 in a channel adds to each unit, summed over all places that a unit sees.
      matrix: [n, m] whether any weight between the two is not zero.
      bias: [m] float64, NaN where a unit has several that differ.
      exact, why: whether a constant adds the same at every place; the reason where it does not.
      merges: whether the weights of one constant channel may be added to those of another.
    """

    sums: np.ndarray
    matrix: np.ndarray
    bias: np.ndarray
    exact: bool = True
    why: str = ""
    merges: bool = True

    def setup(self, x: Fact) -> None:
        """Reads the weights."""
        raise NotImplementedError

    def forward(self, x: Any, *rest: Any, **options: Any) -> Made:
        channels, values = only(x, rest, options)
        last(self.layer)
        plain(self.layer)
        if not len(self.source):
            self.setup(x)
            self.target = self.new(self.matrix.shape[1])
            why = f"`{self.name}`: {self.why}"
            self._use = self.use(channels, self.target, self.matrix, self.exact, why, self.merges)
        self.read(channels)
        self._use.values.append(values)
        self._use.framed.append(np.full(len(values), np.nan) if x.framed is None else x.framed)
        self.values = self._constant(values)
        return [(self.target, self.values)]

    def _constant(self, values: np.ndarray) -> np.ndarray:
        activation = self.layer.activation
        if not activations.elementwise(activation):
            nothing = np.full(len(self.target), np.nan)
            reason = f"`{self.name}`: its activation is not known to treat each channel alone"
            self.flow.pin(Fact((), self.target, nothing), reason, blocks=True)
            return nothing
        usable = self._use.usable(values)
        live = self.matrix[~usable].any(axis=0)
        sums = self._added(np.where(usable, values, 0.0)) + self.bias
        return activations.applied(activation, np.where(live, np.nan, sums))

    def _added(self, values: np.ndarray) -> np.ndarray:
        """What constant channels [n] add to the units [m]."""
        rows = np.flatnonzero(values)
        return values[rows] @ self.sums[rows].astype(np.float64)

    def folded(self, keep: Keep) -> np.ndarray:
        """What the channels that go add to the units that stay."""
        constant = self._use.constant()
        gone = ~keep(self.source) & self._use.usable(constant)
        return self._added(np.where(gone, constant, 0.0))[keep(self.target)]

    def merged(self, kernel: np.ndarray, axis: int, keep: Keep) -> np.ndarray:
        """The kernel with the weights of constant channels that go added to those of one that stays."""
        multiples, kept = self._use.multiples(), keep(self.source)
        if not multiples[kept].any() or not multiples[~kept].any():
            return kernel
        one = int(np.argmax(np.where(kept, np.abs(multiples), 0.0)))
        shares = np.where(kept, 0.0, multiples / multiples[one])
        shares[one] = 1.0
        moved = np.moveaxis(kernel.copy(), axis, 0)
        moved[one] = np.tensordot(shares, moved.astype(np.float64), 1)
        return np.moveaxis(moved, 0, axis)

    def with_bias(self, keep: Keep) -> bool:
        """Whether the new layer has a bias: it had one, or something is folded into it."""
        return bool(getattr(self.layer, "use_bias", True) or self.folded(keep).any())

    def new_bias(self, keep: Keep) -> list[np.ndarray]:
        """The bias of the new layer, in a list; an empty list if it has none."""
        if not self.with_bias(keep):
            return []
        dtype = numpy(self.layer.weights[0]).dtype
        if self.layer.bias is None:
            return [self.folded(keep).astype(dtype)]
        bias = np.compress(keep(self.target), numpy(self.layer.bias), axis=-1)
        return [(bias.astype(np.float64) + self.folded(keep)).astype(dtype)]

    def constant_bias(self, units: int) -> np.ndarray:
        """The bias as [m] float64."""
        return np.zeros(units) if self.layer.bias is None else numpy(self.layer.bias).astype(np.float64)


class Dense(Linear):
    """`keras.layers.Dense`."""

    def setup(self, x: Fact) -> None:
        self.sums = numpy(self.layer.kernel)
        self.matrix = self.sums != 0
        self.bias = self.constant_bias(self.layer.units)

    def sizes(self, keep: Keep) -> dict[str, Any]:
        return {"units": int(keep(self.target).sum()), "use_bias": self.with_bias(keep)}

    def arrays(self, keep: Keep) -> list[np.ndarray]:
        return [sliced(numpy(self.layer.kernel), (self.source, self.target), keep), *self.new_bias(keep)]


class EinsumDense(Linear):
    """`keras.layers.EinsumDense` whose last input axis is summed and whose last output axis comes from the kernel."""

    def setup(self, x: Fact) -> None:
        left, output = self.layer.equation.replace("...", "").split("->")
        read, letters = left.split(",")
        if read[-1] not in letters or read[-1] in output or output[-1] not in letters or output[-1] in read:
            raise Blocked(f"its equation {self.layer.equation} does not sum the last axis into a new last axis")
        kernel = numpy(self.layer.kernel)
        axes = letters.index(read[-1]), letters.index(output[-1])
        others = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
        turned = axes[0] > axes[1]
        self._axes = axes
        self.matrix = (kernel != 0).any(axis=others)
        self.sums = kernel.sum(axis=others, dtype=np.float64)
        if turned:
            self.matrix, self.sums = self.matrix.T, self.sums.T
        bias_axes = self.layer.bias_axes or ""
        # A letter of kernel and output gives every place a sum of its own, which one bias cannot hold.
        places = set(letters) & set(output[:-1])
        self.exact = not places and output[-1] in (bias_axes or output[-1])
        self.why = f"its equation {self.layer.equation} has no bias for each channel alone"
        self._letter = output[-1]
        units = self.matrix.shape[1]
        if self.layer.bias is None:
            self.bias = np.zeros(units)
        else:
            rows = numpy(self.layer.bias).astype(np.float64)
            rows = np.broadcast_to(rows, (*rows.shape[:-1], units)).reshape(-1, units)
            self.bias = np.where((rows == rows[0]).all(axis=0), rows[0], np.nan)
        self._shared = output[-1] not in bias_axes

    def sizes(self, keep: Keep) -> dict[str, Any]:
        shape = self.layer.get_config()["output_shape"]
        units = int(keep(self.target).sum())
        added = {"bias_axes": self._letter} if self.layer.bias is None and self.folded(keep).any() else {}
        return {"output_shape": (*shape[:-1], units) if isinstance(shape, list | tuple) else units, **added}

    def with_bias(self, keep: Keep) -> bool:
        return self.layer.bias is not None or bool(self.folded(keep).any())

    def arrays(self, keep: Keep) -> list[np.ndarray]:
        axes: list[np.ndarray | None] = [None] * numpy(self.layer.kernel).ndim
        axes[self._axes[0]], axes[self._axes[1]] = self.source, self.target
        kernel = sliced(self.merged(numpy(self.layer.kernel), self._axes[0], keep), axes, keep)
        if self.layer.bias is not None and self._shared:
            return [kernel, numpy(self.layer.bias)]
        return [kernel, *self.new_bias(keep)]


class Embedding(Kind):
    """`keras.layers.Embedding`: a channel is a column of the table."""

    noun = "columns"

    def forward(self, x: Any, *rest: Any, **options: Any) -> Made:
        plain(self.layer)
        table = numpy(self.layer.embeddings)
        self.flow.pin(x, f"`{self.name}`: it reads them as token ids", blocks=True)
        if not len(self.target):
            self.target = self.new(table.shape[1])
        self.values = np.where((table == table[0]).all(axis=0), table[0].astype(np.float64), np.nan)
        return [(self.target, self.values)]

    def sizes(self, keep: Keep) -> dict[str, Any]:
        return {"output_dim": int(keep(self.target).sum())}

    def arrays(self, keep: Keep) -> list[np.ndarray]:
        return [sliced(numpy(self.layer.embeddings), (None, self.target), keep)]
