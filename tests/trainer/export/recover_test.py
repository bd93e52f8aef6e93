"""A model's weights are recognised among tensors that lost their names."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trainer.export import recover
from trainer.export.formats import Stored

RNG = np.random.default_rng(0)
KERNEL = RNG.standard_normal((3, 3, 4, 5)).astype(np.float32)
KERNEL[RNG.random(KERNEL.shape) < 0.5] = 0


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_of_axes_is_turned_back(order):
    (found,) = recover.by_value({"kernel": KERNEL}, [Stored("a", KERNEL.transpose(order))]).values()
    assert found.how == "exact"
    assert recover.same_bits(np.ascontiguousarray(found.values), KERNEL)


def quantised(values, zero_point=0):
    scale = np.abs(values).max(axis=(0, 1, 2)) / 127
    whole = np.round(values / scale) + zero_point
    return Stored("q", whole.astype(np.int8), scale.astype(np.float32), np.full(5, zero_point), axis=3)


def test_whole_numbers_stand_for_the_nearest_weights():
    stored = quantised(KERNEL)
    (found,) = recover.by_value({"kernel": KERNEL}, [stored]).values()
    assert found.how == "rounded"
    assert found.zeros_kept
    np.testing.assert_allclose(found.values, KERNEL, atol=float(stored.scale.max()) * 0.51)
    turned = Stored("q", stored.values.transpose(3, 0, 1, 2), stored.scale, stored.zero_point, axis=0)
    (again,) = recover.by_value({"kernel": KERNEL}, [turned]).values()
    np.testing.assert_array_equal(found.values, again.values)


def test_a_zero_that_became_a_number_is_seen():
    stored = quantised(KERNEL)
    stored.values[tuple(np.argwhere(KERNEL == 0)[0])] = 1
    # Half a step away it would pass for rounding.
    stored = Stored("q", stored.values, np.full(5, 1e-30, np.float32), stored.zero_point, axis=3)
    tiny = np.where(KERNEL == 0, 0, stored.real()).astype(np.float32)
    with pytest.raises(ValueError, match="holds no tensor like `kernel`"):
        recover.by_value({"kernel": tiny}, [stored])


def test_half_precision_rounds():
    (found,) = recover.by_value({"kernel": KERNEL}, [Stored("h", KERNEL.astype(np.float16))]).values()
    assert found.how == "rounded"
    assert found.zeros_kept


def test_a_normalisation_behind_the_layer_is_no_stranger():
    factors = RNG.random(5).astype(np.float32) + 0.5
    folded = Stored("f", (KERNEL * factors).transpose(3, 0, 1, 2))
    weights = {"kernel": KERNEL, "bias": np.ones(5, np.float32)}
    found = recover.by_value(weights, [folded])
    assert found["kernel"].how == "folded"
    assert found["kernel"].zeros_kept
    assert found["bias"].how == "merged"


def folded_and_rounded(kernel):
    folded = kernel * (RNG.random((1, 1, *kernel.shape[2:])).astype(np.float32) + 0.5)
    scale = np.abs(folded).max(axis=(0, 1, 3)) / 127
    scale[scale == 0] = 1
    whole = np.round(folded / scale[:, np.newaxis]).astype(np.int8)
    return Stored("q", whole.transpose(3, 0, 1, 2), scale.astype(np.float32), np.zeros(len(scale), np.int64), axis=3)


@pytest.mark.parametrize("seed", range(5))
def test_a_normalisation_may_be_folded_in_and_then_rounded(seed):
    # Few weights for each factor: rounding moves the nearest factor by as much as a weight.
    kernel = np.random.default_rng(seed).standard_normal((3, 3, 64, 1)).astype(np.float32)
    kernel[np.random.default_rng(seed).random(kernel.shape) < 0.6] = 0
    stored = folded_and_rounded(kernel)
    (found,) = recover.by_value({"kernel": kernel}, [stored]).values()
    assert found.how == "folded"
    assert found.zeros_kept
    other = kernel.copy()
    other[..., 0, 0] = kernel[::-1, ..., 1, 0] + 1
    with pytest.raises(ValueError, match="holds no tensor like `kernel`"):
        recover.by_value({"kernel": other}, [stored])


@pytest.mark.parametrize("change", ["one weight", "another shape", "a lost zero"])
def test_another_kernel_is_refused(change):
    other = KERNEL.copy()
    if change == "one weight":
        other[0, 0, 0, 0] += 1
    elif change == "a lost zero":
        other[tuple(np.argwhere(KERNEL == 0)[0])] = 0.1
    else:
        other = other[..., :4]
    with pytest.raises(ValueError, match="holds no tensor like `kernel`"):
        recover.by_value({"kernel": KERNEL}, [Stored("a", other)])


def test_two_tensors_alike_are_taken_in_order():
    first, second = Stored("first", KERNEL.copy()), Stored("second", KERNEL.copy())
    found = recover.by_value({"a": KERNEL, "b": KERNEL}, [first, second])
    assert [one.stored.name for one in found.values()] == ["first", "second"]
    alone = recover.by_value({"a": KERNEL, "b": KERNEL}, [first])
    assert [one.stored.name for one in alone.values()] == ["first", "first"]


def test_names_are_held_to_their_bits():
    there = [Stored("a/kernel", KERNEL)]
    assert recover.by_name({"a/kernel": KERNEL}, there)["a/kernel"].how == "exact"
    with pytest.raises(ValueError, match="holds no `b/kernel`"):
        recover.by_name({"b/kernel": KERNEL + 1}, there)
    assert recover.by_name({"nested/a/kernel": KERNEL}, there)["nested/a/kernel"].how == "exact"
    changed = KERNEL.copy()
    changed.flat[7] = np.nextafter(changed.flat[7], 9)
    with pytest.raises(ValueError, match="other values of `a/kernel`"):
        recover.by_name({"a/kernel": changed}, there)
