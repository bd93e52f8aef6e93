"""Checks say what came, what there is, and what was probably meant."""

from __future__ import annotations

import pytest

from trainer.settings import checks


def test_a_name_that_is_not_known():
    checks.check_choice("--group=unit", "unit", ["unit", "tensor"])
    with pytest.raises(ValueError, match=r"^--group=unt is not known; did you mean unit\? choose from unit, tensor\.$"):
        checks.check_choice("--group=unt", "unt", ["unit", "tensor"])
    with pytest.raises(ValueError, match=r"^x=\['a'\] is not known; choose from a or axes\.$"):
        checks.check_choice("x=['a']", ["a"], ["a"], " or axes")


def test_a_number_out_of_range():
    checks.check_number("x", 1, {"above": 0, "maximum": 1})
    for value in (0, 1.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"^x={value} is out of range; expected a finite number above 0 and at"):
            checks.check_number("x", value, {"above": 0, "maximum": 1})
