"""Reads an archive of NumPy arrays in the layout of `keras.datasets`: x_train, y_train, x_test, y_test."""

from __future__ import annotations

import zipfile
import zlib
from typing import BinaryIO

import numpy as np

from ..examples import IMAGE, NUMBERS, TEXT, Examples, FileOptions, Raw
from . import common

PARTS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
WEIGHTS = ("w", "sample_weight")
# What a damaged archive raises, by the place of the damage.
DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError)


def read(path: str, options: FileOptions) -> Raw:
    """Reads x, y and weights of every part that the archive holds.

    Features of uint8 and rank 3 or 4 are images, [n, height, width] or [n, height, width, channels]. Strings are texts.
    All else is numbers. Labels stay as they are. An archive without any y has no labels.

    Args:
      path: an `.npz` file. Weights are `w_train` or `sample_weight_train`, and so on for the other parts.
      options: a text's options; no other applies.

    Raises:
      ValueError: the file cannot be read or is damaged, holds pickled objects, or lacks an array; the arrays do not fit
        each other; a value is not finite.
    """
    with common.open_file(path) as file:
        fingerprint = common.fingerprint(file)
        arrays, unused = _arrays(path, file)
    parts = {part: _part(path, part, arrays) for part in PARTS if f"x_{part}" in arrays}
    labelled = [part for part, examples in parts.items() if examples.labels is not None]
    if labelled and len(labelled) < len(parts):
        (part, *_) = [part for part in parts if part not in labelled]
        raise ValueError(
            f"`{path}` has y_{labelled[0]} but no y_{part}; add the labels of x_{part}, or leave x_{part} out."
        )
    kind = _kind(path, parts)
    taken = ("vocabulary_size", "text_length") if kind == TEXT else ()
    common.check_options(path, f"an archive of {'texts' if kind == TEXT else 'numbers'}", options, taken)
    warnings = (f"`{path}` holds {', '.join(unused)} too, which is not read.",) if unused else ()
    return Raw(path, kind, parts, fingerprint=fingerprint, warnings=warnings)


def _arrays(path: str, file: BinaryIO) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays by their first name, such as `x_validation`, and the names of arrays that mean nothing here."""
    aliases = {
        f"{one}_{alias}": f"{letter}_{part}"
        for part, others in PARTS.items()
        for alias in others
        for letter, ones in {"x": ("x",), "y": ("y",), "w": WEIGHTS}.items()
        for one in ones
    }
    if not zipfile.is_zipfile(file):
        raise ValueError(f"`{path}` is not an .npz archive, or it is cut short; write it again with numpy.savez.")
    file.seek(0)
    name, found = "its list of arrays", {}
    try:
        with np.load(file, allow_pickle=False) as archive:
            names = list(archive.files)
            for name in filter(names.__contains__, aliases):
                found[name] = archive[name]
    except MemoryError:
        raise ValueError(f"`{path}` holds {name}, which does not fit in memory; make it smaller.") from None
    except DAMAGE as error:
        if "pickle" in str(error):
            raise ValueError(
                f"`{path}` holds {name} as Python objects, which are never unpickled because they can run code; save "
                f"it as plain values, such as {name}.astype(str) or {name}.astype('float32')."
            ) from None
        raise ValueError(f"`{path}` is damaged at {name} ({error}); write it again with numpy.savez.") from None
    if "x_train" not in found:
        raise ValueError(
            f"`{path}` has no array x_train; its arrays are {', '.join(names) or 'none'}, and expected are x_train, "
            "y_train, x_test and y_test."
        )
    arrays: dict[str, np.ndarray] = {}
    for name, array in found.items():
        if aliases[name] in arrays:
            raise ValueError(f"`{path}` has {aliases[name]} under two names, one of them {name}; leave one out.")
        arrays[aliases[name]] = _native(path, name, array)
    return arrays, [name for name in names if name not in aliases]


def _native(path: str, name: str, array: np.ndarray) -> np.ndarray:
    """An array in this machine's byte order; bytes become text."""
    where = f"`{path}`: {name}"
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{where} holds bytes that are not UTF-8 ({error}); save it with .astype(str).") from None
    if array.dtype.kind not in "biufU":
        raise ValueError(f"{where} has the type {array.dtype}; expected numbers or strings. Save it as one of these.")
    if array.ndim == 0 or not array.size:
        raise ValueError(f"{where} has the shape {array.shape}, so that it holds no examples; expected a row for each.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _part(path: str, part: str, arrays: dict[str, np.ndarray]) -> Examples:
    x, y, w = (arrays.get(f"{letter}_{part}") for letter in "xyw")
    assert x is not None
    for letter, array in (("x", x), ("y", y), ("w", w)):
        if array is None:
            continue
        if len(array) != len(x):
            raise ValueError(
                f"`{path}`: x_{part} has {len(x):,} rows and {letter}_{part} has {len(array):,}; expected equally many."
            )
        if array.dtype.kind == "f":
            bad = np.flatnonzero(common.too_large(array).reshape(len(array), -1).any(axis=1))
            if bad.size:
                values = array[bad[0]].reshape(-1)
                more = f" and in {len(bad) - 1:,} more" if len(bad) > 1 else ""
                raise ValueError(
                    f"`{path}`: {letter}_{part} holds {values[common.too_large(values)][0]} in row {bad[0]}{more}, "
                    "counted from 0; expected finite numbers of float32. Mend or leave out such rows."
                )
    if y is not None and y.ndim > 2:
        raise ValueError(f"`{path}`: y_{part} has the shape {y.shape}; expected [n], or [n, outputs].")
    if w is not None:
        if w.size != len(w) or w.dtype.kind not in "biuf":
            raise ValueError(
                f"`{path}`: w_{part} has the shape {w.shape} and the type {w.dtype}; expected a number for each row."
            )
        w = common.weights_of(w.reshape(-1), f"`{path}`: w_{part}", int)
    if x.ndim == 1 and x.dtype.kind != "U":
        x = x[:, np.newaxis]
    if x.dtype == np.uint8 and x.ndim == 3:
        x = x[..., np.newaxis]
    return Examples(len(x), x, y, w)


def _kind(path: str, parts: dict[str, Examples]) -> str:
    """The kind of the features, after a check that all parts are of one kind and shape."""
    for part, examples in parts.items():
        for letter, one, two in (
            ("x", parts["train"].features, examples.features),
            ("y", parts["train"].labels, examples.labels),
        ):
            if isinstance(one, np.ndarray) and isinstance(two, np.ndarray) and _look(one) != _look(two):
                raise ValueError(
                    f"`{path}`: a row of {letter}_train is {_look(one)}, and a row of {letter}_{part} is {_look(two)}; "
                    "expected the same in both."
                )
    train = parts["train"].features
    assert isinstance(train, np.ndarray)
    if train.dtype.kind == "U":
        if train.ndim == 1:
            return TEXT
        raise ValueError(f"`{path}`: x_train holds strings of shape {train.shape}; expected one text a row, [n].")
    return IMAGE if train.dtype == np.uint8 and train.ndim == 4 else NUMBERS


def _look(array: np.ndarray) -> str:
    """What one row of an array is, for a comparison and for messages."""
    what = "text" if array.dtype.kind == "U" else "numbers"
    # Pixels of uint8 are divided by 255, and other numbers are not.
    what = "pixels of uint8" if array.dtype == np.uint8 and array.ndim > 2 else what
    return f"{what} of shape {array.shape[1:]}"
