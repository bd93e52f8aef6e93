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
    if len(set(names)) < len(names):
        ((twice, _),) = collections.Counter(names).most_common(1)
        raise ValueError(
            f"`{raw.name}` has two columns that are called {twice} once `/` is replaced, as Keras needs it; rename "
            "one of them."
        )
    model = _model(dict(zip(used, names, strict=True)), numbers, categories)
    return Preprocessing(TABLE, tuple(model.outputs[0].shape[1:]), model, warnings=tuple(warnings))


def _model(names: dict[str, str], numbers: dict[str, np.ndarray], categories: dict[str, list[Any]]) -> keras.Model:
    """Makes features of a dict of columns [n, 1].

    Args:
      names: the name in Keras of every column that is used.
      numbers: the values of columns of numbers.
      categories: the known values of the others.
    """
    import keras

    def free(name: str) -> str:
        while name in names.values():
            name += "_"
        return name

    texts = {column for column, known in categories.items() if isinstance(known[0], str)}
    types = {column: "string" if column in texts else "float32" for column in names}
    columns = {column: keras.Input((1,), dtype=types[column], name=name) for column, name in names.items()}
    given = [columns[name] for name in categories]
    # Names are unique within a model, and a column may be called like a layer: what follows is a model of its own.
    inputs = [keras.Input((1,), dtype=tensor.dtype, name=f"column_{place}") for place, tensor in enumerate(given)]
    parts = [_one_hot(*pair) for pair in zip(inputs, categories.values(), strict=True)]
    if numbers:
        tensors = [columns[name] for name in numbers]
        together = _joined(tensors, free("numbers"))
        given, inputs = [together, *given], [keras.Input((len(tensors),), dtype="float32", name="numbers"), *inputs]
        parts = [*_numbers(inputs[0], np.stack(list(numbers.values()), axis=1)), *parts]
    inner = keras.Model(inputs, _joined(parts, "features"), name=free("columns"))
    return keras.Model(
        {names[column]: tensor for column, tensor in columns.items()}, inner(given), name="preprocessing"
    )


def _joined(tensors: list[Any], name: str) -> Any:
    import keras

    # A policy of lower precision would round what the layer is given.
    return keras.layers.Concatenate(dtype="float32", name=name)(tensors) if len(tensors) > 1 else tensors[0]


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


def _numbers(tensor: Any, values: np.ndarray) -> list[Any]:
    """Standardised numbers [n, columns], and for columns with missing values 1 where one was missing."""
    import keras

    medians = np.nanmedian(values, axis=0)
    gaps = np.isnan(values)
    standardizer = Standardizer.of(iter([np.where(gaps, medians, values)]))
    missing = keras.ops.isnan(tensor)
    filled = keras.ops.where(missing, medians.astype(np.float32), tensor)
    found = [standardized(filled, standardizer)]
    if incomplete := np.flatnonzero(gaps.any(axis=0)).tolist():
        found.append(keras.ops.cast(keras.ops.take(missing, incomplete, axis=1), "float32"))
    return found
