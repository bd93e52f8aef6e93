"""Plain text tables."""

import pytest

from trainer.reporting.text_table import table


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right():
    lines = table(["name", "n"], [["a", "1"], ["long name", "22"]]).splitlines()
    assert lines == ["name        n", "---------  --", "a           1", "long name  22"]


def test_a_row_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="argument"):
        table(["a", "b"], [["1"]])
