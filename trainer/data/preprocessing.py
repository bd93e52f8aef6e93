"""What is learnt from the training part about its inputs, and applied to every example alike."""

from __future__ import annotations

import dataclasses
import importlib
import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..settings.checks import suggestion
from .examples import IMAGE, NUMBERS, TABLE, TEXT, FileOptions, Raw
from .standardizer import Standardizer

if TYPE_CHECKING:
    import keras

FILE = "preprocessing.keras"
BATCH = 8192  # rows that the model is applied to at a time
BLOCK = 2**16  # rows that the mean is taken of at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Preprocessing:
    """Turns raw examples into what a network is trained on.

    Attributes:
      kind: IMAGE, NUMBERS, TABLE or TEXT.
      input_shape: shape of one example as the network takes it.
      model: raw examples -> float32 features, or int32 ids of words, in layers and operations of Keras alone. It takes
        [n, height, width, channels] uint8, [n, ...] float32, [n] strings, or a dict of columns [n, 1].
      vocabulary_size: how many ids of words there are; 0 where features are numbers.
      warnings: what the user should know, a sentence each.
    """

    kind: str
    input_shape: tuple[int, ...]
    model: keras.Model = dataclasses.field(repr=False)
    vocabulary_size: int = 0
    warnings: tuple[str, ...] = ()

    def __call__(self, features: Any) -> np.ndarray:
        """Applies what was learnt, in memory.

        Args:
          features: raw examples, as an array or as a mapping of a table's columns; columns that were not learnt from
            are ignored.

        Returns:
          [n, *input_shape]: images as they are in uint8, because training divides them by 255 on its way; float32
          rows; int32 ids.

        Raises:
          ValueError: the examples are not like those that this was learnt from.
        """
        import tensorflow as tf

        inputs = as_inputs(self.model, features)
        if self.kind == IMAGE:
            return inputs
        size = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
        found = np.empty((size, *self.input_shape), np.int32 if self.kind == TEXT else np.float32)
        # Strings have no kernels elsewhere, and a copy to a device would cost more than it saves.
        with tf.device("CPU"):
            for start in range(0, size, BATCH):
                batch = tf.nest.map_structure(lambda array, at=start: tf.constant(array[at : at + BATCH]), inputs)
                found[start : start + BATCH] = self.model(batch, training=False)
        return found

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `preprocessing.keras` into a folder; `keras.models.load_model` reads it without this project."""
        self.model.save(pathlib.Path(folder) / FILE)


def learn(raw: Raw, options: FileOptions) -> Preprocessing:
    """Learns from the training part how raw examples become features.

    Images are divided by 255. Rows of numbers, [n, columns], are standardised by column. Tables see
    `preprocessing_table.learn` and texts `preprocessing_text.learn`. Other numbers become float32 as they are.

    Raises:
      ValueError: there is nothing to learn from.
    """
    if raw.kind == TEXT:
        texts = importlib.import_module(".preprocessing_text", __package__)
        return texts.learn(raw, options)
    if raw.kind == TABLE:
        from . import preprocessing_table

        return preprocessing_table.learn(raw)
    train = raw.parts["train"]
    if train.features is None:
        assert train.stream is not None
        shape = tuple(train.stream().element_spec[0].shape)
        return images(shape)
    assert isinstance(train.features, np.ndarray)
    shape = train.features.shape[1:]
    if train.features.dtype == np.uint8 and len(shape) > 1:
        return images(shape)
    if len(shape) != 1:
        return numbers(shape, None)
    # Block by block, because a row takes eight times as much in float64 as in uint8.
    rows = train.features
    return numbers(shape, Standardizer.of(rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)))


def load(folder: str | os.PathLike[str]) -> Preprocessing:
    """Reads what `Preprocessing.save` wrote.

    Raises:
      ValueError: there is no such file, or it is damaged.
    """
    import keras

    path = pathlib.Path(folder) / FILE
    if not path.is_file():
        raise ValueError(f"There is no {FILE} in {folder}; give the folder of a run that wrote one.")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the zip file, JSON or HDF5 inside raises.
        raise ValueError(f"{path} is damaged ({error}); start the run anew in another folder.") from error
    (output,) = model.outputs
    sizes = [layer.vocabulary_size() for layer in model.layers if hasattr(layer, "vocabulary_size")]
    first = model.inputs[0]
    if isinstance(input_of(model), dict):
        return Preprocessing(TABLE, tuple(output.shape[1:]), model)
    if first.dtype == "string":
        return Preprocessing(TEXT, tuple(output.shape[1:]), model, max(sizes))
    kind = IMAGE if first.dtype == "uint8" else NUMBERS
    return Preprocessing(kind, tuple(output.shape[1:]), model)


def images(shape: tuple[int, ...]) -> Preprocessing:
    """Divides pixels of uint8 by 255, with the same bits as training does."""
    import keras

    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    # A multiplication by 1/255, as in `Rescaling`, differs from the division in the last bit of some values.
    scaled = keras.ops.divide(keras.ops.cast(pixels, "float32"), 255.0)
    return Preprocessing(IMAGE, shape, keras.Model(pixels, scaled, name="preprocessing"))


def numbers(shape: tuple[int, ...], standardizer: Standardizer | None) -> Preprocessing:
    """Standardises rows of numbers; None leaves numbers as they are, in float32."""
    import keras

    values = keras.Input(shape, dtype="float32", name="numbers")
    if standardizer is None:
        found = keras.layers.Identity(dtype="float32", name="unchanged")(values)
    else:
        found = standardized(values, standardizer)
    return Preprocessing(NUMBERS, shape, keras.Model(values, found, name="preprocessing"))


def standardized(values: Any, standardizer: Standardizer) -> Any:
    """(x - mean) / deviation of a Keras tensor [..., n] in float32.

    `keras.layers.Normalization` would divide by at least 1e-7 and so flatten a column of small units, such as metres in
    optics.
    """
    import keras

    mean, deviation = (part.astype(np.float32) for part in (standardizer.mean, standardizer.deviation))
    # Deviations below the smallest normal number count as 0: hardware may flush them, and the quotient is infinite.
    constant = ~np.isfinite(deviation) | (deviation < np.finfo(np.float32).tiny)
    shifted = keras.ops.subtract(values, mean)
    return keras.ops.divide(shifted, np.where(constant, np.float32(np.inf), deviation))


def as_inputs(model: keras.Model, features: Any) -> Any:
    """Raw examples as a model of raw examples takes them: an array, or a dict of columns [n, 1].

    Raises:
      ValueError: they are not like what the model was made for.
    """
    return _columns(model, features) if isinstance(input_of(model), dict) else _array(model, features)


def input_of(model: keras.Model) -> Any:
    """The symbolic input of a model: a tensor, or a structure of tensors."""
    import keras

    # A sequential model that was never called has no `input` of its own.
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def _array(model: keras.Model, features: Any) -> np.ndarray:
    """Raw examples as the model takes them."""
    (tensor,) = model.inputs
    shape = tuple(tensor.shape[1:])
    array = np.asarray(features)
    text = tensor.dtype == "string"
    if (array.dtype.kind in "USO") != text or array.dtype.kind not in "biufUSO":
        raise ValueError(f"These examples are of {array.dtype}; expected {'strings' if text else 'numbers'}.")
    if tensor.dtype == "uint8" and array.dtype != np.uint8:
        raise ValueError(f"These images are of {array.dtype}; expected uint8, from 0 to 255, as in training.")
    # Grey images may come without an axis of channels, and texts without one of columns.
    if array.ndim == len(shape) and shape[-1:] == (1,):
        array = array[..., np.newaxis]
    if array.shape[1:] != shape:
        raise ValueError(f"These examples have the shape {array.shape[1:]}; expected {shape}, as in training.")
    if text:
        return array.astype(np.object_)
    return array.astype(tensor.dtype, copy=False)


def _columns(model: keras.Model, features: Any) -> dict[str, np.ndarray]:
    """The columns of a table as the model takes them, each [n, 1]."""
    if not isinstance(features, Mapping) and not hasattr(features, "columns"):
        raise ValueError(f"A table is expected as a dict of columns, not as {type(features).__name__}.")
    names = [str(name) for name in features]
    given = {input_name(name): name for name in names}
    columns: dict[str, np.ndarray] = {}
    for name, tensor in model.input.items():
        if name not in given:
            hint = suggestion(name, names)
            raise ValueError(f"The column `{name}` is missing; {hint}the columns are {', '.join(names)}.")
        column = np.asarray(features[given[name]]).reshape(-1, 1)
        if tensor.dtype == "string":
            # Missing values are empty, None or NaN, which alone differs from itself.
            columns[name] = np.array(
                [["" if value is None or value != value else str(value)] for value in column[:, 0]], np.object_
            )
            continue
        try:
            columns[name] = column.astype(np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"The column `{name}` is expected to hold numbers ({error}).") from None
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"The columns have different lengths, {lengths}; expected one value in each row.")
    return columns


def input_name(column: str) -> str:
    """The name of a column as an input of a Keras model, which takes no `/`."""
    return column.replace("/", "_")
