"""Sparse tensors of a TFLite file are filled up with their zeros."""

from __future__ import annotations

import types

import numpy as np
import pytest

from trainer.export.formats import flatbuffer

RNG = np.random.default_rng(0)


class Level:
    """A level of a sparse tensor: dense of a size, or by segments and indices."""

    def __init__(self, size=None, starts=None, places=None):
        self._size, self.starts, self.places = size, starts, places

    def Format(self):  # noqa: N802
        return 0 if self._size is not None else 1

    def DenseSize(self):  # noqa: N802
        return self._size

    ArraySegmentsType = ArrayIndicesType = lambda self: 0

    def ArraySegments(self):  # noqa: N802
        return self.starts

    def ArrayIndices(self):  # noqa: N802
        return self.places


def sparsity(order, blocks, levels):
    return types.SimpleNamespace(
        TraversalOrderAsNumpy=lambda: np.array(order),
        BlockMapAsNumpy=lambda: np.array(blocks),
        BlockMapLength=lambda: len(blocks),
        DimMetadata=lambda level: levels[level],
    )


@pytest.fixture(autouse=True)
def _plain_vectors(monkeypatch):
    monkeypatch.setattr(flatbuffer, "_integers", lambda kind, table: np.asarray(table, np.int64))


def csr(matrix):
    rows, columns = np.nonzero(matrix)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(matrix)))])
    return starts, columns, matrix[rows, columns]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_rows_or_columns(order):
    dense = np.where(RNG.random((5, 7)) < 0.3, RNG.standard_normal((5, 7)), 0)
    turned = dense.transpose(order)
    starts, places, values = csr(turned)
    levels = [Level(size=len(turned)), Level(starts=starts, places=places)]
    np.testing.assert_array_equal(flatbuffer._filled(sparsity(order, (), levels), values, [5, 7]), dense)


def test_blocks_of_one_row_and_several_columns():
    kept = RNG.random((6, 4)) < 0.4
    dense = np.repeat(kept, 16, axis=1) * RNG.standard_normal((6, 64))
    starts, places, _ = csr(kept.astype(float))
    values = dense.reshape(6, 4, 16)[kept].reshape(-1)
    levels = [Level(size=6), Level(starts=starts, places=places), Level(size=16)]
    np.testing.assert_array_equal(flatbuffer._filled(sparsity((0, 1, 2), (1,), levels), values, [6, 64]), dense)


def test_blocks_of_rows_and_columns():
    kept = RNG.random((3, 4)) < 0.5
    dense = np.kron(kept, np.ones((2, 4))) * RNG.standard_normal((6, 16))
    starts, places, _ = csr(kept.astype(float))
    values = dense.reshape(3, 2, 4, 4).transpose(0, 2, 1, 3)[kept].reshape(-1)
    levels = [Level(size=3), Level(starts=starts, places=places), Level(size=2), Level(size=4)]
    filled = flatbuffer._filled(sparsity((0, 1, 2, 3), (0, 1), levels), values, [6, 16])
    np.testing.assert_array_equal(filled, dense)
