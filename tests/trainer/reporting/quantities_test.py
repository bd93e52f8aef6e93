"""Verdicts on numbers and their bounds, and groups cut out of tensors without TensorFlow."""

from __future__ import annotations

import math

import numpy as np
import pytest

from constraints import REGISTRY
from trainer.reporting.quantities import Quantity, Seen


def judged(values, **bounds) -> dict:
    values = np.array(values, np.float64)
    return Quantity("number", values, **bounds).judged(values.shape)


@pytest.mark.parametrize(
    ("values", "bounds", "worst", "violation", "feasible"),
    [
        ([1.0, 3.0, 2.0], {"high": 2.0}, 1, 0.5, False),
        ([1.0, 3.0, 2.0], {"high": 4.0}, 1, 0.0, True),
        ([1.0, -3.0, 2.0], {"low": -2.0}, 1, 0.5, False),
        ([1.0, 5.0, 0.2], {"low": 1.0, "high": 4.0}, 2, 0.8, False),
        ([1.0, 2.0], {"low": 1.5, "high": 1.5, "tolerance": 0.4}, 0, 1 / 3, True),
        # Of several that miss a bound, the worst of those that rounding does not forgive.
        ([2.1, 1.0], {"high": 0.0, "tolerance": 0.1, "scale": np.array([30.0, 1.0])}, 1, 1.0, False),
        ([0.0, 1e-320], {"high": 0.0}, 1, 1.0, False),
        ([0.0, -1e-320], {"low": 0.0, "scale": np.array([1e300, 1e300])}, 1, 0.0, False),
        ([1e-9, 0.0], {"high": 0.0, "room": 1e-9}, 0, 0.0, True),
        ([0.0, math.nan], {"high": 1.0}, 1, None, False),
        ([0.0, math.inf], {"high": 1.0}, 1, None, False),
        ([math.inf], {"low": 0.0}, 0, 0.0, True),
    ],
)
def test_the_verdict_on_the_worst_group(values, bounds, worst, violation, feasible):
    found = judged(values, **bounds)
    assert found["worst_group"] == [worst]
    assert found["largest_violation"] == (violation if violation is None else pytest.approx(violation))
    assert found["feasible"] is feasible


def test_without_groups_nothing_is_wrong():
    found = judged([], high=1.0)
    assert (found["worst_group"], found["largest_violation"], found["feasible"]) == (None, 0.0, True)


@pytest.mark.parametrize("axes", [None, (0, 2), 1, -1, ()])
def test_groups_lie_in_rows(axes):
    w = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    seen = Seen.of(REGISTRY["none"](), w, axes, None, joint=False)
    norms = REGISTRY["none"](axis=axes).norm(w).numpy()
    assert seen.places == norms.shape
    np.testing.assert_allclose(np.sqrt(np.sum(seen.x**2, axis=1)).reshape(norms.shape), norms)


def test_matrices_have_their_units_in_columns():
    w = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    seen = Seen.of(REGISTRY["none"](), w, (0, 3), 2, joint=True)
    assert (seen.x.shape, seen.places) == ((4, 10, 3), (4,))
    np.testing.assert_array_equal(seen.x[1, :, 2], w[:, 2, 1, :].ravel())
    seen = Seen.of(REGISTRY["none"](), w, None, 0, joint=True)
    np.testing.assert_array_equal(seen.x[1, :, 2], w[1, :, :, 2].ravel())
