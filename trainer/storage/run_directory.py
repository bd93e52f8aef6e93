"""The run directory: who may write into it, which run it holds, and the two files that say so.

`flags.txt` makes the run again, `run.json` says what ran where. Nothing is created before the whole experiment has been
built, and a directory that holds anything but a run is never touched.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import socket
import stat
import time
from collections.abc import Callable
from typing import Any

from . import files

CHECKPOINTS = "checkpoints"
CERTIFICATE = "certificate.json"
EXPORT = "export"
FLAGS = "flags.txt"
HISTORY = "history.json"
LOCK = ".lock"
MODEL = "model.keras"
PREPROCESSING = "preprocessing.keras"
RUN = "run.json"
SAVED = "saved.json"
EVENTS = ("eval", "train")
OWN = frozenset({CERTIFICATE, CHECKPOINTS, EXPORT, FLAGS, HISTORY, LOCK, MODEL, PREPROCESSING, RUN, SAVED, *EVENTS})
FOLDERS = (CHECKPOINTS, f"{CHECKPOINTS}/best", EXPORT, *EVENTS)
# What `run.json` calls the fingerprints of the files that a run reads.
FILES = "files"
# The settings that may be raised while a run goes on, and those that may then be written in another unit.
LENGTH = ("epochs", "train_steps")
PLACES = ("begin", "boundaries", "end", "warmup")
# Attempts at the lock, a tenth of a second apart: a command that only looks whether it is taken holds it for a moment.
LOCK_ATTEMPTS = 5
# What `flock` answers on a file system without locks, as Lustre and some NFS are.
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})


def differing(earlier: dict[str, Any], settings: dict[str, Any]) -> str:
    """The names of the settings that differ."""
    names = earlier.keys() | settings.keys()
    return ", ".join(sorted(name for name in names if earlier.get(name) != settings.get(name)))


class RunDirectory:
    """The directory of one run.

    Args:
      path: the directory.
      settings: what the run computes, as plain JSON values; a run of equal settings is the same run.
      described: says how the settings of an earlier run differ from these; "" where they do not.
      resume: "auto" continues an earlier run, "never" refuses to, "must" refuses to begin one.
      overwrite: deletes an earlier run.
      dry_run: whether the directory is only looked at, and another process may train in it.

    Attributes:
      path: the directory.
      exclusive: whether a second run would be noticed; False after `open` where the file system has no locks.
      shorter: what `run.json` says of an earlier run that these settings make longer; None where there is none.
      read: the fingerprints of the files that the run to be continued began with.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: dict[str, Any],
        *,
        described: Callable[[dict[str, Any], dict[str, Any]], str] = differing,
        resume: str = "auto",
        overwrite: bool = False,
        dry_run: bool = False,
    ):
        self.path = pathlib.Path(path)
        self.exclusive = True
        self.shorter: dict[str, Any] | None = None
        self.read: dict[str, str] = {}
        self._settings = settings
        self._described = described
        self._resume = resume
        self._overwrite = overwrite
        self._dry_run = dry_run
        self._lock: int | None = None
        # Not known before the files were read, which `check` does not wait for.
        self._files: dict[str, str] | None = None

    @property
    def checkpoints(self) -> pathlib.Path:
        """Folder of the checkpoints."""
        return self.path / CHECKPOINTS

    def check(self) -> bool:
        """Decides, without writing anything, what this command may do here.

        Returns:
          True when an earlier run is to be continued, False when a new one begins.

        Raises:
          ValueError: the directory cannot be used; the message says why and how to go on.
        """
        _check_writable(self.path)
        self.shorter = None
        if not self.path.exists() or not any(self.path.iterdir()):
            return self._fresh()
        names = {entry.name.removesuffix(".new") for entry in self.path.iterdir()}
        # Folders called train and eval hold a data set as often as a run; these three say which.
        foreign = sorted(names - OWN if names & {FLAGS, LOCK, RUN} else names)
        if foreign:
            raise ValueError(
                f"--run_dir={self.path} holds {', '.join(foreign[:3])}, which no run wrote; "
                "choose an empty or a new directory."
            )
        if self._lock is None and not self._dry_run:
            # Building the experiment can take minutes, so a directory that is taken is refused before it.
            self._refuse_taken()
        if self._overwrite:
            return False
        self._refuse_strange()
        record = self._record()
        if record is None:
            return self._fresh()
        self.shorter = record if self._is_shorter(record) else None
        difference = self._described(record["settings"], self._settings)
        if difference and self.shorter is None:
            flagfile = self.path / FLAGS
            # A run that was begun in Python has none.
            how = f"with --flagfile={shlex.quote(str(flagfile))}" if flagfile.exists() else "as it was begun"
            raise ValueError(
                f"--run_dir={self.path} holds a run with other settings:\n  {difference}\n"
                f"Continue it {how}, choose another --run_dir, or add --overwrite to delete it."
            )
        if self._resume == "never":
            raise ValueError(
                f"--run_dir={self.path} holds this run already and --resume=never forbids to continue it; "
                "choose another --run_dir, or add --overwrite to delete it."
            )
        self.read = record.get(FILES, {})
        self._refuse_changed(self.read)
        return True

    def open(self, flagfile: str | None, facts: dict[str, Any]) -> bool:
        """Takes the directory: creates it, locks it, and writes the two files of a new run.

        Args:
          flagfile: content of `flags.txt`; None: the run was not begun by flags.
          facts: what `run.json` says beside the settings: versions, devices, fingerprints of files.

        Returns:
          True when an earlier run is continued.

        Raises:
          ValueError: the directory cannot be written, another process is training in it, or a file that its run reads
            has changed.
        """
        self._files = facts.get(FILES, {})
        # Before anything is created, and again when no other process can change what is decided on.
        self.check()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            resumed = self.check()
            if not resumed:
                # The record goes first: a deletion that is cut short must not leave what looks like a run to continue.
                for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name != RUN):
                    if entry.name != LOCK:
                        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
                self._write(flagfile, facts)
            for leftover in self.path.glob("*.new"):
                leftover.unlink()
        except OSError as error:
            self.close()
            raise ValueError(
                f"--run_dir={self.path} cannot be written: {error.strerror or error}; "
                "choose a directory on a writable disk."
            ) from None
        except ValueError:
            self.close()
            raise
        return resumed

    def identity(self) -> str:
        """Tells this run from any that computes something else; what is saved for the one is no use to the other."""
        record = files.document(self.path / RUN)
        content = json.dumps(record["settings"], sort_keys=True).encode()
        return record.get("identity") or f"sha256:{hashlib.sha256(content).hexdigest()}"

    def lengthen(self, flagfile: str | None, facts: dict[str, Any], step: int) -> None:
        """Makes the run that `open` found a longer one, which keeps its identity.

        Args:
          flagfile: the new content of `flags.txt`.
          facts: as for `open`.
          step: the newest that there is a checkpoint of.
        """
        self._write(flagfile, {"identity": self.identity(), **facts})
        self.note_saved(step)

    def note_saved(self, step: int) -> None:
        """Writes down that there is a checkpoint of a step, so that its loss is noticed."""
        files.write_atomically(self.path / SAVED, json.dumps({"step": step}) + "\n")

    def saved(self) -> int | None:
        """The step of the newest checkpoint that the run saved; None where no such note is readable."""
        try:
            step = files.document(self.path / SAVED)["step"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return step if isinstance(step, int) else None

    def check_held(self) -> None:
        """Raises OSError when the directory is no longer the one that `open` took: deleted, moved or replaced."""
        assert self._lock is not None
        try:
            same = os.path.samestat(os.fstat(self._lock), os.lstat(self.path / LOCK))
        except OSError:
            same = False
        if not same:
            raise OSError(
                errno.ENOENT, "it or its .lock was deleted, moved or replaced while the run went on", str(self.path)
            )

    def close(self) -> None:
        """Gives the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _fresh(self) -> bool:
        if self._resume == "must":
            raise ValueError(f"--run_dir={self.path} holds no run to continue; drop --resume=must to begin one.")
        return False

    def _write(self, flagfile: str | None, facts: dict[str, Any]) -> None:
        if flagfile is not None:
            files.write_atomically(self.path / FLAGS, flagfile)
        files.write_atomically(self.path / RUN, json.dumps({"settings": self._settings, **facts}, indent=2) + "\n")

    def _is_shorter(self, record: dict[str, Any]) -> bool:
        """Whether a recorded run differs from this one in nothing but a smaller length, and in places in the run."""
        total_steps, steps_per_epoch = record.get("total_steps"), record.get("steps_per_epoch")
        if not isinstance(total_steps, int) or not isinstance(steps_per_epoch, int):
            return False
        epochs, train_steps = (self._settings.get(name) for name in LENGTH)
        longer = (train_steps or (epochs or 0) * steps_per_epoch) > total_steps
        try:
            return longer and _timeless(record["settings"]) == _timeless(self._settings)
        except RecursionError:
            return False

    def _record(self) -> dict[str, Any] | None:
        try:
            record = files.document(self.path / RUN)
            if not isinstance(record["settings"], dict):
                raise TypeError
            return record
        except FileNotFoundError:
            # Stopped before its settings were written: nothing was trained.
            if any((self.path / name).exists() for name in OWN - {FLAGS, LOCK}):
                raise ValueError(
                    f"{self.path / RUN} is missing; add --overwrite to delete what is left of the run."
                ) from None
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise ValueError(
                f"{self.path / RUN} is damaged, so the run cannot be continued; add --overwrite to delete it."
            ) from None

    def _refuse_changed(self, recorded: dict[str, str]) -> None:
        """Refuses files whose content is another than when the run began."""
        if self._files is None or self._files == recorded:
            return
        changed = [name for name in {**recorded, **self._files} if recorded.get(name) != self._files.get(name)]
        raise ValueError(
            f"--run_dir={self.path} holds a run that read another content of {', '.join(changed)}, which has changed "
            "since; put the earlier content back, choose another --run_dir, or add --overwrite to delete the run."
        )

    def _refuse_strange(self) -> None:
        """Refuses a link, which would lead out of the directory, and a pipe or the like in place of what a run made."""
        # What lies inside a checkpoint damages that checkpoint alone, which `trainer.storage.checkpoints` sees.
        inside = [entry for name in EVENTS for entry in self.path.glob(f"{name}/*")]
        for entry in [*self.path.iterdir(), *inside, *self.path.glob(f"{CHECKPOINTS}/best")]:
            name = str(entry.relative_to(self.path))
            try:
                mode = entry.lstat().st_mode
            except FileNotFoundError:
                # A run under way, which a dry run may look at, replaces its files.
                continue
            if stat.S_ISLNK(mode):
                raise ValueError(
                    f"--run_dir={self.path}: {name} is a symbolic link, and a run follows none "
                    "out of its directory; put what it points to in its place, or add --overwrite to begin again."
                )
            if name in FOLDERS and not stat.S_ISDIR(mode):
                expected = "folder"
            elif (name in OWN or "tfevents" in name) and name not in FOLDERS and not stat.S_ISREG(mode):
                expected = "file"
            else:
                continue
            raise ValueError(
                f"--run_dir={self.path}: {name} is not a {expected}; move it away, or add --overwrite to begin again."
            )

    def _refuse_taken(self) -> None:
        try:
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            # There is none, or it is a link or a folder, which `open` says.
            return
        try:
            self._lock_or_refuse(lock)
        finally:
            os.close(lock)

    def _take_lock(self) -> None:
        lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            self.exclusive = self._lock_or_refuse(lock)
            os.truncate(lock, 0)
            os.write(lock, f"{socket.gethostname()}, process {os.getpid()}\n".encode())
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock

    def _lock_or_refuse(self, lock: int) -> bool:
        """Takes the lock; False where the file system has none."""
        for attempt in range(1, LOCK_ATTEMPTS + 1):
            try:
                # The system drops the lock with the process, however it ends, so a killed run never blocks the next.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == LOCK_ATTEMPTS:
                    holder = os.pread(lock, 1000, 0).decode(errors="replace").strip() or "another process"
                    raise ValueError(
                        f"--run_dir={self.path} is being trained in by {holder}; wait for it, or choose another."
                    ) from None
                time.sleep(0.1)
            except OSError as error:
                if error.errno in NO_LOCKS:
                    return False
                raise
        return True


def _timeless(settings: Any) -> Any:
    """Settings without those that say when something happens."""
    if isinstance(settings, dict):
        return {name: _timeless(value) for name, value in settings.items() if name not in (*LENGTH, *PLACES)}
    return [_timeless(value) for value in settings] if isinstance(settings, list) else settings


def _check_writable(path: pathlib.Path) -> None:
    if problem := files.problem_of_name(path):
        raise ValueError(f"--run_dir={str(path)!r} cannot be used: {problem}; choose another name.")
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError) as error:
        # Too long, a loop of links, a NUL: no directory can have that name.
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"--run_dir={str(path)!r} cannot be a directory: {reason}; choose another name.") from None
    if path.exists() and not path.is_dir():
        raise ValueError(f"--run_dir={path} is a file; choose a directory.")
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise ValueError(f"--run_dir={path} lies under {existing}, which is a file; choose another directory.")
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        raise ValueError(f"--run_dir={path} cannot be written: {existing} is read-only; choose another directory.")
