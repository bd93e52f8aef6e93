"""Reads a table, one example a row: which columns are labels, weights and features, and what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...settings.checks import suggestion
from ..examples import TABLE, TEXT, Examples, FileOptions, Raw
from . import common, table_file

if TYPE_CHECKING:
    import pyarrow

# A text column with at least this share of numbers is one of numbers, with mistakes.
MOSTLY_NUMBERS = 0.9
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
# What numbers for people have, and a field of a table must not.
_SIGNS = "[$€£%,]"
# What pandas writes the numbers of rows under, where it is not told otherwise.
_INDICES = ("", "Unnamed: 0", "__index_level_0__")


def read(path: str, options: FileOptions) -> Raw:
    """Reads a table whose first row names the columns.

    A column of features becomes float64 with NaN for a missing number, int64, or strings, empty where one is missing.
    Bool becomes 0 and 1.

    Args:
      path: a `.csv`, `.tsv` or `.parquet` file. Fields of a CSV file are separated by commas, or by semicolons.
      options: which columns are labels, weights or text, and which are left out.

    Raises:
      ValueError: the file cannot be read; a column is missing, of a type that cannot be learnt from, mixed, or holds
        infinite numbers; a label or a weight is missing in a row.
    """
    text = ("vocabulary_size", "text_length") if options.text is not None else ()
    what = "a table" if text else "a table without --text"
    common.check_options(path, what, options, ("label", "text", "weight", "drop", *text))
    with common.open_file(path) as file:
        fingerprint = common.fingerprint(file)
        found = table_file.parse(path, file.read(), () if options.text is None else (options.text,))
    _check_roles(found, options)
    warnings: list[str] = []
    columns = {name: column for name, column in found.columns.items() if name not in options.drop}
    if options.text is not None:
        columns = {name: column for name, column in columns.items() if name in _roles(options)}
    columns = _without_index(found, columns, options, warnings)
    values = {name: _values(found, name, column, options, warnings) for name, column in columns.items()}
    labels = _labels(found, {name: values.pop(name) for name in options.label})
    weights = None
    if options.weight is not None:
        weights = _weights(found, options.weight, values.pop(options.weight))
    if not values:
        raise ValueError(f"`{path}` has no column left to learn from; it has {', '.join(found.columns)}.")
    features: Any = values if options.text is None else values[options.text]
    train = Examples(len(labels), features, labels, weights)
    kind = TABLE if options.text is None else TEXT
    return Raw(path, kind, {"train": train}, fingerprint=fingerprint, warnings=tuple(warnings))


def _roles(options: FileOptions) -> list[str]:
    single = [name for name in (options.text, options.weight) if name is not None]
    return [*options.label, *single, *options.drop]


def _check_roles(found: table_file.TableFile, options: FileOptions) -> None:
    """Raises ValueError for a column that is not there, or is to be two things."""
    names = list(found.columns)
    listed = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
    if not options.label:
        raise ValueError(f"`{found.path}` needs --label, the column that is to be predicted; its columns are {listed}.")
    roles = {"label": options.label, "text": (options.text,), "weight": (options.weight,), "drop": options.drop}
    seen: dict[str, str] = {}
    for role, columns in roles.items():
        for name in columns:
            if name is None:
                continue
            if name not in names:
                raise ValueError(
                    f"--{role}={name}: `{found.path}` has no such column; {suggestion(name, names)}its columns are "
                    f"{listed}."
                )
            if name in seen:
                raise ValueError(f"The column `{name}` is both --{seen[name]} and --{role}; give it one of them.")
            seen[name] = role


def _without_index(
    found: table_file.TableFile, columns: dict[str, Any], options: FileOptions, warnings: list[str]
) -> dict[str, Any]:
    """Leaves out the row numbers that pandas writes; warns of others."""
    import pyarrow

    kept = {}
    for place, (name, column) in enumerate(columns.items()):
        counts = False
        if name not in _roles(options) and pyarrow.types.is_integer(column.type) and not column.null_count:
            counts = len(column) > 2 and bool((np.diff(column.to_numpy().astype(np.int64)) == 1).all())
        if counts and name in _INDICES:
            warnings.append(f"column {place + 1} holds the numbers of rows; it is left out.")
            continue
        if not name:
            raise ValueError(f"`{found.path}` has no name for column {place + 1}; name it in the first row.")
        if counts and len(column) >= 10:
            warnings.append(f"the column `{name}` only counts the rows; leave it out with --drop={name}.")
        kept[name] = column
    return kept


def _values(
    found: table_file.TableFile, name: str, column: pyarrow.ChunkedArray, options: FileOptions, warnings: list[str]
) -> np.ndarray:
    """A column as NumPy holds it: float64, int64, or str objects."""
    import pyarrow
    from pyarrow import compute, types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if types.is_string(kind) or types.is_large_string(kind):
        if name != options.text:
            _check_numbers(found, name, column, name in options.label, warnings)
        return compute.fill_null(column, "").to_numpy().astype(np.object_)
    if name == options.text:
        raise ValueError(f"--text={name}: the column holds {kind}, not text; expected strings.")
    if types.is_boolean(kind):
        column = column.cast(pyarrow.int8())
    elif types.is_null(kind) or types.is_decimal(kind) or types.is_uint64(kind) or types.is_floating(kind):
        column = column.cast(pyarrow.float64(), safe=False)
    elif not types.is_integer(kind):
        remedy = "replace it by numbers, such as days since a fixed date"
        raise ValueError(
            f"`{found.path}`: the column `{name}` holds {kind}, which is neither numbers nor text; "
            f"{remedy if name in _roles(options) else f'leave it out with --drop={name}, or {remedy}'}."
        )
    if pyarrow.types.is_integer(column.type) and not column.null_count:
        return column.to_numpy().astype(np.int64)
    values = column.cast(pyarrow.float64(), safe=False).to_numpy().astype(np.float64)
    bad = np.flatnonzero(common.too_large(values) & ~np.isnan(values))
    if bad.size:
        raise ValueError(
            f"`{found.path}`: the column `{name}` holds {values[bad[0]]} in row {found.row(int(bad[0]))}; expected "
            "finite numbers of float32, or an empty field for a missing one."
        )
    return values


def _check_numbers(
    found: table_file.TableFile, name: str, column: pyarrow.ChunkedArray, label: bool, warnings: list[str]
) -> None:
    """Looks for numbers in a column of text: refuses those with mistakes or signs, warns of a mixture."""
    from pyarrow import compute

    plain = compute.match_substring_regex(column, _NUMBER)
    bare = compute.match_substring_regex(compute.replace_substring_regex(column, _SIGNS, ""), _NUMBER)
    share, with_signs = (compute.mean(numbers).as_py() or 0.0 for numbers in (plain, bare))
    if share in (0, 1) and with_signs == share:
        return
    first = compute.index(plain, False).as_py()
    what = f"`{column[first].as_py()[:50]}` in row {found.row(first)}"
    where = f"`{found.path}`: the column `{name}` holds"
    remedy = "" if label else f", or leave the column out with --drop={name}"
    if share < MOSTLY_NUMBERS <= with_signs:
        raise ValueError(f"{where} numbers with signs or commas, {what}; write them as 1234.5{remedy}.")
    if share >= MOSTLY_NUMBERS and not label:
        raise ValueError(f"{where} numbers in most rows and {what}; empty the field if the value is missing{remedy}.")
    if share:
        warnings.append(f"the column `{name}` holds numbers and {what}; all of it is taken as text.")


def _labels(found: table_file.TableFile, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Labels [n], or [n, outputs] of several columns: int64, float64 or strings."""
    for name, values in columns.items():
        missing = values == "" if values.dtype == object else np.isnan(values)
        if missing.any():
            others = np.count_nonzero(missing) - 1
            raise ValueError(
                f"`{found.path}`: the label `{name}` is missing in row {found.row(int(np.argmax(missing)))}"
                f"{f' and in {others:,} more' if others else ''}; fill it in, or leave such rows "
                "out. An empty field, NA, None and ? count as missing."
            )
        if values.dtype == object and len(columns) > 1:
            raise ValueError(
                f"`{found.path}`: the label `{name}` holds text, and of several labels each must hold numbers; give "
                "one label, or numbers such as 0 and 1."
            )
        if values.dtype == object and len(set(values)) == len(values):
            raise ValueError(
                f"`{found.path}`: the label `{name}` is another text in every row, like the name of an example, so "
                "that no class can be learnt; choose another column."
            )
    if len(columns) > 1:
        return np.stack(list(columns.values()), axis=1)
    (values,) = columns.values()
    return values.astype(np.str_) if values.dtype == object else values


def _weights(found: table_file.TableFile, name: str, values: np.ndarray) -> np.ndarray:
    where = f"`{found.path}`: the column `{name}`"
    if values.dtype == object:
        raise ValueError(f"{where} holds text, and a weight is a number; choose another --weight.")
    return common.weights_of(values, where, found.row)
