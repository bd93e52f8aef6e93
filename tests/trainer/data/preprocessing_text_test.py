"""Texts become token ids by what the training texts taught, and by the saved model alike."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import numpy as np
import pytest

from trainer.data import preprocessing, preprocessing_text
from trainer.data.examples import TEXT, Examples, FileOptions, Raw

TRAIN = ["The cat sat.", "the CAT ran away", "the dog", ""]


def learn(train=TRAIN, test=("a zebra",), **options):
    parts = {name: Examples(len(texts), np.array(texts, object)) for name, texts in (("train", train), ("test", test))}
    return preprocessing_text.learn(Raw("texts", TEXT, parts), FileOptions(**options))


def test_words_are_numbered_by_how_often_the_training_texts_have_them():
    learnt = learn()
    assert (learnt.input_shape, learnt.vocabulary_size, learnt.warnings) == ((4,), 8, ())
    ids = learnt(np.array(TRAIN))
    assert ids.dtype == np.int32
    assert ids[:3, :2].tolist() == [[2, 3], [2, 3], [2, ids[2, 1]]]
    assert ids[3].tolist() == [0, 0, 0, 0]
    assert ids.max() == learnt.vocabulary_size - 1
    # Words of the test texts alone are unknown, and what is too long is cut.
    assert learnt(np.array(["zebra", "the the the the the"], object)).tolist() == [[1, 0, 0, 0], [2, 2, 2, 2]]


def test_a_vocabulary_keeps_the_most_frequent_words():
    learnt = learn(vocabulary_size=4, text_length=2)
    assert (learnt.input_shape, learnt.vocabulary_size) == ((2,), 4)
    assert learnt(np.array(["the cat dog", "dog"])).tolist() == [[2, 3], [1, 0]]


def test_a_single_long_text_does_not_decide_the_length():
    learnt = learn([*TRAIN, "the " * 1000])
    assert learnt.input_shape == (preprocessing_text.LONGEST,)
    assert learnt.warnings == (
        "1 of 5 training texts are longer than 256 words and lose their end; --text_length=1000 keeps all of them "
        "whole.",
    )


def test_many_texts_are_gone_through_in_batches(monkeypatch):
    whole = learn()(np.array(TRAIN))
    monkeypatch.setattr(preprocessing_text, "_BATCH", 3)
    monkeypatch.setattr(preprocessing, "BATCH", 3)
    np.testing.assert_array_equal(learn()(np.array(TRAIN)), whole)


@pytest.mark.parametrize(
    ("train", "options", "words"),
    [
        (["", " !"], {}, "The training texts of `texts` have no word"),
        (TRAIN, {"vocabulary_size": 2}, "--vocabulary_size=2 leaves no word; expected at least 3"),
        (TRAIN, {"text_length": 0}, "--text_length=0 is out of range; expected at least 1"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_in_a_sentence(train, options, words):
    with pytest.raises(ValueError, match=words):
        learn(train, **options)


@pytest.mark.slow
def test_the_saved_model_gives_the_same_ids_where_this_project_is_not_known(tmp_path):
    learnt = learn()
    texts = np.array(["the cat, a zebra", "", "ran Away"])
    learnt.save(tmp_path)
    with zipfile.ZipFile(tmp_path / "preprocessing.keras") as archive:
        assert b"away" in archive.read("config.json")
    program = (
        "import keras, sys, tensorflow as tf\n"
        "model = keras.models.load_model('preprocessing.keras')\n"
        f"print(model(tf.constant({texts.tolist()!r})).numpy().tolist())\n"
        "assert 'trainer' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert preprocessing.load(tmp_path).vocabulary_size == learnt.vocabulary_size
    assert done.stdout.strip().splitlines()[-1] == str(learnt(texts).tolist())
