"""Streams of images by their files: the order of training, which may begin anywhere, and what examples hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.support import media
from trainer.data import batches, dataset
from trainer.data.image_files import ImageFiles, content_hash, converted
from trainer.data.stream import Stream
from trainer.runtime import replicas as devices

EXAMPLES, BATCH, PER_EPOCH = 26, 8, 3


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> ImageFiles:
    """Images whose label is their number."""
    folder = tmp_path_factory.mktemp("images")
    paths = [media.write_image(folder / f"{number}.png", media.pixels(number)) for number in range(EXAMPLES)]
    return ImageFiles(tuple(map(str, paths)), np.arange(EXAMPLES, dtype=np.int32), (4, 6, 3))


def labels(data, count: int) -> list[list[int]]:
    return [batch[1].numpy().tolist() for batch in data.take(count)]


def test_images_and_labels_belong_together(files):
    for image, label in files():
        np.testing.assert_array_equal(image, media.pixels(int(label)))
    for image_batch, label_batch in files.batches(BATCH, 0).take(2):
        np.testing.assert_array_equal(image_batch, [media.pixels(int(label)) for label in label_batch])


def test_each_epoch_has_its_own_order_of_all_images(files):
    order = labels(files.batches(BATCH, 0), 20 * PER_EPOCH)
    epochs = np.reshape(order, (20, PER_EPOCH * BATCH)).tolist()
    assert all(len(set(epoch)) == PER_EPOCH * BATCH for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 20
    # The two that sit an epoch out are not the same ones for ever.
    assert {label for epoch in epochs for label in epoch} == set(range(EXAMPLES))
    assert order[0] != labels(files.batches(BATCH, 1), 1)[0]


@pytest.mark.parametrize("first", [1, 3, 10])
def test_batches_may_begin_anywhere(files, first):
    assert labels(files.batches(BATCH, 0, first), 4) == labels(files.batches(BATCH, 0), first + 4)[first:]


@pytest.mark.parametrize("seed", [-1, 2**40])
def test_any_seed_will_do(files, seed):
    assert len(labels(files.batches(BATCH, seed), 1)) == 1


def test_parts_that_are_missing_are_left_out(files):
    weights = np.linspace(0, 1, EXAMPLES, dtype=np.float32)
    some = ImageFiles(files.paths, None, files.shape, weights=weights).rows(np.asarray([3, 1]))
    assert [weight for _, weight in some().as_numpy_iterator()] == weights[[3, 1]].tolist()
    assert len(ImageFiles(files.paths, None, files.shape)().element_spec) == 1


def test_images_of_another_size_are_resized_or_an_error(files):
    resized = ImageFiles(files.paths, files.labels, (2, 2, 3), resize=True)
    assert next(iter(resized()))[0].shape == (2, 2, 3)
    with pytest.raises(tf.errors.InvalidArgumentError):
        next(iter(ImageFiles(files.paths, files.labels, (2, 2, 3))()))


def test_a_file_that_changes_during_a_run_is_named(files):
    hashes = np.asarray([int(content_hash(tf.io.read_file(path))) for path in files.paths])
    kept = dataclasses.replace(files, hashes=hashes)
    assert len(list(kept.rows(np.asarray([5, 0]))())) == 2
    changed = dataclasses.replace(files, hashes=hashes + (np.arange(EXAMPLES) == 3))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"the image. .*/3.png. .changed during"):
        list(changed())


@pytest.mark.parametrize(("found", "channels", "expected"), [(1, 3, "aaa"), (2, 3, "aaa"), (4, 3, "abc"), (2, 1, "a")])
def test_channels(found, channels, expected):
    image = np.broadcast_to(np.arange(found, dtype=np.uint8), (2, 3, found))
    assert converted(tf.constant(image), channels)[0, 0].numpy().tolist() == ["abc".index(one) for one in expected]


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_source_goes_on_at_any_step_without_reading_or_saving(files, replicas):
    split = dataset.Split(EXAMPLES, None, None, stream=files)
    made = batches.source(split, BATCH, 0, devices.strategy(replicas))
    assert isinstance(made, Stream)
    assert (made.batch_size, made.steps_per_epoch, made.num_examples) == (BATCH, PER_EPOCH, EXAMPLES)
    said = []
    made.seek(4, 1, said.append)
    assert made.record(5) is None
    expected = labels(files.batches(BATCH, 0), 7)[5:]
    assert [made.train_batch(made.arrays, None)[1].numpy().tolist() for _ in range(2)] == expected
    assert said == []
    assert sum(len(batch[1]) for batch in made.eval_batches()) == EXAMPLES
    assert made.take(made.arrays, made.train_batch(made.arrays, None))[0].dtype == tf.float32
