"""Random changes of training images: what each does, and that the seed and the step alone decide about it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.support.tiny_experiment import same_bits
from trainer.data import augment
from trainer.data.augment import Augmentation
from trainer.runtime import replicas as devices

SHAPE = (8, 16, 3)
IMAGES = np.random.default_rng(0).random((6, *SHAPE), np.float32)
# Not one image changes at all, and every image is like the others.
ALIKE = np.broadcast_to(IMAGES[0], IMAGES.shape)


def changed(name: str, images=IMAGES, seed: int = 0, step: int = 0) -> np.ndarray:
    names = name.split(",")
    return Augmentation(names, seed, images.shape[1:])(tf.constant(images), tf.constant(step, tf.int64)).numpy()


every_name = pytest.mark.parametrize("name", [*augment.NAMES, "flip,crop,contrast"])


@every_name
def test_the_seed_and_the_step_alone_decide(name):
    once = changed(name, step=3)
    assert once.shape == IMAGES.shape
    assert once.dtype == np.float32
    # However many steps an augmentation has made.
    again = Augmentation(name.split(","), 0, SHAPE)
    for step in (1, 2):
        again(tf.constant(IMAGES), tf.constant(step, tf.int64))
    assert same_bits([once], [again(tf.constant(IMAGES), tf.constant(3, tf.int64))])
    assert not same_bits([once], [changed(name, step=4)])
    assert not same_bits([once], [changed(name, seed=1, step=3)])


@every_name
def test_every_image_changes_in_its_own_way(name):
    found = {image.tobytes() for image in changed(name, ALIKE)}
    assert len(found) == 2 if name == "flip" else len(found) > 3


@every_name
def test_images_stay_within_their_range(name):
    found = changed(name)
    assert found.min() >= 0
    assert found.max() <= 1


@every_name
def test_two_replicas_draw_what_one_draws(name):
    strategy = devices.strategy(2)
    augmentation = Augmentation(name.split(","), 0, SHAPE)
    parts = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(np.split(IMAGES, 2)[context.replica_id_in_sync_group])
    )

    @tf.function(autograph=False)
    def run(images, step):
        return strategy.run(augmentation, args=(images, step))

    found = strategy.experimental_local_results(run(parts, tf.constant(5, tf.int64)))
    np.testing.assert_allclose(np.concatenate(found), changed(name, step=5), atol=1e-6)


def test_a_flip_mirrors_left_to_right():
    found = changed("flip")
    mirrored = [not np.array_equal(one, image) for one, image in zip(found, IMAGES, strict=True)]
    assert 0 < sum(mirrored) < len(IMAGES)
    for one, image, mirror in zip(found, IMAGES, mirrored, strict=True):
        np.testing.assert_array_equal(one, image[:, ::-1] if mirror else image)


def test_a_crop_moves_by_whole_pixels_and_fills_with_zeros():
    image = np.arange(1, 8 * 16 + 1, dtype=np.float32).reshape(1, 8, 16, 1) / 200
    moves = set()
    for step in range(40):
        found = changed("crop", image, step=step)[0, :, :, 0]
        # Up to an eighth of each side.
        down, right = next(
            (down, right)
            for down in range(-1, 2)
            for right in range(-2, 3)
            if np.array_equal(found, shifted(image[0, :, :, 0], down, right))
        )
        moves.add((down, right))
    assert {down for down, _ in moves} == {-1, 0, 1}
    assert {right for _, right in moves} == {-2, -1, 0, 1, 2}


def shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """An image that was moved, with zeros where it was."""
    height, width = image.shape
    room = np.pad(image, ((1, 1), (2, 2)))
    return room[1 - down : 1 - down + height, 2 - right : 2 - right + width]


def test_brightness_and_contrast_keep_their_bounds():
    grey = np.full((50, *SHAPE), 0.5, np.float32)
    added = changed("brightness:0.1", grey)[:, 0, 0, 0] - 0.5
    assert np.abs(added).max() <= 0.1 + 1e-6
    assert added.min() < 0 < added.max()
    np.testing.assert_allclose(changed("contrast", grey), grey, atol=1e-6)


def test_a_strength_may_be_given():
    assert np.abs(changed("rotate:0.01") - IMAGES).mean() < np.abs(changed("rotate:0.3") - IMAGES).mean()


def test_values_that_a_change_would_cut_off_are_refused():
    both = Augmentation(["flip", "contrast"], 0, SHAPE)
    both.check(IMAGES)
    both.check(np.full(3, 255, np.uint8))
    Augmentation(["flip"], 0, SHAPE).check(IMAGES - 0.5)
    with pytest.raises(ValueError, match=r"--augment=contrast keeps values within \[0, 1\], and those of"):
        both.check(IMAGES - 0.5)


@pytest.mark.parametrize(
    ("names", "shape", "words"),
    [
        (
            ["flip", "blur"],
            SHAPE,
            "--augment=flip,blur: `blur` is not known; choose from brightness, contrast, crop, fl",
        ),
        (["flip", "flip"], SHAPE, "has `flip` twice"),
        (["flip:0.1"], SHAPE, "`flip` has no strength; write `flip`"),
        (["zoom:2"], SHAPE, "`zoom:2` has the strength `2`; expected a number between 0 and 1"),
        (["zoom:"], SHAPE, "`zoom:` has the strength ``"),
        (["zoom:much"], SHAPE, "has the strength `much`"),
        (["flip"], (30,), r"changes images, and an example has the shape \(30,\)"),
    ],
)
def test_what_is_no_change_of_images_is_refused_in_a_sentence(names, shape, words):
    with pytest.raises(ValueError, match=words):
        Augmentation(names, 0, shape)
