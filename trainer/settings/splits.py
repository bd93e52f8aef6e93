"""What `--validation_split` and `--test_split` mean: a share of the training split, or the name of a split."""

from __future__ import annotations


def share(text: str, flag: str = "--validation_split") -> float | None:
    """Reads how much of the training split to hold out: `0.1` and `10%` are a tenth; None for the name of a split.

    Args:
      text: what the user wrote.
      flag: the flag it was written for, for the message.

    Raises:
      ValueError: a number that is no share.
    """
    try:
        number = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        return None
    if not 0.0 < number < 1.0:
        raise ValueError(
            f"{flag}={text} is no share of the training split; expected a number above 0 and below 1, such "
            "as 0.1, or the name of a split or slice, such as train[90%:]."
        )
    return number
