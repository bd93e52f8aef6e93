"""Folders of images: what is read, that streams give the same, and what is refused in a sentence."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import tensorflow as tf

from tests.support import media
from trainer.data import dataset
from trainer.data.examples import IMAGE, FileOptions
from trainer.data.readers import images

NOTHING = FileOptions()


def read(root, **options):
    return images.read(str(root), FileOptions(**options))


def damage(path):
    path.write_bytes(path.read_bytes()[:40])


def test_images_are_read_class_by_class(tmp_path):
    raw = read(media.images(tmp_path))
    assert (raw.kind, raw.classes, raw.warnings, list(raw.parts)) == (IMAGE, ("cat", "dog"), (), ["train"])
    train = raw.parts["train"]
    assert (train.num_examples, train.features.dtype, train.labels.tolist()) == (5, np.uint8, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(train.features, [media.pixels(number) for number in range(5)])


def test_every_format_is_read_and_the_content_decides_which_it_is(tmp_path):
    media.images(tmp_path)
    media.write_image(tmp_path / "dog" / "2.bmp", media.pixels(7))
    jpeg = media.write_image(tmp_path / "dog" / "3.jpg", media.pixels(8))
    # An animation of one grey picture of one pixel.
    gif = bytes.fromhex("47494638396101000100800000808080ffffff2c00000000010001000002024401003b")
    (tmp_path / "dog" / "4.gif").write_bytes(gif)
    (tmp_path / "dog" / "5.JPEG").write_bytes((tmp_path / "cat" / "0.png").read_bytes())
    found = read(tmp_path, image_size=(4, 6)).parts["train"].features
    np.testing.assert_array_equal(found[5], media.pixels(7))
    np.testing.assert_array_equal(found[6], tf.io.decode_jpeg(jpeg.read_bytes()))
    assert (found[7] == 128).all()
    np.testing.assert_array_equal(found[8], media.pixels(0))


def test_grey_images_have_one_channel_if_all_are_grey(tmp_path):
    media.images(tmp_path, shape=(4, 6, 1))
    # Grey with alpha, which is dropped.
    media.write_image(tmp_path / "dog" / "2.png", media.pixels(9, (4, 6, 2)))
    found = read(tmp_path).parts["train"].features
    assert found.shape == (6, 4, 6, 1)
    np.testing.assert_array_equal(found[5], media.pixels(9, (4, 6, 2))[..., :1])
    media.write_image(tmp_path / "dog" / "3.png", media.pixels(8, (4, 6, 4)))
    mixed = read(tmp_path).parts["train"].features
    np.testing.assert_array_equal(mixed[:6], np.repeat(found, 3, axis=-1))
    np.testing.assert_array_equal(mixed[6], media.pixels(8, (4, 6, 4))[..., :3])


def test_images_are_resized_on_request(tmp_path):
    media.images(tmp_path)
    media.write_image(tmp_path / "dog" / "2.png", media.pixels(9, (8, 12, 3)))
    found = read(tmp_path, image_size=(2, 3)).parts["train"].features
    assert found.shape == (6, 2, 3, 3)
    expected = tf.image.resize(media.pixels(9, (8, 12, 3)), (2, 3), antialias=True)
    np.testing.assert_array_equal(found[5], np.round(expected))


def test_parts_and_classes_of_a_folder_with_parts(tmp_path):
    media.images(tmp_path / "train")
    media.images(tmp_path / "test", {"dog": 1})
    raw = read(tmp_path)
    assert {part: one.labels.tolist() for part, one in raw.parts.items()} == {"train": [0, 0, 0, 1, 1], "test": [1]}


def test_a_set_too_large_for_memory_is_streamed_with_the_same_images(tmp_path, monkeypatch):
    media.images(tmp_path / "train", {"cat": 30, "dog": 20})
    media.images(tmp_path / "test", {"dog": 3})
    whole = read(tmp_path)
    monkeypatch.setattr(dataset, "MEMORY_LIMIT", 3000)
    raw = read(tmp_path)
    assert raw.fingerprint == whole.fingerprint
    assert raw.parts["test"].stream is None
    streamed, expected = raw.parts["train"], whole.parts["train"]
    assert (streamed.num_examples, streamed.features) == (50, None)
    found = {image.tobytes(): label for image, label in streamed.stream().as_numpy_iterator()}
    assert found == {image.tobytes(): label for image, label in zip(expected.features, expected.labels, strict=True)}
    labels = [label for _, label in streamed.stream().as_numpy_iterator()]
    # Not class by class, and the labels are known without decoding.
    assert labels == streamed.labels.tolist() != sorted(labels)
    some = streamed.rows(np.arange(50) % 7 == 0)
    assert [label for _, label in some.stream().as_numpy_iterator()] == labels[::7] == some.labels.tolist()


def test_a_fingerprint_follows_from_names_and_contents(tmp_path):
    first = read(media.images(tmp_path / "a")).fingerprint
    assert read(media.images(tmp_path / "b")).fingerprint == first
    media.write_image(tmp_path / "b" / "dog" / "1.png", media.pixels(99))
    changed = read(tmp_path / "b").fingerprint
    (tmp_path / "a" / "dog" / "1.png").rename(tmp_path / "a" / "dog" / "2.png")
    assert len({first, changed, read(tmp_path / "a").fingerprint}) == 3


@pytest.mark.parametrize("limit", [dataset.MEMORY_LIMIT, 10])
def test_damaged_images_are_named_and_counted_and_left_out_on_request_only(limit, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "MEMORY_LIMIT", limit)
    media.images(tmp_path)
    damage(tmp_path / "cat" / "1.png")
    (tmp_path / "dog" / "1.png").write_bytes(b"")
    words = "2 images of `.*` cannot be decoded, the first is `.*cat/1.png`; mend them or add --skip_damaged"
    with pytest.raises(ValueError, match=words):
        read(tmp_path)
    raw = read(tmp_path, skip_damaged=True)
    assert len(raw.warnings) == 1
    assert "2 images of" in raw.warnings[0]
    assert "left out, the first is" in raw.warnings[0]
    train = raw.parts["train"]
    assert sorted(train.labels.tolist()) == [0, 0, 1]
    if train.features is not None:
        np.testing.assert_array_equal(train.features, [media.pixels(number) for number in (0, 2, 3)])
    else:
        assert len(list(train.stream())) == 3


def test_a_long_row_of_damaged_images_leaves_the_others_in_order(tmp_path, monkeypatch):
    # So many that one of the threads which decode gets none that is whole.
    monkeypatch.setattr(images, "_BATCH", 2)
    for number in range(12):
        path = media.write_image(tmp_path / "cat" / f"{number:02}.png", media.pixels(number))
        if number < 5:
            damage(path)
    media.write_image(tmp_path / "dog" / "0.png", media.pixels(12))
    train = read(tmp_path, skip_damaged=True).parts["train"]
    np.testing.assert_array_equal(train.features, [media.pixels(number) for number in range(5, 13)])
    assert train.labels.tolist() == [0] * 7 + [1]


def test_the_first_image_may_be_damaged(tmp_path):
    media.images(tmp_path)
    damage(tmp_path / "cat" / "0.png")
    assert read(tmp_path, skip_damaged=True).parts["train"].num_examples == 4


def test_a_class_that_is_all_damaged_is_refused(tmp_path):
    media.images(tmp_path)
    for path in (tmp_path / "dog").iterdir():
        damage(path)
    with pytest.raises(ValueError, match="among them every one of the class `dog` in the part train"):
        read(tmp_path, skip_damaged=True)
    for path in (tmp_path / "cat").iterdir():
        damage(path)
    with pytest.raises(ValueError, match=r"None of the 5 images of .* can be decoded; the first is `.*cat/0.png`"):
        read(tmp_path, skip_damaged=True)


@pytest.mark.parametrize("limit", [dataset.MEMORY_LIMIT, 10])
def test_sizes_that_differ_are_named_with_the_flag(limit, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "MEMORY_LIMIT", limit)
    media.images(tmp_path)
    media.write_image(tmp_path / "dog" / "0.png", media.pixels(9, (5, 7, 3)))
    words = r"cat/0.png` is 4x6 and `.*dog/0.png` is 5x7 \(height x width\); add --image_size=4,6 to resize"
    with pytest.raises(ValueError, match=words):
        read(tmp_path)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    media.images(tmp_path)
    (tmp_path / "cat" / "1.png").write_bytes(b"")

    def forbidden(path, *arguments):
        if str(path).endswith("1.png"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments)

    opened = builtins.open
    monkeypatch.setattr(builtins, "open", forbidden)
    with pytest.raises(ValueError, match=r"cat/1.png` cannot be read: Permission denied"):
        read(tmp_path, skip_damaged=True)
