"""Opens a prepared TFDS data set, prepares one that can be prepared here, and says what to do about the rest."""

from __future__ import annotations

import collections
import contextlib
import difflib
import fcntl
import io
import os
import random
import re
import shutil
import sys
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..settings import user_files
from . import builtin as datasets
from . import foreign_code

NAME = re.compile(r"(?P<base>[a-z][a-z0-9_]*)(/\w[\w.+-]*)?(?P<version>:\d+\.(\d+|\*)\.(\d+|\*))?", re.ASCII)
LONGEST_NAME = 200  # characters; a file system's own limit is 255 for each part
PROBE_SECONDS = 4.0
WITHOUT_NETWORK = ", ".join([*datasets.REGISTRY, datasets.SYNTHETIC])


def builder(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    borrowed: contextlib.ExitStack | None = None,
    fetch: bool = True,
) -> Any:
    """Opens a TFDS data set, preparing it if it is not on disk yet.

    A version on disk is taken as it is, even where the installed TFDS would prepare a newer one. Several processes may
    ask for the same data set at once: one prepares it, the others wait. What an interrupted preparation left behind
    does no harm.

    Args:
        name: `name`, `name/config`, `name:1.2.3` or `name/config:1.2.3`, in TFDS's spelling, or the folder of a
            prepared data set, which has a `dataset_info.json`.
        data_dir: folder of prepared data sets; None: TFDS's own, $TFDS_DATA_DIR or ~/tensorflow_datasets.
        borrowed: where given, a data set that needs no network is prepared in a temporary folder, which goes with the
            stack, and not in `data_dir`.
        fetch: whether any other data set may be downloaded and prepared; with `borrowed` also whether `data_dir` is
            to be one that can be written.

    Returns:
        A `tfds.core.DatasetBuilder` whose data is prepared.

    Raises:
        ValueError: for what is no name, an unknown data set, version or configuration, or one that is neither prepared
            nor reachable; the latter within seconds and with the command that prepares it.
    """
    if is_prepared(name):
        return _of_folder(name, data_dir)
    match = NAME.fullmatch(name) if len(name) <= LONGEST_NAME else None
    if not match:
        raise ValueError(_no_name(name))
    import tensorflow_datasets as tfds

    folder = Path(user_files.local(os.fspath(data_dir or tfds.core.constants.get_default_data_dir()), "data_dir"))
    built_in = match["base"] in datasets.REGISTRY
    if built_in:
        datasets.REGISTRY[match["base"]]()  # TFDS learns of a builder when its class is defined.
    foreign_code.refuse_code()
    foreign_code.check_files(folder / match["base"])
    found = _open(name, folder)
    if not found.info.splits and not match["version"]:
        with contextlib.suppress(Exception):  # Whatever is wrong with another version, it is not there to be used.
            found = tfds.core.read_only_builder.builder_from_files(name, data_dir=folder)
    if not found.info.splits:
        if borrowed is not None and built_in:
            if fetch:
                _check_writable(name, folder)
            folder = Path(borrowed.enter_context(tempfile.TemporaryDirectory(prefix="constrained-training-")))
            found = _open(name, folder)
        _prepare(found, name, built_in, folder, fetch)
        found = _open(name, folder)
    foreign_code.check_splits(found)
    return found


def is_prepared(name: str) -> bool:
    """Whether a name is the folder of a prepared TFDS data set."""
    try:
        return (Path(name).expanduser() / "dataset_info.json").is_file()
    except (OSError, RuntimeError, ValueError):  # Too long, somebody else's home, a NUL.
        return False


