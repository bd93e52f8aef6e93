"""A sparsity spread over layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from constraints import REGISTRY, schedules
from tests.support.rules import rule_of
from trainer.rules import sparsity_distribution

SHAPES = [(784, 300), (300, 100), (100, 10), (3, 3, 16, 32)]


def variables():
    return [keras.Variable(np.zeros(shape, np.float32)) for shape in SHAPES]


def sizes():
    return np.array([np.prod(shape) for shape in SHAPES], float)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.8, 0.9, 0.99])
def test_erdos_renyi_keeps_the_total_and_its_proportions(sparsity):
    own = np.array(sparsity_distribution.erdos_renyi(SHAPES, sparsity))
    assert np.all((own >= 0.0) & (own < 1.0))
    np.testing.assert_allclose(own @ sizes(), sparsity * sizes().sum(), rtol=1e-12, atol=1e-9)
    raw = np.array([sum(shape) / np.prod(shape) for shape in SHAPES])
    partial = own > 0.0
    if partial.sum() > 1:
        ratios = (1.0 - own[partial]) / raw[partial]
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)
    if not partial.all():
        # Those that are full would be more than full at the scale of the others.
        scale = ((1.0 - own[partial]) / raw[partial])[0] if partial.any() else 1.0 / raw.min()
        assert np.all(raw[~partial] * scale >= 1.0 - 1e-9)


def test_small_layers_stay_dense_where_large_ones_become_sparse():
    own = sparsity_distribution.erdos_renyi(SHAPES, 0.9)
    assert own[2] == 0.0
    assert own[0] > own[1] > own[2]


def test_a_schedule_is_spread_step_by_step():
    rule = rule_of("topk", sparsity_distribution="erk")
    moving = REGISTRY["topk"](schedules.polynomial(0.0, 0.9, end=100))
    shared = sparsity_distribution.distribute(rule, moving, variables())
    for step in (0, 13, 50, 100, 120):
        values = [float(one.at(step).value("sparsity")) for one in shared]
        wanted = float(moving.at(step).value("sparsity"))
        np.testing.assert_allclose(values, sparsity_distribution.erdos_renyi(SHAPES, wanted), atol=2e-4)
        np.testing.assert_allclose(values @ sizes() / sizes().sum(), wanted, atol=1e-4)
    assert [float(one.at(100).value("sparsity")) for one in shared] == sparsity_distribution.erdos_renyi(SHAPES, 0.9)


def test_uniform_and_none_are_the_same_for_all():
    sparse = REGISTRY["topk"](0.9)
    for name in (None, "uniform"):
        assert sparsity_distribution.distribute(rule_of("topk", sparsity_distribution=name), sparse, variables()) == [
            sparse
        ] * len(SHAPES)
    own = sparsity_distribution.distribute(rule_of("topk", sparsity_distribution="erk"), sparse, variables())
    assert [one.sparsity for one in own] == sparsity_distribution.erdos_renyi(SHAPES, 0.9)


@pytest.mark.parametrize("name", ["erk", "uniform"])
def test_only_a_sparsity_can_be_spread(name):
    with pytest.raises(
        ValueError, match=f"sparsity_distribution={name} means nothing to maxnorm, which has no sparsity"
    ):
        sparsity_distribution.distribute(
            rule_of("maxnorm", sparsity_distribution=name), REGISTRY["maxnorm"](), variables()
        )
