"""What an export of a run is held against: examples, outputs, certificate and measures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..data.arrays import Arrays
from ..data.source import Source
from ..engine.evaluation import Evaluation
from ..engine.objective import Compiled, CrossEntropy
from ..export import verify
from ..export.plain import plain
from ..reporting.certificate import Certificate, certify
from ..rules.target import Target
from .inputs import EVAL_BATCH
from .run import Run

# Examples that outputs are compared on, and those that the ranges of int8 are measured on.
MOST_EXAMPLES = 10_000
REPRESENTATIVE = 256


def certificate_of(
    targets: Sequence[Target], model: keras.Model, step: int, weights: Sequence[np.ndarray]
) -> Certificate:
    """The certificate that a model would have with other weights; its own stay.

    Args:
      targets: variables of the model and their rules.
      model: the trained model.
      step: the step whose bounds hold.
      weights: in the order of `model.weights`.
    """
    kept = [variable.numpy() for variable in model.weights]
    try:
        for variable, values in zip(model.weights, weights, strict=True):
            variable.assign(values)
        return certify(targets, step)
    finally:
        for variable, values in zip(model.weights, kept, strict=True):
            variable.assign(values)


def of_run(run: Run, step: int) -> verify.Subject:
    """What the exports of a run are held against: its certificate, and its outputs on the test part, or the next best.

    Args:
      run: the run; its model has the weights that are exported.
      step: the step that the weights are of.

    Raises:
      ValueError: the model cannot be copied.
    """
    source = run.test_source or run.validation_source or run.train_source
    batches = list(_batches(run, source, MOST_EXAMPLES))
    examples = _inputs(batches)
    copy = plain(run.model)
    return verify.Subject(
        model=copy,
        examples=examples,
        outputs=verify.predictions(run.model, examples),
        certificate=certify(run.targets, step),
        certify=functools.partial(certificate_of, run.targets, run.model, step),
        score=functools.partial(_score, run, batches),
        representative=_representative(run),
    )


def _batches(run: Run, source: Source, most: int) -> Iterator[Any]:
    """Batches of examples in their order, at least one and up to so many examples."""
    take, taken = _taker(run, source), 0
    for batch in source.eval_batches():
        part = take(batch)
        yield part
        taken += len(tf.nest.flatten(part)[0])
        if taken >= most:
            return


def _taker(run: Run, source: Source) -> Callable[[Any], Any]:
    """A function from a batch of a source to its arrays: `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
    take = tf.function(lambda arrays, batch: run.strategy.run(source.take, args=(arrays, batch)), autograph=False)

    def whole(of_replicas: Any) -> np.ndarray:
        return np.concatenate([part.numpy() for part in run.strategy.experimental_local_results(of_replicas)])

    return lambda batch: tf.nest.map_structure(whole, take(source.arrays, batch))


def _inputs(batches: Sequence[Any]) -> list[np.ndarray]:
    """The inputs of all batches, an array for each input of the model."""
    return [np.concatenate(parts) for parts in zip(*(tf.nest.flatten(batch[0]) for batch in batches), strict=True)]


def _representative(run: Run) -> list[np.ndarray]:
    """Training examples in the order of training, so that every class is among them."""
    source = run.train_source
    source.seek(0)
    take = _taker(run, source)
    batches: list[Any] = []
    while sum(len(tf.nest.flatten(batch[0])[0]) for batch in batches) < REPRESENTATIVE:
        step = tf.constant(len(batches), tf.int64)
        batches.append(take(source.train_batch(source.arrays, step)))
    return [one[:REPRESENTATIVE] for one in _inputs(batches)]


def _score(run: Run, batches: Sequence[Any], outputs: list[np.ndarray]) -> dict[str, float]:
    """Loss and metrics of given outputs, by the run's own objective; nothing where there are no labels."""
    if len(batches[0]) < 2:
        return {}
    beside = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *(batch[1:] for batch in batches))
    if getattr(run.steps.objective, "reconstructs", False):
        beside = (np.concatenate([batch[0].reshape(len(batch[0]), -1) for batch in batches]), *beside[1:])
    strategy = tf.distribute.get_strategy()
    given = [keras.Input(one.shape[1:], name=f"output_{place}") for place, one in enumerate(outputs)]
    # A model that gives what it is given, in the structure of the model's own outputs.
    made = [keras.layers.Identity()(one) for one in given]
    identity = keras.Model(given, made[0] if len(made) == 1 else tf.nest.pack_sequence_as(run.model.output, made))
    x = outputs[0] if len(outputs) == 1 else tuple(outputs)
    source = Arrays((x, *beside), min(EVAL_BATCH, len(outputs[0])), strategy, shuffle=False)
    if isinstance(run.steps.objective, CrossEntropy):
        objective: Any = CrossEntropy(identity, source.batch_size, 1)
    else:
        identity.compile_from_config(run.model.get_compile_config())
        objective = Compiled(identity, strategy, source.spec)
    return Evaluation(strategy, objective).evaluate(source)
