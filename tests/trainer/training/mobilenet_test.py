"""A stock network of Keras under two rules, on two replicas."""

from __future__ import annotations

import pytest

from tests.support import processes

PROGRAM = """
import keras
import numpy as np
from constraints import MaxNorm, UnitSparse
from trainer import Rule, Trainer

rng = np.random.default_rng(0)
x = rng.uniform(0, 255, [256, 32, 32, 3]).astype("float32")
y = rng.integers(0, 10, 256)
trainer = Trainer(
    lambda: keras.applications.MobileNetV3Small(input_shape=(32, 32, 3), weights=None, classes=10),
    [
        Rule(UnitSparse(0.5), variables=["*expand/kernel", "*project/kernel"]),
        Rule(MaxNorm(0.5), layer_type="DepthwiseConv2D"),
    ],
    optimizer=lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
    num_replicas=2,
)
trainer.fit(x, y, epochs=1, batch_size=32, verbose=0)
certificate = trainer.certify()
print(certificate)
assert certificate["feasible"]
taken = {}
for entry in certificate["variables"]:
    taken.setdefault(entry["constraint"], []).append(entry)
for layer in trainer.model.layers:
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        kernel = layer.kernel.numpy().astype(np.float64)
        assert np.linalg.norm(kernel.reshape(-1, *kernel.shape[2:]), axis=0).max() <= 0.5 * (1 + 1e-6)
    elif layer.name.endswith(("expand", "project")):
        units = np.abs(layer.kernel.numpy()).reshape(-1, layer.filters).max(axis=0)
        assert np.mean(units == 0) >= 0.49, layer.name
assert len(taken["maxnorm"]) == 11 and len(taken["unitsparse"]) == 21, {k: len(v) for k, v in taken.items()}
for variable in trainer.model.trainable_variables:
    first, second = (copy.numpy() for copy in variable.value.values)
    assert first.tobytes() == second.tobytes(), variable.path
"""


@pytest.mark.slow
def test_mobilenet_under_two_rules_on_two_replicas_is_certified(tmp_path):
    processes.python(PROGRAM, tmp_path)


@pytest.mark.slow
def test_an_optimizer_that_started_tensorflow_before_the_replicas_is_told(tmp_path):
    late = PROGRAM.replace("optimizer=lambda: ", "optimizer=")
    with pytest.raises(
        RuntimeError, match=r"num_replicas=2: this process has started .* \(an optimizer by a function\)"
    ):
        processes.python(late, tmp_path)
