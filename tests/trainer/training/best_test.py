"""Which evaluation is the best."""

from __future__ import annotations

import math

import pytest
import tensorflow as tf

from trainer.training.best import Best

NAMES = ("loss", "accuracy", "mae")


def best(**choice) -> Best:
    return Best(tf.Variable([-math.inf, math.inf, 0.0], dtype=tf.float64), NAMES, **choice)


def offered(one: Best, *results: tuple[float, float, float]) -> list[bool]:
    return [one.offer(step, dict(zip(NAMES, result, strict=True))) for step, result in enumerate(results, start=1)]


def test_accuracy_decides_and_the_loss_where_it_is_equal():
    one = best()
    assert not one.known
    assert offered(one, (1.0, 0.5, 9), (2.0, 0.6, 9), (1.5, 0.6, 9), (0.1, 0.4, 0)) == [True, True, True, False]
    assert (one.known, one.name, one.value, one.loss, one.step) == (True, "accuracy", 0.6, 1.5, 3)


@pytest.mark.parametrize("monitor", ["mae", "val_mae"])
def test_an_error_is_better_when_it_is_lower(monitor):
    one = best(monitor=monitor)
    assert offered(one, (1, 0.9, 2.0), (1, 0.1, 1.0), (1, 0.9, 3.0)) == [True, True, False]
    assert (one.name, one.value) == ("mae", 1.0)


def test_the_mode_decides_what_the_name_does_not():
    one = best(monitor="mae", mode="max")
    assert offered(one, (1, 0.9, 2.0), (1, 0.1, 1.0)) == [True, False]


def test_what_is_not_a_number_is_never_the_best():
    assert offered(best(monitor="mae"), (1, 1, math.nan), (1, 1, 2.0), (1, 1, math.nan)) == [False, True, False]


def test_a_number_that_no_evaluation_gives_is_refused():
    with pytest.raises(ValueError, match="monitor=val_auc is none of an evaluation's numbers: loss, accuracy, mae"):
        best(monitor="val_auc")
