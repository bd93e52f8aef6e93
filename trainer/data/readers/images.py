"""Reads a folder of images by class."""

from __future__ import annotations

import dataclasses
import math
import os
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ...runtime.progress import progress
from ..examples import IMAGE, Examples, FileOptions, Raw
from . import IMAGES, folders
from .folders import Files

if TYPE_CHECKING:
    import tensorflow as tf

# Images that a thread decodes at a time. One by one, handing them out takes as long as decoding small ones.
_BATCH = 256


@dataclasses.dataclass(frozen=True, eq=False)
class _Scan:
    """What decoding all images of a part showed.

    Attributes:
      good: [n] bool, whether each image can be decoded.
      marks: [number of good ones, 2] int64, the length in bytes of each image that can be, and a hash of its content.
      features: [number of good ones, height, width, channels] uint8; None where they are too large for memory.
    """

    good: np.ndarray
    marks: np.ndarray
    features: np.ndarray | None


def read(path: str, options: FileOptions) -> Raw:
    """Reads `CLASS/*.png` (jpg, jpeg, bmp, gif), or the same below `train/`, `validation/` or `val/`, and `test/`.

    Classes are numbered in the order of their names. Every image is decoded once, whether all fit into memory or not,
    so that a damaged one is found before training starts. If all images are grey, they have one channel, else three;
    an alpha channel is dropped, and of an animation the first picture is taken.

    Args:
      path: the folder.
      options: `image_size` resizes images to it; `skip_damaged` leaves out those that cannot be decoded.

    Returns:
      Images of uint8. A part that takes more than `dataset.MEMORY_LIMIT` bytes has a stream in place of features; its
      order is a permutation that follows from the number of images.

    Raises:
      ValueError: what `folders.listed` raises; images that cannot be decoded or differ in size.
    """
    parts, classes = folders.listed(path, IMAGES, "image")
    first, image = _first(parts)
    if image is None:
        total = sum(len(files.paths) for files in parts.values())
        raise ValueError(f"None of the {total:,} images of `{path}` can be decoded; the first is {_quoted(first)}.")
    size = options.image_size or image.shape[:2]
    resize = options.image_size is not None
    # Most sets are of one kind, so that the first image tells which.
    channels = 1 if image.shape[-1] < 3 else 3
    scans = {part: _scan(files, (*size, channels), resize, first) for part, files in parts.items()}
    if None in scans.values():
        channels = 3
        scans = {part: _scan(files, (*size, channels), resize, first) for part, files in parts.items()}
    found = {part: scan for part, scan in scans.items() if scan is not None}
    warnings = _without_damaged(path, parts, found, classes, options.skip_damaged)
    checksum = 0
    examples = {}
    for part, scan in found.items():
        files = parts[part].kept(scan.good)
        for name, (length, hashed) in zip(files.paths, scan.marks.tolist(), strict=True):
            line = os.fsencode(name.removeprefix(path).lstrip(os.sep)) + b"\0%d\0%d\n" % (length, hashed)
            checksum = zlib.crc32(line, checksum)
        examples[part] = _examples(files, scan, (*size, channels), resize)
    return Raw(path, IMAGE, examples, classes, f"{checksum:08x}", warnings)


def _examples(files: Files, scan: _Scan, shape: tuple[int, int, int], resize: bool) -> Examples:
    if scan.features is not None:
        return Examples(len(files.paths), scan.features, files.labels)
    from ..image_files import ImageFiles

    # Files lie class by class, and whoever shuffles with a buffer would get batches of one class.
    order = np.random.default_rng(len(files.paths)).permutation(len(files.paths))
    stream = ImageFiles(files.paths, files.labels, shape, resize, hashes=scan.marks[:, 1]).rows(order)
    return Examples(len(order), None, stream.labels, stream=stream)


def _first(parts: dict[str, Files]) -> tuple[str, Any]:
    """The first image that can be decoded; without one, the first file and None."""
    import tensorflow as tf

    paths = [path for files in parts.values() for path in files.paths]
    for path in paths:
        try:
            return path, tf.io.decode_image(folders.content(path), expand_animations=False)
        except tf.errors.OpError:
            continue
    return paths[0], None


