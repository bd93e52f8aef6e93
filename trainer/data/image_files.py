"""Images that are decoded from their files whenever they are needed, because they are too large for memory."""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles:
    """A stream of images by their files: call it for the data set of (image, label) one by one, in order.

    Attributes:
      paths: where each image is.
      labels: [n] or [n, outputs], the second part of each example; None: there is none.
      shape: height, width and channels (1 or 3) of every image.
      resize: whether images of other sizes are resized; else they are an error.
      weights: [n] float32, the last part of each example; None: there is none.
      hashes: [n] int64, `content_hash` of each file; a file that changes in the middle of a run is an error that names
        it. None: nobody looks.
    """

    paths: tuple[str, ...]
    labels: np.ndarray | None
    shape: tuple[int, int, int]
    resize: bool = False
    weights: np.ndarray | None = None
    hashes: np.ndarray | None = None

    def __call__(self) -> tf.data.Dataset:
        """The examples one by one, in the order of the files."""
        return self._decoded(tf.data.Dataset.range(len(self.paths)))

    def rows(self, chosen: np.ndarray) -> ImageFiles:
        """The examples of a mask [n] or of indices, in their order."""
        indices = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        arrays = {"labels": self.labels, "weights": self.weights, "hashes": self.hashes}
        taken: dict[str, Any] = {name: None if array is None else array[indices] for name, array in arrays.items()}
        return dataclasses.replace(self, paths=tuple(self.paths[index] for index in indices), **taken)

    def batches(self, batch_size: int, seed: int, first: int = 0) -> tf.data.Dataset:
        """Batches to train on, without end. Each epoch has its own order, which follows from the seed.

        The place of an example in the order is computed and not drawn. The data set may therefore begin at any batch at
        once, and it shuffles all files without a buffer.

        Args:
          batch_size: examples in a batch; those that do not fill one sit the epoch out.
          seed: seed of the order.
          first: the number of the first batch.
        """
        size = len(self.paths)
        per_epoch = size // batch_size

        def indices(step: tf.Tensor) -> tf.Tensor:
            places = step % per_epoch * batch_size + tf.range(batch_size, dtype=tf.int64)
            return tf.random.experimental.index_shuffle(places, tf.stack([seed, step // per_epoch]), size - 1)

        steps = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
        return self._decoded(steps.map(indices).unbatch()).batch(batch_size, drop_remainder=True)

    @functools.cached_property
    def _tensors(self) -> tuple[tf.Tensor, tf.Tensor | None, list[tf.Tensor]]:
        """Paths, hashes, and the parts of an example but for the image: once, as they grow with the number of files."""
        hashes = None if self.hashes is None else tf.constant(self.hashes)
        parts = [tf.constant(one) for one in (self.labels, self.weights) if one is not None]
        return tf.constant([os.fsencode(path) for path in self.paths]), hashes, parts

    def _decoded(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """The examples of a data set of indices, in its order."""
        paths, hashes, parts = self._tensors
        height, width, channels = self.shape

        def example(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
            path = tf.gather(paths, index)
            contents = tf.io.read_file(path)
            same = True if hashes is None else tf.equal(content_hash(contents), tf.gather(hashes, index))
            # First, because an error of what decodes does not name the file.
            with tf.control_dependencies([tf.debugging.Assert(same, ["the image", path, "changed during the run"])]):
                contents = tf.identity(contents)
            image = converted(tf.io.decode_image(contents, expand_animations=False), channels)
            if self.resize:
                image = resized(image, (height, width))
            return tf.ensure_shape(image, self.shape), *(tf.gather(part, index) for part in parts)

        return indices.map(example, tf.data.AUTOTUNE)


def content_hash(contents: tf.Tensor) -> tf.Tensor:
    """A hash of the bytes of a file, an int64 scalar."""
    return tf.strings.to_hash_bucket_fast(contents, 2**63 - 1)


def converted(image: tf.Tensor, channels: int) -> tf.Tensor:
    """An image [height, width, 1 to 4] with 1 or 3 channels; an alpha channel is dropped.

    Args:
      image: as it was decoded: grey, grey with alpha, RGB or RGB with alpha.
      channels: 1 or 3; a grey image has three equal ones.
    """
    if channels == 1:
        return image[..., :1]
    grey = tf.shape(image)[-1] < 3
    return tf.cond(grey, lambda: tf.repeat(image[..., :1], 3, axis=-1), lambda: image[..., :3])


def resized(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """A uint8 image [height, width, channels] with another height and width: bilinear, smoothed where it shrinks."""
    return tf.cast(tf.round(tf.image.resize(image, size, antialias=True)), tf.uint8)
