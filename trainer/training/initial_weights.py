"""`--init_from`: a new run begins with the weights of another run or of a file of Keras's."""

from __future__ import annotations

import os
import pathlib
import warnings
import zlib
from collections.abc import Sequence
from typing import Any

import h5py
import keras
import numpy as np

from ..runtime.keras_internals import every_layer
from ..settings import user_files
from ..storage import files, run_directory, saved_weights
from ..storage.checkpoint_folders import MANIFEST
from . import keras_files

FLAG = "--init_from"

# The path of a weight and its shape.
Side = list[tuple[str, tuple[int, ...]]]


def load(source: str, model: keras.Model) -> None:
    """Copies weights into a network that is built; all of them or, where one does not fit, none.

    The optimizer starts afresh. Weights are told by their paths; where the two networks name their layers differently,
    by their order.

    Args:
      source: directory of a run, whose newest whole checkpoint counts, FILE.keras or FILE.weights.h5.
      model: the network.

    Raises:
      ValueError: the source is none of these, damaged or of another network, or holds a weight that is not finite.
    """
    where = f"{FLAG}={user_files.shown(source)}"
    kept = [variable.numpy() for variable in model.weights]
    try:
        if source.endswith(keras_files.WEIGHTS) and not os.path.isdir(source):
            _load_h5(source, model, where)
        else:
            assign(_weights(source, where), model, where)
        bad = next((one for one in model.weights if not np.all(np.isfinite(one.numpy().astype(np.float64)))), None)
        if bad is not None:
            raise ValueError(f"{where}: `{bad.path}` holds NaN or infinity; choose a source with finite weights.")
    except BaseException:
        for variable, value in zip(model.weights, kept, strict=True):
            variable.assign(value)
        raise


def fingerprint(source: str) -> str:
    """Changes whenever the weights that `load` would read do; part of a run's identity.

    Raises:
      ValueError: as `load`.
    """
    if os.path.isdir(source):
        # The manifest holds the checksum of every file of a checkpoint.
        checkpoint = _newest(source, f"{FLAG}={user_files.shown(source)}")
        return f"crc32:{zlib.crc32(files.text(checkpoint / MANIFEST).encode()):08x}"
    return keras_files.fingerprint(source, FLAG)


def _newest(source: str, where: str) -> pathlib.Path:
    return saved_weights.newest(pathlib.Path(source) / run_directory.CHECKPOINTS, where)


def _weights(source: str, where: str) -> list[tuple[str, np.ndarray]]:
    """The path and the value of each weight of a run or of a `.keras` file."""
    if os.path.isdir(user_files.local(source, FLAG)):
        return of_run(source, where)
    if source.endswith(keras_files.MODEL):
        other = keras_files.read(source, FLAG)
        return [(variable.path, variable.numpy()) for variable in _ordered(other)]
    if not os.path.exists(source):
        raise ValueError(f"{where} does not exist; give the directory of a run, FILE.keras or FILE.weights.h5.")
    raise ValueError(f"{where} is neither the directory of a run, nor FILE.keras, nor FILE.weights.h5.")


def _ordered(model: keras.Model) -> list[Any]:
    """The weights, trainable ones first, as a checkpoint lists them."""
    trainable = {id(variable) for variable in model.trainable_variables}
    return [*model.trainable_variables, *(one for one in model.weights if id(one) not in trainable)]


def of_run(run: str, what: str) -> list[tuple[str, np.ndarray]]:
    """The path and the value of each weight in a run's newest whole checkpoint.

    Args:
      run: the run's directory.
      what: what asked for it, for messages.

    Raises:
      ValueError: there is no such checkpoint.
    """
    return saved_weights.read(_newest(run, what), what)


def assign(source: Sequence[tuple[str, np.ndarray]], model: keras.Model, what: str) -> None:
    """Copies weights into a network that has the same ones, see `load`.

    Args:
      source: path and value of each, trainable ones first.
      model: the network.
      what: what asked for it, for messages.

    Raises:
      ValueError: they are those of another network; nothing was copied.
    """
    own = _ordered(model)
    given = dict(source)
    by_path = len(given) == len(source) and {variable.path for variable in own} == given.keys()
    values = [given[variable.path] for variable in own] if by_path else [value for _, value in source]
    names = [variable.path for variable in own] if by_path else [path for path, _ in source]
    fit = len(own) == len(values) and all(
        tuple(variable.shape) == value.shape and path.split("/")[-1] == variable.name
        for variable, value, path in zip(own, values, names, strict=True)
    )
    if not fit:
        mine: Side = [(variable.path, tuple(variable.shape)) for variable in own]
        raise ValueError(_told(what, model.name, mine, [(path, value.shape) for path, value in source]))
    for variable, value in zip(own, values, strict=True):
        variable.assign(value)


def _load_h5(source: str, model: keras.Model, where: str) -> None:
    """Has Keras load a file of weights, after their number was compared."""
    try:
        with keras_files.opened(source, FLAG) as binary, h5py.File(binary, "r") as file:
            theirs = _stored(file)
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{where} is damaged or no HDF5 file: {error}; save the weights again.") from None
    mine: Side = []
    stored: dict[str, str] = {}
    for layer in every_layer(model):
        own: dict[str, Any] = {}
        layer.save_own_variables(own)
        stored |= {f"{layer.name}/{place}": variable.path for place, variable in own.items()}
        mine += [(variable.path, tuple(variable.shape)) for variable in own.values()]
    theirs = [(stored.get(path, path), shape) for path, shape in theirs]
    message = _told(where, model.name, mine, theirs)
    if len(mine) != len(theirs):
        raise ValueError(message)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.load_weights(user_files.local(source, FLAG))
    except Exception as error:
        # Whatever a layer raises that finds something else than it stores.
        raise ValueError(message) from error


def _stored(file: h5py.File) -> Side:
    """Layer, place and shape of each weight in a file, without the optimizer's and without the states of dropout."""
    found: Side = []

    def visit(path: str, entry: Any) -> None:
        group, _, place = path.rpartition("/")
        if isinstance(entry, h5py.Dataset) and not path.startswith("optimizer/"):
            layer = str(entry.parent.attrs.get("name", group.removesuffix("/vars")))
            if not layer.startswith("seed_generator"):
                found.append((f"{layer}/{place}", entry.shape))

    file.visititems(visit)
    return found


def _told(where: str, model: str, mine: Side, theirs: Side) -> str:
    """What does not fit, by the first weight that differs."""
    given, own = dict(theirs), dict(mine)
    pairs: list[tuple[Any, Any]]
    if given.keys() & own.keys():
        pairs = [((path, shape), (path, given[path]) if path in given else None) for path, shape in mine]
        pairs += [(None, (path, shape)) for path, shape in theirs if path not in own]
    else:
        count = max(len(mine), len(theirs))
        padded = [[*side, *[None] * (count - len(side))] for side in (mine, theirs)]
        pairs = list(zip(*padded, strict=True))
    different = next((pair for pair in pairs if pair[0] is None or pair[1] is None or pair[0][1] != pair[1][1]), None)
    first = ""
    if different is not None:
        said = ["nothing" if one is None else f"`{one[0]}` of shape {one[1]}" for one in different]
        first = f": the first difference is {said[0]} in the model, {said[1]} there"
    return (
        f"{where} holds {len(theirs)} weights of another network than `{model}`, which has {len(mine)}{first}. Choose "
        "the options that the source was trained with, or another source; nothing was copied."
    )
