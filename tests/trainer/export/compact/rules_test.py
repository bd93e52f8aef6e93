"""The table of rules."""

from __future__ import annotations

import inspect

import keras

from trainer.export.compact import rules


def test_every_rule_stands_for_a_class_of_keras():
    names = [name for names in rules._NAMES.values() for name in names]
    assert len(names) == len(set(names))
    assert {name for name in names if not inspect.isclass(getattr(keras.layers, name, None))} == set()


def test_a_subclass_has_no_rule():
    class Dense(keras.layers.Dense):
        pass

    assert Dense not in rules.RULES
