"""What a model sees of a TFDS data set, by what the data set says of itself; and what it cannot learn from."""

from __future__ import annotations

from typing import Any

import numpy as np

from .tfds_reader import Reader


def describe(name: str, builder: Any, num_classes: int | None) -> Reader:
    """Finds what a model sees of a data set.

    Args:
        name: name of the data set, for messages.
        builder: a prepared `tfds.core.DatasetBuilder`.
        num_classes: number of classes; None: what the data set says.

    Raises:
        ValueError: for a data set that has no pairs of numbers of one shape and an integer label.
    """
    import tensorflow_datasets as tfds

    features, keys = builder.info.features, builder.info.supervised_keys
    if not isinstance(keys, tuple) or not all(isinstance(key, str) for key in keys):
        raise ValueError(
            f"Data set `{name}` does not say which feature is the input and which the label (supervised_keys={keys}); "
            f"its features are {', '.join(features)}. Choose one that does, such as digits or mnist."
        )
    feature, label = features[keys[0]], features[keys[1]]
    if (reason := _no_class(label)) is not None:
        raise ValueError(f"Data set `{name}` has labels `{keys[1]}` that are not integers, {label}: {reason}.")
    promised = getattr(label, "num_classes", None)
    if promised == 1:
        raise ValueError(
            f"Data set `{name}` has a single class in its labels `{keys[1]}`, so there is nothing to tell apart; "
            "choose a data set of at least two classes."
        )
    num_classes = num_classes or promised or (2 if np.dtype(label.np_dtype).kind == "b" else None)
    if not num_classes:
        raise ValueError(f"Data set `{name}` does not say how many classes it has; say it with num_classes.")
    weight = features[keys[2]] if len(keys) > 2 else None
    if weight is not None and not _is_number(weight, "biuf"):
        raise ValueError(
            f"Data set `{name}` has weights `{keys[2]}` that are not one number for each example, {weight}; prepare it "
            "with such numbers, or with supervised_keys of the input and the label alone."
        )
    if (
        not isinstance(feature.get_tensor_info(), tfds.features.TensorInfo)
        or np.dtype(feature.np_dtype).kind not in "biuf"
    ):
        raise ValueError(
            f"Data set `{name}` has an input `{keys[0]}` that is not numbers, {feature}; choose images or numbers."
        )
    if None in feature.shape:
        raise ValueError(
            f"Data set `{name}` has inputs `{keys[0]}` of different sizes, {feature.shape}; choose one of equal sizes."
        )
    shape, dtype = tuple(feature.shape) or (1,), np.dtype(feature.np_dtype)
    return Reader(name, builder, shape, dtype, int(num_classes), weighted=weight is not None)


def _is_number(feature: Any, kinds: str) -> bool:
    """Whether a feature is one number of these kinds in each example, alone or as the only entry of an array."""
    import tensorflow_datasets as tfds

    if not isinstance(feature.get_tensor_info(), tfds.features.TensorInfo):
        return False
    return all(side == 1 for side in feature.shape) and np.dtype(feature.np_dtype).kind in kinds


def _no_class(label: Any) -> str | None:
    """Why a label is not the number of a class, and what to do about it; None where it is."""
    import tensorflow_datasets as tfds

    if _is_number(label, "biu"):
        return None
    if isinstance(label, tfds.features.Text):
        return "they are text; prepare the data set with tfds.features.ClassLabel(names=...) for them"
    if _is_number(label, "f"):
        return "a class is a whole number; prepare the data set with tfds.features.ClassLabel or whole numbers"
    if isinstance(label, tfds.features.Tensor) and np.dtype(label.np_dtype).kind in "biuf":
        return "each is several numbers; of one-hot labels, prepare the data set with the class's number, their argmax"
    return "choose a data set of classes"
