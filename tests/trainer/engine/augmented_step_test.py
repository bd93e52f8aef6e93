"""Training on images that are changed at random: resumed to the bit, on any source, and never in an evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.support import media, tiny_experiment
from tests.support.tiny_experiment import BATCH, same_bits
from trainer.data import augment, batches, dataset
from trainer.data.image_files import ImageFiles
from trainer.engine.objective import CrossEntropy
from trainer.engine.train_step import Steps
from trainer.runtime import replicas as devices

SHAPE, EXAMPLES, STEPS = (6, 6, 1), 30, 9
AUGMENTATION = augment.Augmentation(("flip", "crop:0.3", "contrast"), 3, SHAPE)


@pytest.fixture(scope="module")
def splits(tmp_path_factory) -> dict[str, dataset.Split]:
    """The same images in memory and in files."""
    images = np.stack([media.pixels(number, SHAPE) for number in range(EXAMPLES)])
    labels = (np.arange(EXAMPLES) % 3).astype(np.int32)
    folder = tmp_path_factory.mktemp("images")
    paths = [str(media.write_image(folder / f"{number}.png", image)) for number, image in enumerate(images)]
    stream = ImageFiles(tuple(paths), labels, SHAPE)
    return {
        "memory": dataset.Split(EXAMPLES, images, labels),
        "files": dataset.Split(EXAMPLES, None, None, stream=stream),
    }


def prepared(splits, kind: str, replicas: int = 1, augmentation=AUGMENTATION, jit: bool = False):
    """The parts of a run, and a function that makes the steps between two."""
    made = tiny_experiment.parts(memory=splits["memory"], replicas=replicas, hidden_units=(8,))
    source = batches.source(splits[kind], BATCH, 0, made.strategy, augmentation)
    objective = CrossEntropy(made.model, BATCH, replicas)
    steps = Steps(made.strategy, objective, made.optimizer, made.projector, source, source, jit=jit)

    def train(first: int, last: int):
        source.seek(first)
        steps.train(last - first, np.zeros(steps.num_totals), np.zeros(2), False)
        return made.state()

    return made, train


@pytest.mark.parametrize(
    ("kind", "replicas"),
    [
        ("memory", 1),
        pytest.param("memory", 2, marks=pytest.mark.slow),
        pytest.param("files", 1, marks=pytest.mark.slow),
        pytest.param("files", 2, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_goes_on_or_back_sees_the_same_images(splits, kind, replicas):
    made, train = prepared(splits, kind, replicas)
    begin = made.state()
    whole = train(0, STEPS)
    made.reset(begin)
    half = train(0, 4)
    train(4, 6)
    made.reset(half)
    assert same_bits(train(4, STEPS), whole)


@pytest.mark.slow
def test_another_process_and_no_augmentation(splits):
    whole = prepared(splits, "memory")[1](0, STEPS)
    half = prepared(splits, "memory")[1](0, 4)
    made, train = prepared(splits, "memory")
    made.reset(half)
    assert same_bits(train(4, STEPS), whole)
    assert not same_bits(prepared(splits, "memory", augmentation=None)[1](0, STEPS), whole)


@pytest.mark.slow
def test_replicas_and_xla_change_the_images_alike(splits):
    one = prepared(splits, "memory")[1](0, STEPS)
    for options in ({"replicas": 2}, {"jit": True}):
        other = prepared(splits, "memory", **options)[1](0, STEPS)
        for left, right in zip(one, other, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_an_evaluation_sees_images_as_they_are(splits, kind):
    strategy = devices.strategy(1)
    plain, changing = (batches.source(splits[kind], BATCH, 0, strategy, one) for one in (None, AUGMENTATION))
    seen = [
        [source.take(_local(source), batch)[0].numpy() for batch in source.eval_batches()]
        for source in (plain, changing)
    ]
    assert same_bits(*seen)


def _local(source):
    return tf.nest.map_structure(lambda value: getattr(value, "values", [value])[0], source.arrays)
