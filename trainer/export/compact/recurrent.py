"""Recurrent layers: SimpleRNN, LSTM, GRU, and both directions of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from . import activations
from .channels import Blocked, Fact, agreed
from .kind import Keep, Kind, Made, clone, numpy, sliced

# Gates in the order of the kernel's columns, and the one that makes the new state.
_GATES = {keras.layers.SimpleRNN: (1, 0), keras.layers.LSTM: (4, 2), keras.layers.GRU: (3, 2)}


class Recurrent(Kind):
    """`SimpleRNN`, `LSTM`, `GRU`.

    A unit whose state starts at 0 stays at 0 if its candidate is always 0: no weight of the candidate's gate leads to
    it from an input that changes or from a unit that does not stay at 0, its sum is 0, and so is the activation of 0.
    """

    def forward(self, sequences: Any, initial_state: Any = None, **options: Any) -> Made:
        channels, values = sequences.known
        gates, candidate = _GATES[type(self.layer)]
        self._check()
        cell, units = self.layer.cell, self.layer.units
        kernel = numpy(cell.kernel).reshape(-1, gates, units)
        recurrent = numpy(cell.recurrent_kernel).reshape(-1, gates, units)
        if not len(self.source):
            self.target = self.new(units)
            why = f"`{self.name}`: it has no bias to fold a constant into"
            # Without a bias a GRU would gain two rows of them for the one row of weights that goes.
            exact = cell.use_bias or type(self.layer) is not keras.layers.GRU
            self._reads = self.use(channels, self.target, (kernel != 0).any(axis=1), exact, why)
            self._recurs = self.use(self.target, self.target, (recurrent != 0).any(axis=1))
        self.read(channels)
        states = [state for state in keras.tree.flatten(initial_state) if state is not None]
        zero = np.ones(units, dtype=bool)
        for state in states:
            if not isinstance(state, Fact):
                raise Blocked("it starts from a constant state")
            self.flow.channels.join(self.target, state.known[0])
            zero &= state.known[1] == 0
        self._reads.values.append(values)
        usable = self._reads.usable(values)
        inputs, rows = kernel[:, candidate], recurrent[:, candidate]
        sums = np.where(usable, values, 0.0) @ inputs.astype(np.float64) + self._bias()[..., candidate, :].sum(axis=0)
        separate = self._bias()[..., candidate, :]
        zero &= ~(inputs[~usable] != 0).any(axis=0) & (sums == 0) & (separate[1:] == 0).all(axis=0)
        zero &= activations.applied(cell.activation, np.zeros(1))[0] == 0
        while (zero & (rows[~zero] != 0).any(axis=0)).any():
            zero &= ~(rows[~zero] != 0).any(axis=0)
        self.values = np.where(zero, 0.0, np.nan)
        self._recurs.values.append(self.values)
        number = 1 + (len(keras.tree.flatten(self.layer.cell.state_size)) if self.layer.return_state else 0)
        return [(self.target, self.values)] * number

    def _check(self) -> None:
        cell = self.layer.cell
        if self.layer.stateful:
            raise Blocked("it keeps its state between batches")
        if not all(
            activations.elementwise(getattr(cell, name, None)) for name in ("activation", "recurrent_activation")
        ):
            raise Blocked("its activation is not known to treat each channel alone")

    def _bias(self) -> np.ndarray:
        """The bias [rows, gates, units] as float64: a row for the inputs, for a GRU one more for the state."""
        gates, _ = _GATES[type(self.layer)]
        if not self.layer.cell.use_bias:
            return np.zeros((1, gates, self.layer.units))
        return numpy(self.layer.cell.bias).astype(np.float64).reshape(-1, gates, self.layer.units)

    def _folded(self, keep: Keep) -> np.ndarray:
        """What the inputs that go add to the gates [gates * units] of all units."""
        constant = self._reads.constant()
        gone = ~keep(self.source) & self._reads.usable(constant)
        return np.where(gone, constant, 0.0) @ numpy(self.layer.cell.kernel).astype(np.float64)

    def sizes(self, keep: Keep) -> dict[str, Any]:
        with_bias = self.layer.cell.use_bias or self._folded(keep).any()
        return {"units": int(keep(self.target).sum()), "use_bias": bool(with_bias)}

    def arrays(self, keep: Keep) -> list[np.ndarray]:
        cell = self.layer.cell
        gates, _ = _GATES[type(self.layer)]
        columns = np.tile(self.target, gates)
        kernel, recurrent = numpy(cell.kernel), numpy(cell.recurrent_kernel)
        new = [sliced(kernel, (self.source, columns), keep), sliced(recurrent, (self.target, columns), keep)]
        folded = self._folded(keep)
        if not cell.use_bias and not folded.any():
            return new
        rows = self._bias().reshape(-1, len(columns)).copy()
        rows[0] += folded
        bias = sliced(rows, (None, columns), keep).astype(kernel.dtype)
        return [*new, bias.reshape(*np.shape(cell.bias)[:-1], -1) if cell.use_bias else bias[0]]


class Bidirectional(Kind):
    """`keras.layers.Bidirectional` around one of the above."""

    balance = "both directions have the same number of units"

    def __init__(self, layer: Any, name: str, flow: Any) -> None:
        super().__init__(layer, name, flow)
        self._sides = [Recurrent(side, name, flow) for side in (layer.forward_layer, layer.backward_layer)]

    def forward(self, sequences: Any, initial_state: Any = None, **options: Any) -> Made:
        if any(type(side.layer) not in _GATES for side in self._sides):
            raise Blocked(f"there is no rule for {type(self.layer.forward_layer).__name__}")
        states = [state for state in keras.tree.flatten(initial_state) if state is not None]
        half = len(states) // 2
        parts = (states[:half], states[half:])
        made = [side.forward(sequences, part or None, **options) for side, part in zip(self._sides, parts, strict=True)]
        self.source = self._sides[0].source
        (forward, one), (backward, other) = made[0][0], made[1][0]
        rest = [*made[0][1:], *made[1][1:]]
        mode = self.layer.merge_mode
        if mode is None:
            return [made[0][0], made[1][0], *rest]
        if mode == "concat":
            return [(np.concatenate([forward, backward]), np.concatenate([one, other])), *rest]
        self.flow.channels.join(forward, backward)
        values = agreed([one, other]) if mode != "mul" else np.where((one == 0) | (other == 0), 0.0, np.nan)
        return [(forward, values), *rest]

    def own(self) -> list[np.ndarray]:
        return [channels for side in self._sides for channels in side.own()]

    def unbalanced(self, keep: Keep) -> Iterable[np.ndarray]:
        # Keras doubles the width of one direction where it computes the shape of both.
        targets = [side.target for side in self._sides if len(side.target)]
        if len(targets) == 2:
            most = max(int(keep(target).sum()) for target in targets)
            for target in targets:
                missing = most - int(keep(target).sum())
                if missing:
                    yield target[~keep(target)][:missing]

    def report(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        return [
            (f"units {way}", side.target, side.values)
            for way, side in zip(("forward", "backward"), self._sides, strict=True)
        ]

    def made(self, keep: Keep) -> tuple[keras.layers.Layer, list[np.ndarray]]:
        sides = [clone(side.layer, **side.sizes(keep)) for side in self._sides]
        forward, backward = (keras.saving.serialize_keras_object(side) for side in sides)
        layer = clone(self.layer, name=self.name, layer=forward, backward_layer=backward)
        return layer, [array for side in self._sides for array in side.arrays(keep)]
