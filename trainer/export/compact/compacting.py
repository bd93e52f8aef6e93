"""Removes what a model computes for nothing."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from . import graph as graphs
from .flow import Flow
from .kind import Kind, copied
from .multiply_adds import multiply_adds
from .rules import kind_of


@dataclasses.dataclass(frozen=True)
class Removed:
    """What a layer lost: of `before` units, filters, heads, ... it has `after`."""

    layer: str
    noun: str
    before: int
    after: int


@dataclasses.dataclass(frozen=True)
class Kept:
    """What a layer keeps although it is constant or is read by nothing but what `reason` names.

    A layer without a rule keeps all its units; `number` is 0 where it owns none.
    """

    layer: str
    noun: str
    number: int
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class Compacted:
    """A model without what it computed for nothing.

    Attributes:
      model: a functional model with the inputs and outputs of the one before.
      removed: what each layer lost, in the order of the layers.
      kept: what cannot be removed, and why.
      parameters_before, parameters_after: numbers of weights.
      multiply_adds_before, multiply_adds_after: as `multiply_adds` counts them, for one example.
    """

    model: keras.Model
    removed: tuple[Removed, ...]
    kept: tuple[Kept, ...]
    parameters_before: int
    parameters_after: int
    multiply_adds_before: int
    multiply_adds_after: int


def compact(model: keras.Model) -> Compacted:
    """Removes units, filters and heads that add nothing to the outputs, or only a constant, which biases take over.

    A channel goes if all weights that read it are exactly 0, or if it has one value whatever the input is and the
    layers that read it can add that value's part to their biases. Outputs in inference stay equal up to rounding,
    provided that weights and activations are finite. The model itself is not changed; the new one is not compiled. A
    layer that there is no rule for keeps its inputs and outputs. Both models share such a layer unless it is Keras's.

    Args:
      model: functional or Sequential; models inside are expanded.

    Returns:
      The smaller model and what became of each layer. Dtype policies and names are kept.

    Raises:
      TypeError: the model is of a subclass with its own `call`, so that its layers cannot be listed.
      ValueError: the model is not built, or two layers of one name would meet that cannot be made again.

    References:
      Li et al., "Pruning filters for efficient ConvNets", 2017.
    """
    graph = graphs.flatten(model)
    smaller: keras.Model | None = None
    widths: dict[tuple[str, str], tuple[int, int]] = {}
    while True:
        flow = Flow(graph, kind_of)
        lost = False
        for kind, (noun, channels, _) in _reported(flow):
            after = int(flow.keep(channels).sum())
            lost |= after < len(channels)
            old, _ = widths.get((kind.name, noun), (len(channels), 0))
            widths[kind.name, noun] = (old, after)
        if smaller is None or lost:
            smaller = _made(graph, flow)
        if not lost:
            break
        graph = graphs.flatten(smaller)
    return Compacted(
        smaller,
        tuple(Removed(layer, noun, old, new) for (layer, noun), (old, new) in widths.items() if new < old),
        _kept(flow),
        model.count_params(),
        smaller.count_params(),
        multiply_adds(model),
        multiply_adds(smaller),
    )


def _made(graph: graphs.Graph, flow: Flow) -> keras.Model:
    made: dict[int, keras.layers.Layer] = {}
    weights: list[tuple[keras.layers.Layer, list[np.ndarray]]] = []
    for layer in graph.layers():
        key, arrays = id(layer), layer.get_weights()
        if key not in flow.blocked:
            made[key], arrays = flow.kinds[key].made(flow.keep)
        elif key not in flow.tied and (new := copied(layer, graph.names[key])):
            made[key] = new
        if key in made:
            weights.append((made[key], arrays))
    smaller = graphs.rebuild(graph, made)
    for layer, arrays in weights:
        layer.set_weights(arrays)
    return smaller


def _reported(flow: Flow) -> list[tuple[Kind, tuple[str, np.ndarray, np.ndarray]]]:
    kinds = [(key, kind) for key, kind in flow.kinds.items() if key not in flow.blocked]
    return [(kind, line) for _, kind in kinds for line in kind.report()]


def _kept(flow: Flow) -> tuple[Kept, ...]:
    kept = [
        Kept(kind.name, noun, number, reason)
        for kind, (noun, channels, values) in _reported(flow)
        for reason, number in flow.reasons(channels, values).items()
    ]
    return (*kept, *(Kept(flow.kinds[key].name, "units", 0, reason) for key, reason in flow.blocked.items()))
