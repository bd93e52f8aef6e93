"""Reads Keras's own files from anywhere: no code from them runs, and what is wrong with one is said in a sentence."""

from __future__ import annotations

import json
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import keras

from ..settings import user_files
from ..storage import files

MODEL = ".keras"
WEIGHTS = ".weights.h5"

_CONFIG = "config.json"
# A member of an archive that expands to more than this many times its size on the disk is a trap.
_MOST_EXPANSION = 100
_SLACK = 2**20  # bytes
# Layers that are Python code, or that run a program from another file.
_CODE = {"__lambda__", "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
# The package that this project's own constraints are registered under.
_OWN = "constraints"
_IN_PYTHON = "build it in Python and pass it to trainer.Trainer"


def read(path: str, what: str) -> keras.Model:
    """Loads a network with its weights, in the scope of the present strategy.

    Args:
      path: the file, as the user wrote it.
      what: the flag it was written for, for messages.

    Returns:
      The model as it was saved, but not compiled.

    Raises:
      ValueError: there is no such file, it is damaged or of another kind, it holds code or classes that are not
        Keras's, or it does not hold a model.
    """
    where = f"{what}={user_files.shown(path)}"
    if not path.endswith(MODEL):
        kind = "is an HDF5 file, which may hold code" if path.endswith((".h5", ".hdf5")) else "is no .keras file"
        raise ValueError(f"{where} {kind}; load it in Python and save it by model.save('FILE.keras').")
    with opened(path, what) as file:
        config = _config(file, where)
    _check_classes(config, where)
    try:
        model = keras.saving.load_model(user_files.local(path, what), compile=False, safe_mode=True)
    except Exception as error:
        # Whatever its classes raise, from TypeError to KeyError.
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{where} cannot be loaded by Keras {keras.__version__}: {reason}. Load it with the version that saved it "
            f"and save it again, or {_IN_PYTHON}."
        ) from error
    if not isinstance(model, keras.Model):
        raise ValueError(f"{where} holds a {type(model).__name__}, and not a model; save a keras.Model.")
    return model


def fingerprint(path: str, what: str) -> str:
    """The CRC-32 of a file's bytes.

    Args:
      path: the file, as the user wrote it.
      what: the flag it was written for, for messages.

    Raises:
      ValueError: there is no such file.
    """
    value = 0
    with opened(path, what) as file:
        while chunk := file.read(2**20):
            value = zlib.crc32(chunk, value)
    return f"crc32:{value:08x}"


def config(path: str, what: str) -> Any:
    """The content of a model's `config.json`; arguments and errors are those of `read`."""
    with opened(path, what) as file:
        return _config(file, f"{what}={user_files.shown(path)}")


def objects(config: Any) -> Iterator[dict[str, Any]]:
    """Each serialised object of a network's description; its loss, metrics and optimizer are left out."""
    waiting = [config]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, dict):
            if "class_name" in entry and "config" in entry:
                yield entry
            waiting += [value for key, value in entry.items() if key != "compile_config"]
        elif isinstance(entry, list):
            waiting += entry


def opened(path: str, what: str) -> BinaryIO:
    """Opens a regular file that a user named; arguments and errors are those of `fingerprint`."""
    where = f"{what}={user_files.shown(path)}"
    try:
        # Without waiting, because opening a pipe waits for its writer.
        descriptor = os.open(user_files.local(path, what), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ValueError(f"{where} cannot be read: {error.strerror}; give the path of a file.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{where} is no file but a folder, a pipe or a device; give the path of a file.")
    return open(descriptor, "rb")


def _config(file: BinaryIO, where: str) -> Any:
    """Checks an archive and reads what it says of the network."""
    remedy = "save the model again, by model.save('FILE.keras')."
    try:
        with zipfile.ZipFile(file) as archive:
            if _CONFIG not in archive.namelist():
                raise ValueError(f"{where} is an archive without {_CONFIG}, and not a Keras model; {remedy}")
            for member in archive.infolist():
                if member.file_size > _MOST_EXPANSION * (member.compress_size + _SLACK):
                    raise ValueError(f"{where} is damaged: {member.filename} expands to {member.file_size:,} bytes.")
            if archive.getinfo(_CONFIG).file_size > files.LARGEST:
                raise ValueError(f"{where} is damaged: {_CONFIG} has more than {files.LARGEST:,} bytes.")
            damaged = archive.testzip()
            text = b"" if damaged else archive.read(_CONFIG)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError) as error:
        raise ValueError(f"{where} is damaged or not a Keras file ({error}); {remedy}") from None
    if damaged:
        raise ValueError(f"{where} is damaged: the checksum of {damaged} does not hold; {remedy}")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{where} is damaged: {_CONFIG} is not JSON; {remedy}") from None


def _check_classes(config: Any, where: str) -> None:
    """Raises ValueError for code, and for classes that are neither Keras's nor this project's constraints."""
    for entry in objects(config):
        name, module, registered = (entry.get(key) for key in ("class_name", "module", "registered_name"))
        inner = entry["config"]
        label = f"{name} layer `{inner['name']}`" if isinstance(inner, dict) and "name" in inner else str(name)
        if name in _CODE:
            raise ValueError(
                f"{where} holds code, the {user_files.shown(label)}, and no code from a file is run; write it with "
                f"layers of Keras, or {_IN_PYTHON}."
            )
        package, marked, _ = str(registered or "").partition(">")
        own = bool(marked) and package == _OWN
        of_keras = str(module).split(".")[0] in ("keras", "builtins") and not marked
        if not own and not of_keras and not str(name).startswith("__"):
            raise ValueError(
                f"{where} holds a class that is not Keras's own, {user_files.shown(f'{module}.{name}')}; use layers of "
                f"Keras, or {_IN_PYTHON}."
            )
