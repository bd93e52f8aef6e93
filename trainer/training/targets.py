"""Rules on a model's variables, for a loop of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..engine.optimizer_state import OptimizerState
from ..engine.projector import MEASURES, Projector
from ..reporting.certificate import Certificate, certify
from ..rules import matching
from ..rules.target import Target
from ..runtime.keras_internals import learning_rate
from ..settings.rule import Rule
from ..settings.timeline import Lengths


class Targets(Sequence[Target]):
    """What `match` found: each target is one variable, or several that share a budget, and the rule it obeys.

    Args:
      targets: in the model's order.
      total_steps: the last step, at which rules that project now and then do so in any case; None: there is no last.
      optimizer: what takes the steps; built on the model's trainable variables.
      variables: those variables.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        total_steps: int | None = None,
        optimizer: keras.optimizers.Optimizer | None = None,
        variables: Sequence[keras.Variable] = (),
    ):
        self._targets = list(targets)
        state = None if optimizer is None else OptimizerState(optimizer, variables)
        rate = None if optimizer is None else learning_rate(optimizer)
        # A step that never comes stands for "no last step".
        self._projector = Projector(self._targets, total_steps or np.iinfo(np.int64).max, state, rate)
        self._strategy = tf.distribute.get_strategy()
        for target in self._targets:
            self._strategy = getattr(target.variables[0].value, "distribute_strategy", self._strategy)

    def __getitem__(self, index: Any) -> Any:
        return self._targets[index]

    def __len__(self) -> int:
        return len(self._targets)

    def __iter__(self) -> Iterator[Target]:
        return iter(self._targets)

    def project(self, step: Any) -> None:
        """Moves the weights whose turn it is to the nearest point that obeys their rule.

        Call it after the optimizer's step, eagerly or in a `tf.function`, inside `strategy.run` or outside.

        Args:
          step: how many steps the optimizer has made, an integer or an int64 scalar tensor.
        """
        self._everywhere(lambda: self._projector.project(_int64(step), tf.constant(False)))

    def project_fully(self, step: Any = 0) -> None:
        """Moves all weights to the nearest feasible point, whatever the rules' intervals: before the first step.

        Args:
          step: the step whose bounds hold.
        """
        self._everywhere(lambda: self._projector.project_fully(_int64(step)))

    def measures(self, step: Any) -> dict[str, dict[str, float]]:
        """Numbers about the present weights under the bounds of a step, which stay as they are.

        Args:
          step: an integer.

        Returns:
          For each target's label: `sparsity`, `norm_mean`, `norm_max`, `active` (the share of groups on the boundary)
          and, for an intersection, `residual`.
        """
        rows = self._projector.measure(_int64(step)).numpy()
        measured = {}
        for target, row in zip(self._targets, rows, strict=True):
            values = dict(zip(MEASURES, row.tolist(), strict=False))
            measured[target.label] = {name: values[name] for name in values if name != "distance"}
        return measured

    def certify(self, step: Any) -> Certificate:
        """Checks every weight against its rule in float64; print it for a table.

        Args:
          step: the step whose bounds hold, an integer.
        """
        return certify(self._targets, int(step))

    def _everywhere(self, act: Any) -> None:
        """Calls on every replica, from within one or from outside."""
        if tf.distribute.in_cross_replica_context():
            self._strategy.run(act)
        else:
            act()


def match(
    rules: Rule | Sequence[Rule],
    model: keras.Model,
    *,
    total_steps: int | None = None,
    steps_per_epoch: int | None = None,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> Targets:
    """Finds the variables of each rule, for a training loop of one's own.

        targets = match(rules, model, total_steps=1000)
        targets.project_fully()
        for step, (x, y) in enumerate(batches, start=1):
          ...  # the optimizer's step
          targets.project(step)
        print(targets.certify(step))

    Args:
      rules: what to keep, see `trainer.Rule`.
      model: a built Keras model.
      total_steps: the number of steps, which places such as "80%" are shares of.
      steps_per_epoch: the steps of an epoch, for places such as "3ep".
      optimizer: needed for penalties, whose steps are as long as the learning rate, and for rules that change the
        optimizer's state.

    Returns:
      The targets, in the model's order.

    Raises:
      ValueError: the model is not built, a pattern matches nothing, two rules claim one variable at the same time, a
        set cannot take a variable's shape, or a place needs `total_steps` or `steps_per_epoch`.
      TypeError: `rules` holds something else than rules.
    """
    rules = checked_rules(rules)
    check_built(model)
    timeline = Lengths(total_steps, steps_per_epoch)
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)
    found = matching.match(rules, model, timeline)
    needing = [target for target in found if target.constraint.proximal or target.optimizer_state != "keep"]
    if needing and optimizer is None:
        raise ValueError(
            f"rule {needing[0].rule_index} ({needing[0].name}) depends on the optimizer; "
            "pass it as match(..., optimizer=optimizer)."
        )
    return Targets(found, total_steps, optimizer, model.trainable_variables)


def checked_rules(rules: Any) -> tuple[Rule, ...]:
    """The rules as a tuple; raises TypeError for what is none."""
    several = tuple(rules) if isinstance(rules, Iterable) and not isinstance(rules, str) else (rules,)
    for rule in several:
        if not isinstance(rule, Rule):
            raise TypeError(f"rules: {rule!r} is not a rule; write Rule({rule!r}).")
    return several


def check_built(model: keras.Model) -> None:
    """Raises ValueError for a model whose variables are not there yet."""
    if not model.built or not model.variables:
        raise ValueError(
            f"the model `{model.name}` is not built, so that its variables are not known; call it on a batch, or "
            "model.build(input_shape), first."
        )


def _int64(step: Any) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(step), tf.int64)
