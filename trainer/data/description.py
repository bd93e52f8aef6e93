"""What a model sees of a TFDS data set, by what the data set says of itself; and what it cannot learn from."""

from __future__ import annotations

from typing import Any

import numpy as np

from .tfds_reader import Reader


def describe(name: str, builder: Any, num_classes: int | None, task: str | None = None) -> Reader:
    """Finds what a model sees of a data set.

    Args:
        name: name of the data set, for messages.
        builder: a prepared `tfds.core.DatasetBuilder`.
        num_classes: number of classes; None: what the data set says.
        task: the task that the user chose; None: labels that are numbers of classes are classes.

    Raises:
        ValueError: for a data set that has no pairs of numbers of one shape and a label of numbers or text.
    """
    import tensorflow_datasets as tfds

    features, keys = builder.info.features, builder.info.supervised_keys
    if not isinstance(keys, tuple) or not all(isinstance(key, str) for key in keys):
        raise ValueError(
            f"Data set `{name}` does not say which feature is the input and which the label (supervised_keys={keys}); "
            f"its features are {', '.join(features)}. Choose one that does, such as digits or mnist."
        )
    feature, label = features[keys[0]], features[keys[1]]
    if (reason := _no_label(label)) is not None:
        raise ValueError(
            f"Data set `{name}` has labels `{keys[1]}` that nothing can be learnt from, {label}: {reason}."
        )
    of_classes = _is_number(label, "biu") and task in (None, "classification")
    promised = getattr(label, "num_classes", None)
    if of_classes and promised == 1:
        raise ValueError(
            f"Data set `{name}` has a single class in its labels `{keys[1]}`, so there is nothing to tell apart; "
            "choose a data set of at least two classes."
        )
    if of_classes:
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
    return Reader(
        name,
        builder,
        shape,
        dtype,
        int(num_classes) if of_classes and num_classes else None,
        weighted=weight is not None,
        label_shape=tuple(label.shape),
        label_dtype=np.dtype(object if isinstance(label, tfds.features.Text) else label.np_dtype),
    )


def _is_number(feature: Any, kinds: str) -> bool:
    """Whether a feature is one number of these kinds in each example, alone or as the only entry of an array."""
    import tensorflow_datasets as tfds

    if not isinstance(feature.get_tensor_info(), tfds.features.TensorInfo):
        return False
    return all(side == 1 for side in feature.shape) and np.dtype(feature.np_dtype).kind in kinds


def _no_label(label: Any) -> str | None:
    """Why nothing can be learnt from labels, and what to do about it; None where something can."""
    import tensorflow_datasets as tfds

    if isinstance(label, tfds.features.Text):
        return None
    numbers = isinstance(label.get_tensor_info(), tfds.features.TensorInfo) and np.dtype(label.np_dtype).kind in "biuf"
    if not numbers:
        return "prepare the data set with numbers, a ClassLabel or text in their place"
    if None in label.shape:
        return "each has another number of entries; prepare the data set with a row of zeros and ones for each example"
    return None
