"""What `--validation_split` means: a share of the training split, or the name of a split."""

from __future__ import annotations


def share(text: str) -> float | None:
    """Reads how much of the training split to hold out: `0.1` and `10%` are a tenth; None for the name of a split.

    Raises:
      ValueError: a number that is no share.
    """
    try:
        number = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        return None
    if not 0.0 < number < 1.0:
        raise ValueError(
            f"--validation_split={text} is no share of the training split; expected a number above 0 and below 1, such "
            "as 0.1, or the name of a split or slice, such as train[90%:]."
        )
    return number
