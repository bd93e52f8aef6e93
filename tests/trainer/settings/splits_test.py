"""A share of the training split, or the name of a split."""

from __future__ import annotations

import pytest

from trainer.settings import splits


@pytest.mark.parametrize(
    ("text", "share"), [("0.1", 0.1), ("10%", 0.1), ("0.999", 0.999), ("test", None), ("train[80%:]", None)]
)
def test_a_share_or_a_name(text, share):
    assert splits.share(text) == share


@pytest.mark.parametrize("text", ["0", "1", "100%", "1.5", "nan", "-1"])
def test_a_number_that_is_no_share(text):
    with pytest.raises(ValueError, match=f"--validation_split={text} is no share"):
        splits.share(text)
