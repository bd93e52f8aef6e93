"""`load_data`: a data set for Python, by the words of the command line."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from ..data import augment as augmentation
from ..data import dataset
from ..data.examples import FileOptions
from ..data.parts import Dataset
from ..runtime import errors


def load_data(
    name: str | os.PathLike[str],
    *,
    label: str | Sequence[str] = (),
    text: str | None = None,
    weight: str | None = None,
    drop: str | Sequence[str] = (),
    image_size: Sequence[int] | None = None,
    skip_damaged: bool = False,
    augment: str | Sequence[str] = (),
    vocabulary_size: int | None = None,
    text_length: int | None = None,
    task: str | None = None,
    loss: str | None = None,
    num_classes: int | None = None,
    validation_split: str | float | None = 0.1,
    test_split: str | float | None = None,
    **more: Any,
) -> Dataset:
    """Loads a data set, as the command line does; the words are those of its flags.

        data = load_data("prices.csv", label="price")
        model = make_model(data.input_shape, data.task.num_outputs)
        trainer = Trainer(model, rules, optimizer="adam", loss=data.task.loss(), metrics=data.task.metrics())
        trainer.fit(data, epochs=20)

    `data.train.x` and `data.train.y` are arrays, and so are those of `data.validation` and `data.test`. What was learnt
    from the training examples is `data.preprocessing`: called with raw examples, it treats them alike.

    Args:
      name: the path of an .npz, .csv, .tsv or .parquet file, of a folder of images or texts by class, or of the folder
        of a prepared TFDS data set; digits, breast_cancer, synthetic, or a name of TFDS.
      label: columns of a table that are to be predicted.
      text: the column of a table that holds text, the only input then.
      weight: the column of a table that weighs examples.
      drop: columns of a table that are left out.
      image_size: height and width that the images of a folder are resized to.
      skip_damaged: whether images that cannot be decoded are left out.
      augment: how the training images of a `fit` on this data change at random: flip, crop, rotate, zoom, brightness,
        contrast, each with its strength after a colon where it is not the usual one, as in "rotate:0.1".
      vocabulary_size: the most words that a text's vocabulary keeps.
      text_length: words of a text that are kept.
      task: classification, multilabel, regression or reconstruction; None: the labels decide.
      loss: name of the Keras loss; one that is not of differences leaves the labels of a regression as they are.
      num_classes: number of classes, where labels are numbers from 0.
      validation_split: share of the training part that is held out where the data has no validation part, or the name
        of a part or slice; None: there is none.
      test_split: likewise for the test part; None: the data's own, or a fifth of a file's training part.
      **more: `train_split`, `data_dir`, `input_shape`, `num_examples` and `seed`, for data that is no file.

    Raises:
      ValueError: the data cannot be read or trained on, or an option does not fit it.
      TypeError: an unknown option.
    """
    options = FileOptions(
        label=_names(label),
        text=text,
        weight=weight,
        drop=_names(drop),
        image_size=None if image_size is None else _size(image_size),
        skip_damaged=skip_damaged,
        vocabulary_size=vocabulary_size,
        text_length=text_length,
    )
    changes = tuple(augment.split(",")) if isinstance(augment, str) and augment else tuple(augment)
    with errors.in_words_of_python():
        loaded = dataset.load(
            os.fspath(name),
            num_classes=num_classes,
            task=task,
            loss=loss,
            options=options,
            validation_split=None if validation_split is None else str(validation_split),
            test_split=None if test_split is None else str(test_split),
            **more,
        )
        # Now, so that a mistake shows before a model is built.
        augmentation.of(loaded, changes, seed=0)
    return dataclasses.replace(loaded, augment=changes)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (str, list, tuple)):
        raise TypeError(f"{value!r} names no column; give a name, or a list of names.")
    return (value,) if isinstance(value, str) else tuple(value)


def _size(value: Any) -> tuple[int, int]:
    sides = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"image_size={value!r} is no height and width; give two positive whole numbers, as (32, 32).")
    return sides[0], sides[1]
