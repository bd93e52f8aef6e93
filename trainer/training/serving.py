"""Wraps a trained network so that it takes raw examples and gives answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from ..data import preprocessing
from ..data import task as tasks
from ..data.parts import Dataset, Split
from ..data.preprocessing import input_of


@dataclasses.dataclass(frozen=True)
class Serving:
    """The preprocessing before a network, and what makes answers of its outputs.

    Attributes:
      preprocessing: raw examples -> features; None: the network takes raw examples.
      activation: what makes answers of the network's outputs, such as softmax of logits; "linear": they are answers.
      scale: what each output is multiplied by; () for 1.
      offset: what is then added to it; () for 0.
    """

    preprocessing: keras.Model | None = None
    activation: str = "linear"
    scale: Sequence[float] = ()
    offset: Sequence[float] = ()

    def around(self, network: keras.Model) -> keras.Model:
        """The network between its preprocessing and its answers; the network itself where there is neither."""
        scaled = bool(self.scale) or bool(self.offset)
        if self.preprocessing is None and self.activation == "linear" and not scaled:
            return network
        # A dictionary of columns has names, which a list would lose.
        inputs = input_of(network if self.preprocessing is None else self.preprocessing)
        outputs = network(inputs if self.preprocessing is None else self.preprocessing(inputs))
        if self.activation != "linear":
            outputs = keras.layers.Activation(self.activation, dtype="float32", name="answer")(outputs)
        if scaled:
            ones, zeros = [1.0] * len(self.offset), [0.0] * len(self.scale)
            scale, offset = np.asarray(self.scale or ones, "float32"), np.asarray(self.offset or zeros, "float32")
            outputs = keras.ops.add(keras.ops.multiply(outputs, scale), offset)
        return keras.Model(inputs, outputs, name="raw_to_answer")


def of(dataset: Dataset, logits: bool) -> Serving:
    """What stands around a network that was trained on a data set.

    Args:
      dataset: the data set.
      logits: whether the outputs of a network of classes are logits, and not probabilities already.
    """
    task = dataset.task
    activation = "linear"
    if logits and task.name in (tasks.CLASSIFICATION, tasks.MULTILABEL):
        activation = "softmax" if task.name == tasks.CLASSIFICATION and task.num_outputs > 1 else "sigmoid"
    learnt = dataset.preprocessing
    if learnt is None and dataset.standardizer is not None:
        learnt = preprocessing.numbers(dataset.input_shape, dataset.standardizer)
    elif learnt is None and _stored(dataset.train) == "uint8":
        learnt = preprocessing.images(dataset.input_shape)
    scaled = task.name == tasks.REGRESSION
    return Serving(learnt and learnt.model, activation, task.deviation if scaled else (), task.mean if scaled else ())


def _stored(split: Split) -> str:
    """The type that features are stored in."""
    return split.features.dtype.name if split.features is not None else split.examples().element_spec[0].dtype.name
