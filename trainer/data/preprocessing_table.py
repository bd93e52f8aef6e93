"""What is learnt about the columns of a table: medians, means and categories."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from .examples import TABLE, Raw
from .preprocessing import Preprocessing, input_name, standardized
from .standardizer import Standardizer

# A text that occurs once teaches nothing about the rows of others that hold it.
FEWEST_ROWS = 2
MOST_CATEGORIES = 100
# Whole numbers are codes of categories where there are few of them, each in many rows.
CODES = range(3, 11)
ROWS_PER_CODE = 10
# Beyond it, float32 skips whole numbers.
LARGEST_CODE = 2**24
# No code is as small: they stand for a missing code and for an unknown one.
MISSING_CODE = -(2**31)
UNKNOWN_CODE = MISSING_CODE + 1
UNKNOWN = "[UNK]"


def learn(raw: Raw) -> Preprocessing:
    """Learns from the training part how the columns of a table become features.

    Numbers: a missing one becomes the median of the column, then all are standardised. Where a number was missing in
    training, one more feature says so.

    Text is a category and becomes a one-hot vector, whose first entry stands for every unknown value. A missing text is
    a category of its own. A text needs two rows to be known, and the 100 most frequent are.

    Whole numbers are categories too where they have 3 to 10 different values, each in ten rows on average; two values
    are as good a number.

    Features are all numbers, then what says that they were missing, then the categories, each in the order of columns.

    Raises:
      ValueError: no column is left to learn from, or two columns have one name in Keras.
    """
    import keras

    columns = raw.parts["train"].features
    assert isinstance(columns, dict)
    inputs: dict[str, Any] = {}
    numbers: dict[str, np.ndarray] = {}
    categories: list[Any] = []
    warnings: list[str] = []
    for column, values in columns.items():
        name = input_name(column)
        if name in inputs:
            raise ValueError(
                f"`{raw.name}` has two columns that are called {name} once `/` is replaced, as Keras needs it; rename "
                f"`{column}`."
            )
        text = values.dtype.kind not in "biuf"
        known = _texts(values) if text else _codes(values)
        if text and not known:
            warnings.append(
                f"the column `{column}` holds another text in every row, which teaches nothing about new rows; it is "
                "left out."
            )
        elif not text and not np.isfinite(values).any():
            warnings.append(f"the column `{column}` has no value in any training row; it is left out.")
        else:
            inputs[name] = keras.Input((1,), dtype="string" if text else "float32", name=name)
            if known:
                categories.append(_one_hot(inputs[name], known))
            else:
                numbers[name] = values.astype(np.float64)
    if not inputs:
        raise ValueError(f"`{raw.name}` has no column to learn from: {' '.join(warnings)}")
    parts = [*(_numbers(inputs, numbers) if numbers else []), *categories]
    features = parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="features")(parts)
    model = keras.Model(inputs, features, name="preprocessing")
    return Preprocessing(TABLE, tuple(features.shape[1:]), model, warnings=tuple(warnings))


def _texts(values: np.ndarray) -> list[str]:
    """The texts of a column that are frequent enough, the most frequent first."""
    counts = collections.Counter(map(str, values))
    counts.pop(UNKNOWN, None)
    often = [text for text, count in counts.items() if count >= FEWEST_ROWS]
    return sorted(often, key=lambda text: (-counts[text], text))[:MOST_CATEGORIES]


def _codes(values: np.ndarray) -> list[int]:
    """The whole numbers of a column that are codes of categories; none where it holds numbers."""
    present = values[np.isfinite(values)]
    if not present.size or (present != np.round(present)).any() or np.abs(present).max() > LARGEST_CODE:
        return []
    found = np.unique(present)
    if len(found) not in CODES or len(present) < ROWS_PER_CODE * len(found):
        return []
    return [*([MISSING_CODE] if len(present) < len(values) else []), *map(int, found)]


def _one_hot(tensor: Any, known: list[Any]) -> Any:
    """A one-hot vector [n, 1 + known], whose first entry stands for the unknown."""
    import keras

    name = f"{tensor.name}_categories"
    if tensor.dtype == "string":
        layer = keras.layers.StringLookup(vocabulary=known, oov_token=UNKNOWN, output_mode="one_hot", name=name)
    else:
        present = keras.ops.where(keras.ops.isnan(tensor), float(MISSING_CODE), tensor)
        tensor = keras.ops.cast(present, "int64")
        layer = keras.layers.IntegerLookup(vocabulary=known, oov_token=UNKNOWN_CODE, output_mode="one_hot", name=name)
    return layer(tensor)


def _numbers(inputs: dict[str, Any], columns: dict[str, np.ndarray]) -> list[Any]:
    """Standardised numbers [n, columns], and for columns with missing values 1 where one was missing."""
    import keras

    values = np.stack(list(columns.values()), axis=1)
    medians = np.nanmedian(values, axis=0)
    gaps = np.isnan(values)
    standardizer = Standardizer.of(iter([np.where(gaps, medians, values)]))
    tensors = [inputs[name] for name in columns]
    together = tensors[0] if len(tensors) == 1 else keras.layers.Concatenate(name="numbers")(tensors)
    missing = keras.ops.isnan(together)
    filled = keras.ops.where(missing, medians.astype(np.float32), together)
    found = [standardized(filled, standardizer)]
    if incomplete := np.flatnonzero(gaps.any(axis=0)).tolist():
        found.append(keras.ops.cast(keras.ops.take(missing, incomplete, axis=1), "float32"))
    return found
