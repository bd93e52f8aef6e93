"""Writes the table of docs/concepts/groups.md: what each grouping makes of the weights of each Keras layer.

python -m scripts.groups_table            # prints the table
python -m scripts.groups_table --write    # puts it into the page
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from constraints import REGISTRY
from constraints.sets._matrix import MatrixSet
from trainer.rules import layer_groups, matching
from trainer.rules.target import Target
from trainer.settings.rule import Rule
from trainer.settings.timeline import Timeline

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "concepts" / "groups.md"
BEGIN, END = "<!-- table: python -m scripts.groups_table --write -->", "<!-- end of table -->"
GROUPINGS = ("unit", "tensor", "element", "row", "head", "gate")

layers = keras.layers
# How to make each layer, and the shape of its input without the batch axis.
LAYERS: dict[str, tuple[Callable[[], keras.layers.Layer], tuple[int, ...]]] = {
    "Dense": (lambda: layers.Dense(3), (4,)),
    "Dense in TimeDistributed": (lambda: layers.TimeDistributed(layers.Dense(3)), (3, 4)),
    "Dense in SpectralNormalization": (lambda: layers.SpectralNormalization(layers.Dense(3)), (4,)),
    "EinsumDense abc,cd->abd": (lambda: layers.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d"), (3, 4)),
    "EinsumDense ...x,xy->...y": (lambda: layers.EinsumDense("...x,xy->...y", (3,), bias_axes="y"), (4,)),
    "EinsumDense abc,bcd->ad": (lambda: layers.EinsumDense("abc,bcd->ad", (5,), bias_axes="d"), (2, 3)),
    "EinsumDense abc,bcd->abd": (lambda: layers.EinsumDense("abc,bcd->abd", (2, 4), bias_axes="bd"), (2, 3)),
    "EinsumDense abc,dbc->abd": (lambda: layers.EinsumDense("abc,dbc->abd", (2, 4), bias_axes="bd"), (2, 3)),
    "EinsumDense abc,cde->abed": (lambda: layers.EinsumDense("abc,cde->abed", (None, 2, 3), bias_axes="ed"), (2, 4)),
    "EinsumDense abc,cde->abde, bias d": (
        lambda: layers.EinsumDense("abc,cde->abde", (None, 3, 2), bias_axes="d"),
        (2, 4),
    ),
    "EinsumDense abc,cd->adb, bias db": (lambda: layers.EinsumDense("abc,cd->adb", (3, 2), bias_axes="db"), (2, 4)),
    "Embedding": (lambda: layers.Embedding(6, 4), (2,)),
    "Embedding in TimeDistributed": (lambda: layers.TimeDistributed(layers.Embedding(6, 4)), (2, 3)),
    "Conv1D": (lambda: layers.Conv1D(3, 3), (5, 4)),
    "Conv1D, 2 groups": (lambda: layers.Conv1D(6, 2, groups=2), (4, 4)),
    "Conv2D": (lambda: layers.Conv2D(3, 2), (3, 3, 4)),
    "Conv2D, 2 groups": (lambda: layers.Conv2D(6, 2, groups=2), (3, 3, 4)),
    "Conv3D": (lambda: layers.Conv3D(2, 2), (3, 3, 3, 2)),
    "Conv3D, 2 groups": (lambda: layers.Conv3D(4, 2, groups=2), (3, 3, 3, 4)),
    "Conv1DTranspose": (lambda: layers.Conv1DTranspose(3, 3), (4, 4)),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(3, 2), (3, 3, 4)),
    "Conv3DTranspose": (lambda: layers.Conv3DTranspose(3, 2), (2, 2, 2, 2)),
    "DepthwiseConv1D": (lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), (5, 3)),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(2, depth_multiplier=2), (3, 3, 3)),
    "SeparableConv1D": (lambda: layers.SeparableConv1D(3, 2), (4, 3)),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(4, 2, depth_multiplier=2), (3, 3, 2)),
    "SimpleRNN": (lambda: layers.SimpleRNN(3), (2, 4)),
    "LSTM": (lambda: layers.LSTM(3), (2, 4)),
    "GRU": (lambda: layers.GRU(3), (2, 4)),
    "GRU, reset before": (lambda: layers.GRU(3, reset_after=False), (2, 4)),
    "LSTM in Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(2)), (2, 3)),
    "ConvLSTM1D": (lambda: layers.ConvLSTM1D(2, 2, padding="same"), (2, 3, 2)),
    "ConvLSTM2D": (lambda: layers.ConvLSTM2D(2, 1), (2, 2, 2, 3)),
    "MultiHeadAttention": (lambda: layers.MultiHeadAttention(2, 3, value_dim=2), (3, 4)),
    "GroupQueryAttention": (lambda: layers.GroupQueryAttention(3, 4, 2), (3, 5)),
    "BatchNormalization": (lambda: layers.BatchNormalization(), (4,)),
    "LayerNormalization over two axes": (lambda: layers.LayerNormalization(axis=(1, 2)), (2, 4)),
    "GroupNormalization": (lambda: layers.GroupNormalization(2), (4,)),
    "RMSNormalization": (lambda: layers.RMSNormalization(), (4,)),
    "PReLU": (lambda: layers.PReLU(), (2, 4)),
}


def network(name: str) -> keras.Model:
    """A model of one layer of the catalogue."""
    make, shape = LAYERS[name]
    inputs = keras.Input(shape, dtype="int32" if "Embedding" in name else "float32")
    layer = make()
    attends = isinstance(layer, (layers.MultiHeadAttention, layers.GroupQueryAttention))
    return keras.Model(inputs, layer(inputs, inputs) if attends else layer(inputs))


def target(model: keras.Model, path: str, constraint: str = "maxnorm", **settings: Any) -> Target:
    """What a rule on one variable makes of it.

    Raises:
      ValueError: the rule is refused.
    """
    kind: Any = REGISTRY[constraint]
    rule = Rule(kind(n=1, m=2) if constraint == "nm" else kind(), path, **settings)
    (found,) = matching.match([rule], model, Timeline(10, 10))
    return found


def members(found: Target) -> np.ndarray:
    """The numbers of the weights of each group, counted through the target's variables.

    Returns:
      [size, groups], and of a set of units [matrices, size, units].
    """
    sizes = np.cumsum([0, *(np.prod(variable.shape, dtype=int) for variable in found.variables)])
    numbers = [
        tf.reshape(tf.range(first, last, dtype=tf.float64), variable.shape)
        for first, last, variable in zip(sizes, sizes[1:], found.variables, strict=False)
    ]
    joined = found.packing.pack(numbers)
    return found.constraint._layout(joined.shape, None).columns(joined).numpy().astype(int)


def _cell(model: keras.Model, path: str, constraint: str = "maxnorm", **settings: Any) -> str:
    try:
        found = target(model, path, constraint, **settings)
    except ValueError:
        return "-"
    if isinstance(found.constraint, MatrixSet):
        count, size, units = members(found).shape
        return f"{count} of {size}x{units}"
    if constraint == "nm":
        constraint_there = found.constraint.for_layout(found.constraint._layout(found.weights().shape, None))
        run = constraint_there.rows[1]
        return f"{found.size // run} of {run}"
    size, count = members(found).shape
    return f"{count} of {size}"


def rows_of(name: str) -> list[str]:
    """The lines of one layer, in Markdown."""
    model = network(name)
    rows = {}
    for _, variable in layer_groups.owners(model):
        path = variable.path
        weight = "/".join(path.split("/")[-2:]) if "Attention" in name else variable.name
        if weight in rows:
            continue  # The other direction of a bidirectional layer.
        cells = [_cell(model, path, group=grouping) for grouping in GROUPINGS]
        cells += [_cell(model, path, with_bias=True), _cell(model, path, "spectral"), _cell(model, path, "nm")]
        rows[weight] = _line([name, weight, "x".join(map(str, variable.shape)), *cells])
    return list(rows.values())


def table() -> str:
    """The table in Markdown."""
    header = ["layer", "weight", "shape", *GROUPINGS, "with bias", "matrices", "windows of `nm`"]
    lines = [_line(header), _line(["---"] * len(header)), *(line for name in LAYERS for line in rows_of(name))]
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def written(text: str) -> str:
    """A page with the table in its place."""
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(written(PAGE.read_text()))
    else:
        print(table(), end="")
