"""Small prepared TFDS data sets for tests, under any name, with any features."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

Examples = Mapping[str, Sequence[Mapping[str, Any]]]


def builder_class(
    name: str,
    features: Mapping[str, Any],
    splits: Examples,
    supervised_keys: Any = ("image", "label"),
    version: str = "1.0.0",
    configs: Sequence[str] = (),
) -> type[tfds.core.GeneratorBasedBuilder]:
    """Makes a builder class that TFDS does not learn of."""

    class Body:
        VERSION = tfds.core.Version(version)
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config) for config in configs]  # noqa: RUF012

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=supervised_keys
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            del dl_manager
            return {split: self._generate_examples(examples) for split, examples in splits.items()}

        def _generate_examples(self, examples: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
            yield from enumerate(examples)

    title = "".join(part.title() for part in name.split("_"))
    with tfds.core.registered.skip_registration():
        return type(title, (Body, tfds.core.GeneratorBasedBuilder), {"__module__": __name__})


def prepare(
    data_dir: Path, name: str, *args: Any, num_shards: int | None = None, config: Any = None, **options: Any
) -> Path:
    """Prepares a data set of these features and splits and returns the folder of its files."""
    builder = builder_class(name, *args, **options)(data_dir=data_dir, config=config)
    shards = tfds.download.DownloadConfig(num_shards=num_shards)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        builder.download_and_prepare(download_config=shards)
    return Path(builder.data_dir)


def images(count: int, shape: tuple[int, ...] = (28, 28, 1), seed: int = 0) -> list[dict[str, Any]]:
    """Returns random uint8 images and the labels 0, 1, ..., 9, 0, ..."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return [{"image": image, "label": i % 10} for i, image in enumerate(pixels)]


def image_features(shape: tuple[int | None, ...] = (28, 28, 1)) -> dict[str, Any]:
    """Returns the features that `images` fill."""
    return {"image": tfds.features.Image(shape=shape), "label": tfds.features.ClassLabel(num_classes=10)}


def rows(values: Sequence[Any], labels: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Returns rows of numbers as examples; labels are 0, 1, 0, ... where none are given."""
    return [{"row": value, "label": labels[i] if labels else i % 2} for i, value in enumerate(values)]


def row_features(shape: tuple[int | None, ...], dtype: Any = np.float32) -> dict[str, Any]:
    """Returns the features that `rows` fill."""
    return {"row": tfds.features.Tensor(shape=shape, dtype=dtype), "label": tfds.features.Scalar(dtype=np.int64)}


def prepare_rows(data_dir: Path, train: Any, test: Any = None, **options: Any) -> Path:
    """Prepares the data set `toy_rows` of rows of numbers."""
    labels, dtype = options.pop("labels", None), options.pop("dtype", np.float32)
    features = row_features(np.shape(train[0]), dtype)
    splits = {"train": rows(train, labels), "test": rows(train if test is None else test)}
    return prepare(data_dir, "toy_rows", features, splits, supervised_keys=("row", "label"), **options)
