"""Small networks that obey a rule, and what their exports are held against."""

from __future__ import annotations

import functools

import keras
import numpy as np

import constraints
import models
import trainer
from trainer.export import verify
from trainer.export.plain import plain
from trainer.reporting.certificate import certify
from trainer.training.export_subject import certificate_of

SHAPE = (8, 8, 1)
RULES = {
    "block": constraints.Block(sparsity=0.75, block=(4, 1)),
    "lowrank": constraints.LowRank(rank=2),
    "maxnorm": constraints.MaxNorm(0.5),
    "nm": constraints.NM(n=2, m=4),
    "topk": constraints.TopK(sparsity=0.9),
    "unitsparse": constraints.UnitSparse(sparsity=0.5),
}
OPTIONS = {
    "mlp": {"hidden_units": (32, 16)},
    "convnet": {"filters": (8, 16)},
    "resnet": {"depth": 8, "filters": (4, 8, 8)},
    "lstm": {"hidden_units": (8,)},
    "transformer": {"depth": 1, "width": 16, "num_heads": 2},
}
# The first kernel of a convnet has nine incoming weights, which blocks of four do not divide.
VARIABLES = {("convnet", "block"): "conv_2/kernel"}


@functools.cache
def ruled(network: str, rule: str) -> tuple[keras.Model, trainer.Targets]:
    """A network whose kernels obey a rule."""
    keras.utils.set_random_seed(0)
    model = models.REGISTRY[network](SHAPE, 4, **OPTIONS[network])
    for variable in model.trainable_variables:
        if variable.path.endswith("bias"):
            variable.assign(keras.random.normal(variable.shape, stddev=0.1, seed=1))
    targets = trainer.match(
        trainer.Rule(RULES[rule], variables=VARIABLES.get((network, rule), ())), model, total_steps=1
    )
    targets.project_fully()
    return model, targets


def examples(number: int = 64, seed: int = 0) -> np.ndarray:
    """Images in [0, 1]."""
    return np.random.default_rng(seed).random((number, *SHAPE), dtype=np.float32)


def subject(network: str, rule: str) -> verify.Subject:
    """What an export of a network is held against; the labels are what the network says."""
    model, targets = ruled(network, rule)
    x = [examples()]
    outputs = verify.predictions(model, x)
    labels = outputs[0].argmax(axis=1)
    return verify.Subject(
        model=plain(model),
        examples=x,
        outputs=outputs,
        certificate=certify(targets, 0),
        certify=functools.partial(certificate_of, targets, model, 0),
        score=lambda found: {"accuracy": float(np.mean(found[0].argmax(axis=1) == labels))},
        representative=[examples(seed=1)],
    )
