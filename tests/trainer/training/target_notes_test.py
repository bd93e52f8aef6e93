"""What `--target` says of a rule that it cannot make fast."""

from __future__ import annotations

import keras
import pytest

from constraints import Block, MaxNorm, TopK, UnitSparse
from trainer import Rule, match
from trainer.training.target_notes import explained, notes


@pytest.fixture(scope="module")
def model():
    layers = [
        keras.layers.Conv2D(16, 4, name="conv"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(16, name="dense"),
    ]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers])


def told(model, constraint, variables, aim="tflite"):
    return notes(aim, match(Rule(constraint, variables=variables), model, total_steps=1))


@pytest.mark.parametrize("constraint", [Block(0.5, block=(16, 1)), Block(0.5, block=(4, 4)), UnitSparse(0.5)])
def test_patterns_that_run_fast_need_no_word(model, constraint):
    assert told(model, constraint, "dense/kernel") == ()


@pytest.mark.parametrize(
    ("constraint", "said"),
    [
        (Block(0.5, block=(1, 16)), "--block=1,16 makes TFLite files smaller, but not faster; --block=16,1 does both"),
        (Block(0.5, block=(2, 1)), "--block=2,1 makes"),
        (TopK(0.5), "zeros of topk make TFLite files smaller, but not faster"),
    ],
)
def test_others_get_a_sentence(model, constraint, said):
    (sentence,) = told(model, constraint, "dense/kernel")
    assert said in sentence
    assert sentence.startswith("--target=tflite")
    assert told(model, constraint, "dense/kernel", aim=None) == ()


def test_convolutions_are_named(model):
    (sentence,) = told(model, Block(0.5, block=(16, 1)), "*/kernel")
    assert "stores conv/kernel without zeros" in sentence
    assert "dense/kernel" not in sentence


def test_blocks_that_do_not_fit_are_said_to_be_the_targets():
    model = keras.Sequential([keras.Input([20]), keras.layers.Dense(8)])
    rule = Rule(Block(0.5, block=(16, 1)))
    with (
        pytest.raises(
            ValueError, match=r"16,1 does not divide .* --target=tflite has `block` take 16,1: add --block=4,1"
        ),
        explained("tflite"),
    ):
        match(rule, model, total_steps=1)
    with pytest.raises(ValueError, match="16,1 does not divide") as caught, explained(None):
        match(rule, model, total_steps=1)
    assert "--target" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^another mistake$"), explained("tflite"):
        raise ValueError("another mistake")


def test_a_rule_over_several_variables_has_one_sentence(model):
    assert len(told(model, MaxNorm(1.0), "*/kernel")) == 1
