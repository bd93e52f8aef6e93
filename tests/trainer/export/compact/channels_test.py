"""Disjoint sets of channels."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.export.compact.channels import Blocked, Channels, Fact, agreed


def test_joined_channels_have_one_root():
    channels = Channels()
    a, b, c = channels.new(3), channels.new(3), channels.new(2)
    channels.join(a, b)
    channels.join(b[:2], c)
    roots = channels.roots()
    assert len(set(roots)) == 3
    np.testing.assert_array_equal(roots[a], roots[b])
    np.testing.assert_array_equal(roots[a[:2]], roots[c])


def test_values_agree_or_are_none():
    nan = np.nan
    np.testing.assert_array_equal(agreed([[1, 2, nan], [1, 3, nan]]), [1, nan, nan])


def test_an_axis_of_unknown_size_blocks():
    with pytest.raises(Blocked, match="number of its channels"):
        _ = Fact((None, None), None, None).known
