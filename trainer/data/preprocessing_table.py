"""What is learnt about the columns of a table: medians, means and categories."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

import numpy as np

from .examples import TABLE, Raw
from .preprocessing import Preprocessing, input_name, standardized
from .standardizer import Standardizer

if TYPE_CHECKING:
    import keras

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
    columns = raw.parts["train"].features
    assert isinstance(columns, dict)
    numbers: dict[str, np.ndarray] = {}
    categories: dict[str, list[Any]] = {}
    warnings: list[str] = []
    for name, values in columns.items():
        text = values.dtype.kind not in "biuf"
        if known := _texts(values) if text else _codes(values):
            categories[name] = known
        elif text:
            warnings.append(
                f"the column `{name}` holds another text in every row, which teaches nothing about new rows; it is "
                "left out."
            )
        elif not np.isfinite(values).any():
            warnings.append(f"the column `{name}` has no value in any training row; it is left out.")
        else:
            numbers[name] = values.astype(np.float64)
    used = [name for name in columns if name in numbers or name in categories]
    if not used:
        raise ValueError(f"`{raw.name}` has no column to learn from: {' '.join(warnings)}")
    names = [input_name(name) for name in used]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise ValueError(
            f"`{raw.name}` has two columns that are called {twice[0]} once `/` is replaced, as Keras needs it; rename "
            "one of them."
        )
    model = _model(names, used, numbers, categories)
    return Preprocessing(TABLE, tuple(model.outputs[0].shape[1:]), model, warnings=tuple(warnings))


def _model(
    names: list[str], used: list[str], numbers: dict[str, np.ndarray], categories: dict[str, list[Any]]
) -> keras.Model:
    """From a dict of columns [n, 1], by their names in Keras, to features."""
    import keras

    def inputs(wanted: list[str]) -> list[Any]:
        strings = (isinstance(categories.get(column, [0])[0], str) for column in used)
        return [
            keras.Input((1,), dtype="string" if text else "float32", name=name)
            for name, text in zip(wanted, strings, strict=True)
        ]

    # Names are unique within a model, and a column may be called like a layer: so columns get a model of their own.
    plain = dict(zip(used, inputs([f"column_{place}" for place in range(len(used))]), strict=True))
    parts = _numbers([plain[name] for name in numbers], list(numbers.values())) if numbers else []
    parts += [_one_hot(plain[name], categories[name]) for name in used if name in categories]
    features = parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="features")(parts)
    encoded = "columns"
    while encoded in names:
        encoded += "_"
    inner = keras.Model(list(plain.values()), features, name=encoded)
    outer = inputs(names)
    return keras.Model(dict(zip(names, outer, strict=True)), inner(outer), name="preprocessing")


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


def _numbers(tensors: list[Any], columns: list[np.ndarray]) -> list[Any]:
    """Standardised numbers [n, columns], and for columns with missing values 1 where one was missing."""
    import keras

    values = np.stack(columns, axis=1)
    medians = np.nanmedian(values, axis=0)
    gaps = np.isnan(values)
    standardizer = Standardizer.of(iter([np.where(gaps, medians, values)]))
    together = tensors[0] if len(tensors) == 1 else keras.layers.Concatenate(name="numbers")(tensors)
    missing = keras.ops.isnan(together)
    filled = keras.ops.where(missing, medians.astype(np.float32), together)
    found = [standardized(filled, standardizer)]
    if incomplete := np.flatnonzero(gaps.any(axis=0)).tolist():
        found.append(keras.ops.cast(keras.ops.take(missing, incomplete, axis=1), "float32"))
    return found
