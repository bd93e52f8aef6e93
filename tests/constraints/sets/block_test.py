"""Tests of block-sparse kernels."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, schedules
from tests.support import matrix_oracles, oracles
from tests.support.oracles import DTYPES, bits
from tests.support.suites import fast

Block = REGISTRY["block"]

CASES = [{"sparsity": 0.6, "block": (2, 2)}]


def fit(shape):
    """The nearest shape of a kernel, of an even number of rows and of columns."""
    size, units = math.prod(shape[:-1]), shape[-1] if shape else 1
    if 2 <= len(shape) <= 4 and size % 2 == units % 2 == 0:
        return shape
    return max(size // 2, 1) * 2, max(units // 2, 1) * 2


def oracle(x, sparsity, block):
    return matrix_oracles.sparse(x, numbered(x, block), sparsity)


def violation(x, sparsity, block):
    return matrix_oracles.too_many(x, numbered(x, block), sparsity)


def numbered(x, block):
    """The number of each weight's block."""
    rows, columns = np.indices(x.shape)
    return rows // block[0] * (x.shape[1] // block[1]) + columns // block[1]


def modes(constraint):
    return constraint, tf.function(constraint), tf.function(constraint, jit_compile=True)


def tiles(w, rows, columns):
    """[blocks, rows, columns], row-major over blocks."""
    return np.array(
        [
            w[top : top + rows, left : left + columns]
            for top in range(0, w.shape[0], rows)
            for left in range(0, w.shape[1], columns)
        ]
    )


def test_exact_cases():
    w = np.float32([[3.0, 0.0, 1.0, -2.0], [-4.0, 0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(Block(0.5, block=(1, 2))(w), [[3, 0, 0, 0], [-4, 0, 0, 0]])
    np.testing.assert_array_equal(Block(0.5, block=(2, 1))(w), [[3, 0, 0, -2], [-4, 0, 0, 0]])
    np.testing.assert_array_equal(Block(0.5, block=(2, 2))(w), [[3, 0, 0, 0], [-4, 0, 0, 0]])
    np.testing.assert_array_equal(Block(0.5, block=(1, 1))(w), [[3, 0, 1, -2], [-4, 0, 0, 0]])
    np.testing.assert_allclose(Block(0.5, block=(2, 2)).distance(w), 6**0.5)
    np.testing.assert_allclose(Block(0.5, block=(2, 2)).norm(w), np.linalg.norm(w))
    assert bool(Block(0.5, block=(2, 2)).active(w))
    assert not bool(Block(0.0, block=(2, 1)).active(w))


@pytest.mark.parametrize("block", [(2, 3), (1, 3), (4, 1)])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9])
def test_no_choice_of_blocks_is_nearer(block, sparsity):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 6))
    squares = np.sum(tiles(w, *block) ** 2, axis=(1, 2))
    kept = len(squares) - round(sparsity * len(squares))
    best = min(sum(np.delete(squares, keep)) for keep in map(list, itertools.combinations(range(len(squares)), kept)))
    p = Block(sparsity, block=block)(w).numpy()
    assert np.count_nonzero(np.any(tiles(p, *block) != 0, axis=(1, 2))) == kept
    np.testing.assert_allclose(np.sum((w - p) ** 2), best)


@pytest.mark.parametrize("dtype", fast(DTYPES, "bfloat16", "float32"))
def test_ties_go_to_the_first_row_major_over_blocks(dtype):
    rng = np.random.default_rng(1)
    values = rng.standard_normal(6).astype(DTYPES[dtype])
    w = np.zeros((6, 6), DTYPES[dtype])
    for top, left in itertools.product((0, 2, 4), (0, 3)):
        w[top : top + 2, left : left + 3] = rng.permutation(values).reshape(2, 3) * values.dtype.type(-1) ** left
    for project in modes(Block(0.5, block=(2, 3))):
        p = project(w).numpy()
        np.testing.assert_array_equal(bits(p[:2]), bits(w[:2]))
        np.testing.assert_array_equal(bits(p[2:4, :3]), bits(w[2:4, :3]))
        assert not np.any(bits(p[2:4, 3:]))
        assert not np.any(bits(p[4:]))