def _scan(files: Files, shape: tuple[int, int, int], resize: bool, reference: str) -> _Scan | None:
    """Decodes all images of a part, on all cores.

    Args:
      files: the images.
      shape: height, width and channels that they are to have.
      resize: whether they are resized to that.
      reference: the image whose shape it is.

    Returns:
      What was found; None if an image has colours and `shape` has one channel.
    """
    from .. import dataset

    total = len(files.paths)
    in_memory = total * math.prod(shape) <= dataset.MEMORY_LIMIT
    good, marks = np.zeros(total, bool), np.zeros((total, 2), np.int64)
    features = np.empty((total, *shape), np.uint8) if in_memory else None
    with progress("reading images", total, "images") as reached:
        for indices, shapes, lengths, hashes, images in _batches(files, shape, resize, in_memory):
            if shape[-1] == 1 and shapes[:, 2].max() > 2:
                return None
            if not resize and len(other := np.flatnonzero((shapes[:, :2] != shape[:2]).any(axis=1))):
                height, width = shapes[other[0], :2].tolist()
                raise ValueError(
                    f"{_quoted(reference)} is {shape[0]}x{shape[1]} and {_quoted(files.paths[indices[other[0]]])} is "
                    f"{height}x{width} (height x width); add --image_size={shape[0]},{shape[1]} to resize all images."
                )
            good[indices] = True
            marks[indices] = np.stack([lengths, hashes], axis=1)
            if features is not None:
                features[indices] = images
            reached(int(indices[-1]) + 1)
    if good.all():
        return _Scan(good, marks, features)
    return _Scan(good, marks[good], None if features is None else features[good])


def _batches(files: Files, shape: tuple[int, int, int], resize: bool, images: bool) -> Any:
    """Batches of NumPy arrays: the index, shape, length, hash and pixels of each image that can be decoded."""
    import tensorflow as tf

    from ..image_files import content_hash, converted, resized

    def example(index: tf.Tensor, path: tf.Tensor) -> tuple[tf.Tensor, ...]:
        contents = tf.io.read_file(path)
        image = tf.io.decode_image(contents, expand_animations=False)
        found = tf.shape(image)
        hashed = content_hash(contents)
        if not images:
            pixels = tf.zeros([0], tf.uint8)
        elif resize:
            pixels = resized(converted(image, shape[-1]), shape[:2])
        else:
            fits = tf.reduce_all(found[:2] == shape[:2])
            pixels = tf.cond(fits, lambda: converted(image, shape[-1]), lambda: tf.zeros(shape, tf.uint8))
        return index, found, tf.strings.length(contents), hashed, tf.ensure_shape(pixels, shape if images else [0])

    options = tf.data.Options()
    # Tuning pays in a pipeline that runs for minutes; here it only takes time.
    options.autotune.enabled = False
    options.deterministic = True
    names = tf.data.Dataset.from_tensor_slices([os.fsencode(path) for path in files.paths])

    def decoded(indices: tf.Tensor, paths: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((indices, paths)).map(example).ignore_errors().batch(_BATCH)

    threads = os.cpu_count() or 1
    blocks = names.enumerate().batch(_BATCH)
    batches = blocks.interleave(decoded, cycle_length=threads, block_length=1, num_parallel_calls=threads)
    return batches.prefetch(2).with_options(options).as_numpy_iterator()


def _without_damaged(
    path: str, parts: dict[str, Files], scans: dict[str, _Scan], classes: tuple[str, ...], skip: bool
) -> tuple[str, ...]:
    """Raises ValueError for images that cannot be decoded, or says that they were left out."""
    damaged = [
        name
        for part, scan in scans.items()
        for name, good in zip(parts[part].paths, scan.good, strict=True)
        if not good
    ]
    for name in damaged:
        folders.content(name)
    if not damaged:
        return ()
    count = f"{len(damaged):,} image{'s' * (len(damaged) > 1)} of `{path}` cannot be decoded"
    if not skip:
        raise ValueError(f"{count}, the first is {_quoted(damaged[0])}; mend them or add --skip_damaged.")
    for part, scan in scans.items():
        labels = parts[part].labels
        if lost := sorted(set(labels.tolist()) - set(labels[scan.good].tolist())):
            raise ValueError(
                f"{count}, among them every one of the class `{classes[lost[0]]}` in the part {part}; mend them, or "
                "remove the class."
            )
    return (f"{count} and were left out, the first is {_quoted(damaged[0])}.",)


def _quoted(path: str) -> str:
    return f"`{folders.shown(path)}`"
