"""Values of flags: what they stand for, and what to write instead."""

from __future__ import annotations

import pytest

from trainer.settings import flag_types


@pytest.mark.parametrize(
    ("kind", "text", "remedy"),
    [
        (flag_types.Number, "90%", "write 0.9, for a share"),
        (flag_types.Number, "0,5", "write 0.5, with a point as the decimal sign"),
        (flag_types.Number, "-1,5", "write -1.5, with a point as the decimal sign"),
        (flag_types.Number, "1,2,3", "write one such as 0.5"),
        (flag_types.Number, "x%", "write one such as 0.5"),
        (flag_types.Number, "", "write one such as 0.5"),
        (flag_types.Whole, "1e3", "write 1000"),
        (flag_types.Whole, "2.0", "write 2"),
        (flag_types.Whole, "2.5", "write one such as 100"),
        (flag_types.Whole, "inf", "write one such as 100"),
        (flag_types.Whole, "9" * 5000, "write one such as 100"),
        (flag_types.Truth, "maybe", "write the flag alone"),
    ],
)
def test_a_remedy(kind, text, remedy):
    with pytest.raises(ValueError, match=f"^is not .*; {remedy}"):
        kind().parse(text)


def test_values():
    assert flag_types.Number().parse("1e-3") == 0.001
    assert flag_types.Whole().parse("12") == 12
    assert flag_types.Truth().parse("false") is False
