"""Weights of classes as they are written."""

from __future__ import annotations

import pytest

from trainer.settings.class_weight import parsed


def test_what_is_written():
    assert parsed("balanced") == "balanced"
    assert parsed("0:1,1:5") == {"0": 1.0, "1": 5.0}
    assert parsed("a:b:2, cat :0.5") == {"a:b": 2.0, "cat": 0.5}
    assert parsed({0: 1, "cat": 2.5}) == {"0": 1.0, "cat": 2.5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1", "write balanced, or class:weight pairs"),
        ("0:1,0:2", "names the class 0 twice"),
        ("0:-1", "the weight of 0=-1.0 is out of range; expected a finite number at least 0"),
        ("0:inf", "out of range"),
        ("balance", "write balanced"),
    ],
)
def test_what_is_not_understood(text, words):
    with pytest.raises(ValueError, match=f"--class_weight={text}.*{words}"):
        parsed(text)
