"""Fast paths are found by one table, and equal their set's reference within two units in the last place.

`generated_laws_test` and `adversarial_laws_test` hold the second law over small groups of every kind.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, base
from tests.support import oracles
from tests.support.cases import CASES, close, weights
from tests.support.oracles import bits
from tests.support.processes import ROOT
from tests.support.suites import fast, of_each_kind

WITH_ONE = [case for case in CASES if base._fast_path(REGISTRY[case.name])]
# On both sides of where fast paths change.
SHAPES = [(60, 40), (160, 120), (1000, 200)]


def test_every_file_is_in_the_table_and_every_entry_has_its_files():
    files = {path.stem for path in (ROOT / "constraints" / "fast").glob("[a-z]*.py")}
    assert files == set(base.FAST_PATHS.values())
    for name in base.FAST_PATHS:
        assert (ROOT / "constraints" / f"{name.replace('.', '/')}.py").is_file()


def test_a_subclass_keeps_the_path_of_its_formula_alone():
    class Renamed(REGISTRY["topk"]):
        """The same formula."""

    class Other(REGISTRY["topk"]):
        """Another formula."""

        def _project(self, x, dtype):
            return x

    assert base._fast_path(Renamed) is base._fast_path(REGISTRY["topk"])
    assert base._fast_path(Other) is None
    assert base._fast_path(REGISTRY["simplextopk"]) is None


@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
@pytest.mark.parametrize("case", WITH_ONE, ids=str)
def test_it_is_the_reference(case, shape):
    agree(case, weights(case, "float32", shape))


@pytest.mark.parametrize("kind", fast(["plain", "ties", "zeros", "inside", "bad"], "bad"))
@pytest.mark.parametrize("case", of_each_kind(WITH_ONE), ids=str)
def test_it_is_the_reference_on_large_tensors(case, kind):
    w = weights(case, "float32", SHAPES[2])
    w *= np.random.default_rng(9).uniform(0.0, 2.0, w.shape[1]).astype(np.float32)
    if kind == "ties":
        w[:, 100:] = -w[:, :100]
    elif kind == "zeros":
        w[:, 50:] = 0.0
    elif kind == "inside":
        w *= np.float32(1e-8)
    elif kind == "bad":
        w[3, 5], w[4, 7] = np.nan, -np.inf
    p = agree(case, w)
    if case.spectral:
        return  # XLA takes minutes.
    compiled = oracles.array(tf.function(case.constraint.project, autograph=False, jit_compile=True)(w))
    close(case, np.nan_to_num(compiled), np.nan_to_num(p).astype(np.float64), "float32")


def agree(case, w):
    """Projects, holds the fast path against the reference, and the result against a second projection."""
    constraint = case.constraint
    layout = constraint._layout(tf.TensorShape(w.shape), None)
    reference = layout.restore(constraint._project_reference(layout.columns(tf.constant(w)))).numpy()
    p = constraint(w).numpy()
    good = np.isfinite(reference).all(axis=None if case.joint else 0) & np.ones(w.shape, bool)
    np.testing.assert_array_equal(bits(p[~good]), bits(reference[~good]))
    expected = np.where(good, reference, 0.0).astype(np.float64)
    close(case, np.where(good, p, 0.0), expected, "float32", scale=np.max(np.abs(w), where=good, initial=0.0))
    np.testing.assert_array_equal(bits(constraint(p)), bits(p))
    return p


@pytest.mark.parametrize("name", [name for name, kind in REGISTRY.items() if kind.proximal and base._fast_path(kind)])
def test_a_penalty_is_its_reference(name):
    w = np.random.default_rng(0).standard_normal((160, 120)).astype(np.float32)
    constraint = REGISTRY[name](0.5)
    np.testing.assert_allclose(constraint(w), constraint._project_reference(tf.constant(w)), rtol=2.0**-22)
