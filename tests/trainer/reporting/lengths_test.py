"""Norms in NumPy are the norms that the sets themselves speak of."""

from __future__ import annotations

import numpy as np
import pytest

from constraints import REGISTRY, Intersection
from tests.trainer.reporting.definitions_test import PARTS
from trainer.reporting import certificate, lengths


@pytest.mark.parametrize("name", [*REGISTRY, *PARTS])
@pytest.mark.parametrize("axis", [None, (0, 2), 2])
def test_norms_are_those_of_the_set(name, axis):
    if name == "block" or (name == "orthogonal" and axis == 2):
        pytest.skip("takes no weights of this shape")
    w = np.random.default_rng(0).standard_normal((5, 2, 3))
    options = {"lowrank": {"rank": 2}, "nm": {"along": 2} if axis == (0, 2) else {}}.get(name, {})
    rule = Intersection(PARTS[name], axis=axis) if name in PARTS else REGISTRY[name](**options, axis=axis)
    norms = np.sort(rule.norm(w).numpy().ravel())
    np.testing.assert_allclose(np.sort(certificate.norms_of(rule, w).ravel()), norms, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-320, 1e-160, 1.0, 1e160, 1e300])
def test_no_square_overflows_or_vanishes(scale):
    np.testing.assert_allclose(lengths.l2(np.array([[3.0, 4.0], [0.0, 0.0]]) * scale), [5.0 * scale, 0.0], rtol=1e-3)


def test_a_matrix_that_is_not_finite_hides_no_other():
    matrices = np.stack([np.eye(3), np.full((3, 3), np.nan), 2 * np.eye(3)])
    np.testing.assert_array_equal(lengths.singular_values(matrices)[:, 0], [1.0, np.nan, 2.0])
