"""What is known of every channel of a model, and which channels the outputs need.

Forward: the value of a channel that has one value for every input and at every place. Backward: a channel is needed if
a layer reads it through a weight that is not zero, for a channel that is needed itself, and cannot fold its value into
a bias. What is not needed goes. Channels that can only go together (an addition's, a flattened image's) are one set.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from .channels import Blocked, Channels, Fact, agreed
from .graph import Call, Graph, Tensor


@dataclasses.dataclass(eq=False)
class Use:
    """How a layer reads the channels of its input.

    Attributes:
      source, target: [n] channels that are read, [m] channels that are made of them.
      matrix: [n, m], whether a weight that is not zero leads from one to the other.
      exact: [n] or one for all, whether a constant that is not zero can be folded into a bias.
      why: the reason where it cannot.
      merges: whether weights [n] of one constant that cannot be folded may be added to those of another one.
      values: for each call of the layer, the values [n] of what is read.
      framed: the same of values inside a frame of zeros.
    """

    source: np.ndarray
    target: np.ndarray
    matrix: np.ndarray
    exact: bool | np.ndarray = True
    why: str = ""
    merges: bool = False
    values: list[np.ndarray] = dataclasses.field(default_factory=list)
    framed: list[np.ndarray] = dataclasses.field(default_factory=list)

    def usable(self, values: np.ndarray) -> np.ndarray:
        """Whether what a channel adds to the layer's sums is a constant."""
        return ~np.isnan(values) & (self.exact | (values == 0))

    def constant(self) -> np.ndarray:
        """The values [n] that all calls agree on, else NaN."""
        return agreed(self.values)

    def multiples(self) -> np.ndarray:
        """Factors [n] by which a channel is a multiple of every other such channel, at every place; else 0."""
        constant = self.constant()
        factors = agreed(self.framed) if self.framed and np.isnan(constant[constant != 0]).all() else constant
        return np.where(np.isnan(factors) | self.usable(constant) | (not self.merges), 0.0, factors)


@dataclasses.dataclass(eq=False)
class Pin:
    """Channels that stay, and why. `blocks`: because of a layer that cannot be followed."""

    channels: np.ndarray
    values: np.ndarray
    reason: str
    blocks: bool