def _of_folder(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    import tensorflow_datasets as tfds

    if data_dir is not None:
        raise ValueError(f"data_dir={data_dir} holds data sets by name, but `{name}` is a folder itself; leave it out.")
    folder = Path(user_files.local(name, "--dataset"))
    foreign_code.refuse_code()
    foreign_code.check_files(folder)
    try:
        found = tfds.builder_from_directory(folder)
    except Exception as error:  # Whatever a damaged file makes TFDS raise.
        reason = " ".join(str(error).split())
        raise ValueError(f"Data set `{name}` cannot be opened: {reason}") from error
    foreign_code.check_splits(found)
    return found


def keep(name: str, data_dir: str | os.PathLike[str] | None = None) -> None:
    """Prepares a data set that needs no network in `data_dir`, where it is not there: the next run starts sooner.

    Raises:
        ValueError: what `builder` raises.
    """
    import tensorflow_datasets as tfds

    if not NAME.fullmatch(name) or is_prepared(name):
        return
    base = re.split("[/:]", name)[0]
    folder = Path(data_dir or tfds.core.constants.get_default_data_dir()).expanduser()
    if base in datasets.REGISTRY and not any((folder / base).glob("*/dataset_info.json")):
        builder(name, folder)


def _no_name(name: str) -> str:
    return (
        f"`{name[:LONGEST_NAME]}` is not the name of a data set: expected name, name/config or name/config:1.2.3 in "
        f"lower case, such as digits or mnist; the folder that holds prepared data sets is data_dir.{_no_file(name)}"
    )


def _no_file(name: str) -> str:
    if os.path.lexists(name):
        return " Of your own files, .npz, .csv, .tsv and .parquet are read, and folders of images or texts by class."
    return " There is no such file either." if re.search(r"\.[A-Za-z]\w{0,7}$", name) else ""


def _check_writable(name: str, folder: Path) -> None:
    """Raises what preparing a data set in a folder would raise; nothing stays there."""
    missing = folder
    while not os.path.lexists(missing.parent) and missing != missing.parent:
        missing = missing.parent
    try:
        if os.path.lexists(folder):
            with tempfile.TemporaryFile(dir=folder):
                pass
        else:
            # The system alone knows where a folder may be: who may do anything may still not do it in /proc.
            missing.mkdir()
            missing.rmdir()
    except OSError as error:
        raise ValueError(
            f"Data set `{name}` cannot be prepared in {folder}: {error}; choose another data_dir or mend that."
        ) from None


def _open(name: str, folder: Path) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=folder)
    except tfds.core.registered.DatasetNotFoundError:
        known = [*tfds.list_builders(with_community_datasets=False), *datasets.REGISTRY, datasets.SYNTHETIC]
    except Exception as error:
        # Builders raise all sorts of things for a wrong version or configuration and for damaged files.
        reason = re.sub(r"^Failed to construct dataset .*?}\": ", "", " ".join(str(error).split()))
        if "/" in name and reason.startswith("BuilderConfig"):
            configurations = ", ".join(tfds.builder_cls(name.split("/")[0]).builder_configs)
            reason = f"it has {f'the configurations {configurations}' if configurations else 'no configurations'}."
        raise ValueError(f"Data set `{name}` in {folder} cannot be opened: {reason}") from error
    close = difflib.get_close_matches(re.split("[/:]", name)[0], sorted(set(known)), n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {WITHOUT_NETWORK} and all of TFDS."
    raise ValueError(f"Unknown data set `{name}`; {hint}{_no_file(name)}")


def _prepare(found: Any, name: str, built_in: bool, folder: Path, fetch: bool) -> None:
    import tensorflow_datasets as tfds

    python = "python" if shutil.which("python") == sys.executable else sys.executable
    command = f"{python} -m {__package__} {name} --data_dir={folder}"
    place = Path(found.data_dir)
    if not built_in:
        if os.path.exists(place):
            raise ValueError(f"Data set `{name}` in {place} is damaged: remove that folder, then run `{command}`.")
        _refuse_manual(found, name, folder, command)
        if not fetch:
            raise ValueError(
                f"Data set `{name}` is not prepared in {folder}, and --dry_run writes nothing; run `{command}` first."
            )
        host = _host(found)
        if not _reachable(host):
            raise ValueError(
                f"Data set `{name}` is not prepared in {folder}, and its source {host} cannot be reached. Where there "
                f"is a network, run `{command}`, or copy {folder / found.name} from a machine that has it; "
                f"{WITHOUT_NETWORK} need no network."
            )
    try:
        with _alone(folder / found.name), _apart_from_seeds(), _quiet(stdout=built_in):
            if built_in:  # Only this project prepares it, under this lock, so that any such folder is dead.
                for leftover in place.parent.glob(f"{tfds.core.constants.INCOMPLETE_PREFIX}*"):
                    shutil.rmtree(leftover, ignore_errors=True)
                if os.path.exists(place) and not _open(name, folder).info.splits:
                    shutil.rmtree(place)
            if not os.path.exists(place):
                found.download_and_prepare()
    except Exception as error:  # Whatever a third party's builder raises.
        if not os.path.exists(place):  # On a file system without locks another process may have been faster.
            mended = "choose another data_dir or mend that" if isinstance(error, OSError) else "mend that"
            remedy = f"{mended}, then run `{command}`"
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"Data set `{name}` cannot be prepared in {folder}: {reason}; {remedy}.") from error


def _refuse_manual(found: Any, name: str, folder: Path, command: str) -> None:
    manual = folder / "downloads" / "manual"
    if found.MANUAL_DOWNLOAD_INSTRUCTIONS and not (manual.is_dir() and any(manual.iterdir())):
        instructions = " ".join(found.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
        raise ValueError(
            f"Data set `{name}` is not prepared in {folder} and has to be downloaded by hand into {manual}; then run "
            f"`{command}`. Its authors say: {instructions}"
        )


def _host(found: Any) -> str:
    parts = [urllib.parse.urlsplit(url) for url in found.url_infos or ()]
    hosts = collections.Counter(part.netloc for part in parts if part.scheme in ("http", "https"))
    return hosts.most_common(1)[0][0] if hosts else "storage.googleapis.com"


def _reachable(host: str) -> bool:
    import requests  # What TFDS downloads with: the same proxies and certificates.

    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(requests.RequestException):
            requests.head(f"https://{host}/", timeout=PROBE_SECONDS)
            answered.set()  # Any answer will do.

    # Looking up a name may hang for longer than any time-out of a socket, hence a thread that is left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another process that prepares {folder}.", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # Some network file systems have no locks.
            pass
        yield


@contextlib.contextmanager
def _apart_from_seeds() -> Iterator[None]:
    # TFDS names its temporary folder with Python's global generator: two processes with the same seed would share it.
    # Keras draws its seeds from there too, so the generators must come out as they went in, or a run depends on whether
    # it had to prepare its data.
    python, numpy = random.getstate(), np.random.get_state()
    random.seed()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def _quiet(stdout: bool) -> Iterator[None]:
    from tensorflow_datasets.core.utils import tqdm_utils

    active = tqdm_utils._active
    tqdm_utils.display_progress_bar(active and not stdout and sys.stderr.isatty())
    try:
        with contextlib.redirect_stdout(io.StringIO()) if stdout else contextlib.nullcontext():
            yield
    finally:
        tqdm_utils.display_progress_bar(active)