@pytest.mark.parametrize("dtype", fast(DTYPES, "bfloat16", "float32"))
@pytest.mark.parametrize("shape", fast([(48, 20), (3, 16, 20), (2, 6, 4, 20)], (3, 16, 20)), ids=str)
def test_many_weights_of_any_type_and_rank(dtype, shape):
    w = np.random.default_rng(2).standard_normal(shape).astype(DTYPES[dtype])
    for block, sparsity in (((4, 4), 0.8), ((1, 20), 0.5), ((16, 1), 0.25)):
        expected = oracles.project("block", w, block=block, sparsity=sparsity).astype(w.dtype)
        for project in modes(Block(sparsity, block=block)) if block == (4, 4) else [Block(sparsity, block=block)]:
            p = project(w).numpy()
            np.testing.assert_array_equal(bits(p), bits(expected))
            np.testing.assert_array_equal(bits(project(p)), bits(p))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_weight_anywhere_leaves_the_whole_kernel(bad):
    w = np.random.default_rng(3).standard_normal((40, 40)).astype(np.float32)
    w[7, 9] = bad
    for project in modes(Block(0.9)):
        np.testing.assert_array_equal(bits(project(w)), bits(w))


def test_other_axes_and_several_matrices():
    w = np.random.default_rng(4).standard_normal((12, 4, 18)).astype(np.float32)
    constraint = Block(0.5, block=(2, 3))
    turned = constraint(w.transpose(1, 2, 0)).numpy().transpose(2, 0, 1)
    np.testing.assert_array_equal(bits(constraint(w, axes=(1, 2))), bits(turned))
    with pytest.raises(ValueError, match="a matrix of 72 incoming weights by 12 units"):
        Block(block=(5, 3))(w, axes=(1, 2))
    for project in modes(Block(0.5, block=(2, 3), each=1)):
        p = project(w).numpy()
        for place in range(4):
            np.testing.assert_array_equal(bits(p[:, place]), bits(constraint(w[:, place])))


def test_the_derivative_is_a_mask():
    rng = np.random.default_rng(5)
    w, upstream = rng.standard_normal((2, 8, 12))
    w[:4, :4] = 0.0
    kept = Block(0.6)(w).numpy() != 0
    np.testing.assert_array_equal(Block(0.6).vjp(w, upstream), upstream * kept)
    np.testing.assert_array_equal(Block(0.1).vjp(w, upstream), upstream)


def test_a_ramp_of_sparsity_ends_at_the_exact_share():
    constraint = Block(schedules.polynomial(0.0, 0.9, end=100))
    w = np.random.default_rng(6).standard_normal((40, 40)).astype(np.float32)
    shares = [np.mean(constraint.at(step)(w).numpy() == 0) for step in (0, 20, 50, 100, 200)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-2:] == [0.9, 0.9]


@pytest.mark.parametrize("shape", [(), (16,), (2, 2, 2, 4, 4)])
def test_only_kernels_have_blocks(shape):
    with pytest.raises(ValueError, match=r"block=4,4 needs a kernel of rank 2 to 4"):
        Block()(np.zeros(shape))


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [((6, 4), "1, 2, 3, 6", "1, 2, 4"), ((4, 6), "1, 2, 4", "1, 2, 3, 6"), ((3, 3, 1, 4), "1, 3, 9", "1, 2, 4")],
)
def test_blocks_that_do_not_tile_are_refused_with_those_that_do(shape, rows, columns):
    message = f"block=4,4 does not divide weights of shape {shape}, .* rows of {rows} and columns of {columns}."
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        Block()(np.zeros(shape))


@pytest.mark.parametrize("bad", [(4,), (0, 4), (4, 4, 4), (2.0, 2), (True, 2), 4])
def test_a_block_is_two_whole_numbers(bad):
    with pytest.raises(ValueError, match="block="):
        Block(block=bad)


@pytest.mark.parametrize("bad", [1.0, -0.1, float("nan"), "0.5", schedules.linear(0.0, 1.0, end=3)])
def test_sparsity_lies_from_0_to_below_1(bad):
    with pytest.raises(ValueError, match="sparsity="):
        Block(bad)