class Flow:
    """Runs `kinds` over a graph; afterwards `keep` says of any channels whether they stay."""

    def __init__(self, graph: Graph, kind_of: Callable[[Any, str, Flow], Any]) -> None:
        self.graph = graph
        self.channels = Channels()
        self.uses: list[Use] = []
        self.pins: list[Pin] = []
        self.notes: list[tuple[np.ndarray, str]] = []
        self.kinds: dict[int, Any] = {}
        self.blocked: dict[int, str] = {}
        self.tied = graph.tied()
        # What blocking layers would read if they could be followed; only to tell what they block.
        self._through: list[Use] = []
        self._kind_of = kind_of
        self._facts: dict[Tensor, Fact] = {}
        for tensor, _ in graph.inputs:
            self._facts[tensor] = self._opaque(tensor.shape, "an input of the model")
        for call in graph.calls:
            self._run(call)
        for tensor in graph.outputs():
            self.pin(self._facts[tensor], "an output of the model")
        self._roots = self.channels.roots()
        self._ideal, _ = self._needed(blocks=False)
        self._kept, self._stays = self._needed(blocks=True)

    def pin(self, fact: Fact, reason: str, *, blocks: bool = False) -> None:
        """Keeps all channels of a tensor."""
        if fact.channels is not None and fact.values is not None:
            self.pins.append(Pin(fact.channels, fact.values, reason, blocks))

    def keep(self, channels: np.ndarray) -> np.ndarray:
        """Whether each of the channels stays."""
        return self._kept[self._roots[channels]]

    def reasons(self, channels: np.ndarray, values: np.ndarray) -> dict[str, int]:
        """Why channels of a layer stay that are constant, or that nothing but a blocking layer reads.

        Args:
          channels, values: what the layer makes.

        Returns:
          For each reason the number of channels.
        """
        roots = self._roots[channels]
        found: dict[str, int] = {}
        for root, value in zip(roots, values, strict=True):
            if not self._kept[root]:
                continue
            reason = self._reasons.get(root)
            if reason is None and not np.isnan(value):
                reason = "other layers need the channel that it is joined with"
            if reason is not None:
                found[reason] = found.get(reason, 0) + 1
        return found

    @functools.cached_property
    def _reasons(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for pin in [*self.pins, *self._stays]:
            roots = self._roots[pin.channels]
            for root in roots[~np.isnan(pin.values) | (pin.blocks & ~self._ideal[roots])]:
                found.setdefault(int(root), pin.reason)
        for use in self.uses:
            read = use.matrix[:, self.keep(use.target)].any(axis=1)
            constant = use.constant()
            for root in self._roots[use.source[read & ~np.isnan(constant) & ~use.usable(constant)]]:
                found.setdefault(int(root), use.why)
        for channels, reason in self.notes:
            for root in self._roots[channels]:
                found.setdefault(int(root), reason)
        return found

    def _run(self, call: Call) -> None:
        kind = self.kinds.get(id(call.operation))
        if kind is None:
            name = self.graph.names[id(call.operation)]
            kind = self.kinds[id(call.operation)] = self._kind_of(call.operation, name, self)
        facts = [self._facts[tensor] for tensor in call.tensors()]

        def mapped(structure: Any) -> Any:
            return keras.tree.map_structure(lambda x: self._facts[x] if isinstance(x, Tensor) else x, structure)

        args, kwargs = mapped(call.args), mapped(call.kwargs)
        for fact in masks(kwargs):
            self.pin(fact, "a mask", blocks=True)
        try:
            if kwargs.get("training") or any(arg is True for arg in args):
                raise Blocked("it is called with training=True")
            made = kind.forward(*args, **kwargs)
            for tensor, known in zip(call.outputs, made, strict=True):
                self._facts[tensor] = Fact(tensor.shape, *known)
        except Blocked as blocked:
            reason = f"`{kind.name}`: {blocked}"
            self.blocked[id(call.operation)] = str(blocked)
            own = [Fact((), channels, np.full(len(channels), np.nan)) for channels in kind.own()]
            for fact in [*facts, *own]:
                self.pin(fact, reason, blocks=True)
            for tensor in call.outputs:
                made_of = self._facts[tensor] = self._opaque(tensor.shape, reason, blocks=True)
                self._through += [_through(fact, made_of, kind.aligned) for fact in facts]

    def _opaque(self, shape: tuple[int | None, ...], reason: str, *, blocks: bool = False) -> Fact:
        """A tensor of which nothing is known; its channels stay."""
        size = shape[-1] if len(shape) > 1 else None
        channels = None if size is None else self.channels.new(size)
        fact = Fact(shape, channels, None if size is None else np.full(size, np.nan))
        self.pin(fact, reason, blocks=blocks)
        return fact

    def _needed(self, *, blocks: bool) -> tuple[np.ndarray, list[Pin]]:
        """By root, whether it is needed; and what stays though nothing needs it, so that no layer is empty."""
        needed = np.zeros(len(self._roots), dtype=bool)
        for pin in self.pins:
            if blocks or not pin.blocks:
                needed[self._roots[pin.channels]] = True
        stays: list[Pin] = []

        def stay(channels: np.ndarray, reason: str) -> None:
            needed[self._roots[channels]] = True
            stays.append(Pin(channels, np.zeros(len(channels)), reason, blocks=False))

        tensors = [fact.channels for fact in self._facts.values() if fact.channels is not None]
        axes = [*tensors, *(own for kind in self.kinds.values() for own in kind.own())]
        while True:
            self._spread(needed, self.uses if blocks else [*self.uses, *self._through])
            before = len(stays)
            for channels in axes:
                if len(channels) and not needed[self._roots[channels]].any():
                    stay(channels[:1], "a layer has at least one unit")
            for kind in self.kinds.values():
                for channels in kind.unbalanced(lambda some: needed[self._roots[some]]):
                    stay(channels, kind.balance)
            if len(stays) == before:
                return needed, stays

    def _spread(self, needed: np.ndarray, uses: list[Use]) -> None:
        """Marks what is read for what is needed, until nothing is added."""
        changed = True
        while changed:
            changed = False
            for use in reversed(uses):
                source = self._roots[use.source]
                rows = use.matrix[:, needed[self._roots[use.target]]].any(axis=1) & ~use.usable(use.constant())
                multiples = use.multiples()
                same = multiples != 0
                if (rows & same).any() and not needed[source[same]].any():
                    # One constant stays for all: the largest, so that the others are its fractions.
                    one = int(np.argmax(np.where(rows, np.abs(multiples), 0.0)))
                    needed[source[one]] = changed = True
                rows &= ~same
                if not needed[source[rows]].all():
                    needed[source[rows]] = True
                    changed = True


def masks(kwargs: Mapping[str, Any]) -> list[Fact]:
    """The masks among a layer's arguments."""
    flat = keras.tree.flatten([value for key, value in kwargs.items() if key.endswith("mask")])
    return [fact for fact in flat if isinstance(fact, Fact)]


def _through(read: Fact, made: Fact, aligned: bool) -> Use:
    """A way through a layer that cannot be followed; `aligned` layers need a channel mostly for the same one."""
    nothing = np.zeros(0, dtype=np.int64)
    source = nothing if read.channels is None else read.channels
    target = nothing if made.channels is None else made.channels
    if aligned and len(source) == len(target):
        matrix = np.eye(len(source), dtype=bool)
    else:
        matrix = np.broadcast_to(True, (len(source), len(target)))
    return Use(source, target, matrix, values=[np.full(len(source), np.nan)])
