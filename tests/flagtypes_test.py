"""Values of flags: what they stand for, and what to write instead."""

from __future__ import annotations

import pytest

from trainer import flagtypes


@pytest.mark.parametrize(
    ("kind", "text", "remedy"),
    [
        (flagtypes.Number, "90%", "write 0.9, for a share"),
        (flagtypes.Number, "0,5", "write 0.5, with a point as the decimal sign"),
        (flagtypes.Number, "-1,5", "write -1.5, with a point as the decimal sign"),
        (flagtypes.Number, "1,2,3", "write one such as 0.5"),
        (flagtypes.Number, "x%", "write one such as 0.5"),
        (flagtypes.Number, "", "write one such as 0.5"),
        (flagtypes.Whole, "1e3", "write 1000"),
        (flagtypes.Whole, "2.0", "write 2"),
        (flagtypes.Whole, "2.5", "write one such as 100"),
        (flagtypes.Whole, "inf", "write one such as 100"),
        (flagtypes.Whole, "9" * 5000, "write one such as 100"),
        (flagtypes.Truth, "maybe", "write the flag alone"),
    ],
)
def test_a_remedy(kind, text, remedy):
    with pytest.raises(ValueError, match=f"^is not .*; {remedy}"):
        kind().parse(text)


def test_values():
    assert flagtypes.Number().parse("1e-3") == 0.001
    assert flagtypes.Whole().parse("12") == 12
    assert flagtypes.Truth().parse("false") is False
