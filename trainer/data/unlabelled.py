"""Reads examples without labels, as a trained model takes them: for predictions."""

from __future__ import annotations

import os
import pathlib
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from . import preprocessing
from .readers import IMAGES, TEXTS, common, table_file, text

if TYPE_CHECKING:
    import keras

ARRAYS = (".npz", ".npy")
TABLES = (".csv", ".tsv", ".parquet")
# Names of the array of examples in an archive, the first that is there.
NAMES = ("x", "x_test", "x_validation", "x_val", "x_train")


def read(path: str, model: keras.Model, text_column: str | None = None) -> tuple[Any, list[str]]:
    """Reads examples for a model of raw examples.

    Args:
      path: by what the model takes, a table (columns by name; others are ignored), an image or a folder of images, a
        `.txt` file with a text in each line, a folder of such files with one text each, or an archive or file of an
        array.
      model: what the examples are for.
      text_column: the column of a table that holds texts.

    Returns:
      The examples as the model takes them, and a name for each: a file, or the number of a row from 1.

    Raises:
      ValueError: the file cannot be read, or does not hold what the model takes.
    """
    if not os.path.exists(path):
        raise ValueError(f"There is no file or folder `{path}`; give the path of examples.")
    suffix = pathlib.PurePath(path).suffix.lower()
    wanted = _wanted(model)
    if text_column is not None and not (wanted == "texts" and suffix in TABLES):
        raise ValueError(f"--text={text_column} names a column of texts, which a model of {wanted} does not take here.")
    if suffix in ARRAYS:
        features: Any = _array(path)
        names = None
    elif wanted == "texts":
        features, names = _texts(path, suffix, text_column)
    elif wanted == "images":
        features, names = _images(path, model)
    elif suffix in TABLES:
        columns = _columns(path, _strings(path, model) if wanted == "columns" else ())
        names = None
        features = columns if wanted == "columns" else _numbers(path, columns)
    else:
        raise ValueError(f"`{path}` is no file of {wanted}; expected {', '.join((*TABLES, *ARRAYS))}.")
    try:
        inputs = preprocessing.as_inputs(model, features)
    except ValueError as error:
        raise ValueError(f"`{path}`: {error}") from None
    size = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
    return inputs, names or [str(row) for row in range(1, size + 1)]


def _wanted(model: keras.Model) -> str:
    if isinstance(preprocessing.input_of(model), dict):
        return "columns"
    first = model.inputs[0]
    return {"string": "texts", "uint8": "images"}.get(first.dtype, "numbers")


def _strings(path: str, model: keras.Model) -> tuple[str, ...]:
    """The columns that the model takes as text, whatever they look like here: 007 stays 007."""
    wanted = {name for name, tensor in preprocessing.input_of(model).items() if tensor.dtype == "string"}
    return tuple(name for name in _columns(path) if preprocessing.input_name(name) in wanted)


def _array(path: str) -> np.ndarray:
    common.open_file(path).close()
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found as archive:
            names = list(archive.files)
            name = next((name for name in NAMES if name in names), names[0] if len(names) == 1 else None)
            if name is None:
                raise ValueError(f"its arrays are {', '.join(names) or 'none'}; call the examples x")
            return archive[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"`{path}` cannot be read: {error}.") from None


def _columns(path: str, strings: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    with common.open_file(path) as file:
        found = table_file.parse(path, file.read(), strings)
    return {name: column.to_numpy(zero_copy_only=False) for name, column in _readable(found)}


def _readable(found: table_file.TableFile) -> Any:
    import pyarrow
    from pyarrow import types

    for name, column in found.columns.items():
        if types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        # A date or a list is a feature of no model; a model that asks for the column says that it is missing.
        if types.is_boolean(column.type):
            column = column.cast(pyarrow.int8())
        elif types.is_decimal(column.type):
            column = column.cast(pyarrow.float64())
        elif not (
            types.is_integer(column.type)
            or types.is_floating(column.type)
            or types.is_null(column.type)
            or types.is_string(column.type)
            or types.is_large_string(column.type)
        ):
            continue
        yield name, column


def _numbers(path: str, columns: dict[str, np.ndarray]) -> np.ndarray:
    for name, column in columns.items():
        if column.dtype.kind not in "biuf" or not np.isfinite(column.astype(np.float64)).all():
            raise ValueError(f"`{path}`: the column `{name}` does not hold a number in every row; expected numbers.")
    return np.stack(list(columns.values()), axis=1)


def _texts(path: str, suffix: str, column: str | None) -> tuple[np.ndarray, list[str] | None]:
    if suffix in TABLES:
        if column is None:
            raise ValueError(f"`{path}` is a table; say which column holds the texts with --text=column.")
        columns = _columns(path, (column,))
        if column not in columns:
            raise ValueError(f"--text={column}: `{path}` has no such column; its columns are {', '.join(columns)}.")
        return np.array(["" if value is None else value for value in columns[column]], object), None
    if os.path.isdir(path):
        files = _files(path, TEXTS)
        return np.array([text.content(str(file)) for file in files], object), [str(file) for file in files]
    if suffix not in TEXTS:
        raise ValueError(f"`{path}` is no file of texts; expected a .txt file or a folder of them, a table, or .npz.")
    return np.array(text.content(path).splitlines() or [""], object), None


def _images(path: str, model: keras.Model) -> tuple[np.ndarray, list[str]]:
    import tensorflow as tf

    height, width, channels = model.inputs[0].shape[1:]
    files = _files(path, IMAGES) if os.path.isdir(path) else [pathlib.Path(path)]
    images = np.empty((len(files), height, width, channels), np.uint8)
    for place, file in enumerate(files):
        try:
            image = tf.io.decode_image(file.read_bytes(), channels=channels, expand_animations=False)
        except (tf.errors.OpError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is damaged, or no image"
            raise ValueError(f"`{file}` cannot be decoded: {reason}; mend it, or leave it out.") from None
        if tuple(image.shape[:2]) != (height, width):
            raise ValueError(
                f"`{file}` is {image.shape[0]}x{image.shape[1]} and the model takes {height}x{width} (height x width); "
                "resize it as the training images were."
            )
        images[place] = image
    return images, [str(file) for file in files]


def _files(folder: str, endings: tuple[str, ...]) -> list[pathlib.Path]:
    found = sorted(file for file in pathlib.Path(folder).rglob("*") if file.suffix.lower() in endings)
    if not found:
        raise ValueError(f"`{folder}` holds no file that ends in {', '.join(endings)}.")
    return found
