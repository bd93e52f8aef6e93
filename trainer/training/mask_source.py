"""The zeros that `mask` keeps: those of the weights when its rule begins, or those of another run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import keras

from ..packages import constraints
from ..rules.target import Target
from ..settings.rule import FLAGS, Rule, written
from . import initial_weights


def initialize_masks(targets: Sequence[Target], rules: Sequence[Rule], model: keras.Model) -> None:
    """Sets the mask of each target that has one, before the first step.

    A rule that begins later takes its mask then, see `trainer.engine.projector`; a continued run has it from its
    checkpoint.

    Args:
      targets: the targets.
      rules: the rules they were made of.
      model: the network; its weights stay as they are.

    Raises:
      ValueError: the other run has no checkpoint that is whole, or of another network.
    """
    for target in targets:
        if target.mask is None:
            continue
        rule = rules[target.rule_index - 1]
        with contextlib.nullcontext() if rule.mask_from is None else _weights_of(rule, model):
            target.mask.assign(constraints.numerics.nonzero(target.weights()))


@contextlib.contextmanager
def _weights_of(rule: Rule, model: keras.Model) -> Iterator[None]:
    """Gives the model the weights of the newest checkpoint of a rule's `mask_from` for a while."""
    assert rule.mask_from is not None
    what = written("mask_from", rule.mask_from, rule.source)
    if rule.source not in ("", FLAGS):
        # The file of the rule, and its number there.
        what = f"{rule.source}: {what}"
    own = [variable.numpy() for variable in model.variables]
    try:
        initial_weights.assign(initial_weights.of_run(rule.mask_from, what), model, what)
        yield
    finally:
        for variable, value in zip(model.variables, own, strict=True):
            variable.assign(value)
