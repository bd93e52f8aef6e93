"""Raw examples in, answers out: what stands around a network in `model.keras`."""

from __future__ import annotations

import keras
import numpy as np

from trainer.data import preprocessing
from trainer.data.standardizer import Standardizer
from trainer.training.serving import Serving


def network():
    return keras.Sequential([keras.Input([4]), keras.layers.Dense(6, "relu"), keras.layers.Dense(3)])


def test_raw_examples_go_in_and_answers_come_out():
    x = np.random.default_rng(0).standard_normal([60, 4]).astype("float32")
    raw = 3 + 5 * x
    learnt = preprocessing.numbers((4,), Standardizer.of(iter([raw])))
    net = network()
    whole = Serving(learnt.model, "softmax").around(net)
    expected = keras.ops.softmax(net(learnt(raw))).numpy()
    np.testing.assert_allclose(whole.predict(raw, verbose=0), expected, atol=1e-6)
    scaled = Serving(learnt.model, scale=(2.0, 3.0, 4.0), offset=(1.0, 0.0, -1.0)).around(net)
    expected = net(learnt(raw)).numpy() * [2, 3, 4] + [1, 0, -1]
    np.testing.assert_allclose(scaled.predict(raw, verbose=0), expected, atol=1e-5)
    assert Serving().around(net) is net
