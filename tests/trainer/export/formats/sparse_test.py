"""The archive without zeros: it gives the same bits back, to NumPy alone, and is as small as its encodings allow."""

from __future__ import annotations

import re

import keras
import ml_dtypes
import numpy as np
import pytest

from tests.support import exports
from tests.support.processes import ROOT
from trainer.export.formats import sparse

RNG = np.random.default_rng(0)


def thinned(shape, share, dtype=np.float32):
    values = RNG.standard_normal(shape).astype(dtype)
    values[RNG.random(shape) < share] = 0
    return values


@pytest.mark.parametrize(
    ("share", "encoding"), [(0.0, "dense"), (0.5, "bitmask"), (0.98, "csr"), (0.9999, "csr"), (1.0, "csr")]
)
def test_the_smallest_encoding_is_chosen(share, encoding):
    values = thinned((784, 300), share)
    chosen, parts = sparse.encode(values)
    assert chosen == encoding
    kept = np.count_nonzero(values)
    beside = sum(part.nbytes for name, part in parts.items() if name != ".values")
    if encoding == "csr":
        assert beside <= kept + 4 * (values.size / sparse.ROW + 2)
    elif encoding == "bitmask":
        assert beside == values.size / 8
    else:
        assert parts[""] is values


def test_small_tensors_stay_dense():
    assert sparse.encode(np.zeros(10, np.float32))[0] == "dense"


def holder(values):
    """A model with one kernel of these values."""
    layer = keras.layers.EinsumDense("ab,bcd->acd", values.shape[1:], dtype=values.dtype.name)
    model = keras.Sequential([keras.Input(values.shape[:1]), layer])
    layer.kernel.assign(values)
    return model


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_every_bit_comes_back(tmp_path, dtype, share):
    values = thinned((40, 3, 50), share, dtype)
    values.flat[:5] = [-0.0, np.nan, np.inf, -np.inf, 1e-7]
    path = str(tmp_path / "model.safetensors")
    sparse.write(holder(values), path)
    (stored,) = sparse.read(path)
    expected = values.astype(np.float32) if dtype is ml_dtypes.bfloat16 else values
    assert stored.values.dtype == expected.dtype
    assert stored.values.tobytes() == expected.tobytes()
    assert stored.sparse == (share > 0)


def test_the_reader_of_the_documentation_reads_it(tmp_path):
    page = (ROOT / "docs/reference/export.md").read_text()
    (program,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "safetensors" in block]
    assert len(program.strip().splitlines()) <= 30
    names: dict = {}
    exec(program, names)
    for network, rule in (("mlp", "topk"), ("mlp", "maxnorm"), ("mlp", "nm")):
        model, _ = exports.ruled(network, rule)
        path = str(tmp_path / f"{rule}.safetensors")
        sparse.write(model, path)
        weights = names["read"](path)
        assert list(weights) == [variable.path for variable in model.weights]
        for variable in model.weights:
            assert weights[variable.path].tobytes() == variable.numpy().tobytes()


def test_a_network_nine_tenths_zero_takes_a_fifth():
    model, _ = exports.ruled("mlp", "topk")
    for variable in model.weights:
        if variable.path.endswith("kernel") and variable.shape[0] == 64:
            encoded = sparse.encode(variable.numpy())[1]
            assert sum(part.nbytes for part in encoded.values()) < 0.2 * variable.numpy().nbytes


def test_predictions_are_the_model_s(tmp_path):
    model, _ = exports.ruled("mlp", "topk")
    path = str(tmp_path / "model.safetensors")
    sparse.write(model, path)
    x = exports.examples()
    (outputs,) = sparse.predict(path, [x])
    np.testing.assert_allclose(outputs, model(x), rtol=1e-6, atol=1e-6)
