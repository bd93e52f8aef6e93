"""Ways to damage a checkpoint, drawn once and for all: each is a name and a function of the folder of checkpoints."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
from collections.abc import Callable, Iterator

FILES = ("manifest.json", "state.data-00000-of-00001", "state.index")
FLIPS, TRUNCATIONS, EXTENSIONS, BLOTS = 25, 15, 5, 8

Damage = Callable[[pathlib.Path], None]


def of_one(newest: str, older: str) -> dict[str, Damage]:
    """Damage to the newest checkpoint.

    Args:
      newest: name of its folder.
      older: name of the folder of another good one.

    Returns:
      Names and functions; each leaves the older checkpoints good.
    """
    made = dict(_to_bytes(newest))
    for file in FILES:
        made |= {f"{act.__name__[1:]}-{file}": _on(newest, file, act) for act in _ACTS}
        made[f"of_another_checkpoint-{file}"] = _copied(f"{older}/{file}", f"{newest}/{file}")
    for left, right in ((0, 1), (0, 2), (1, 2)):
        made[f"swapped-{FILES[left]}-{FILES[right]}"] = _swapped(f"{newest}/{FILES[left]}", f"{newest}/{FILES[right]}")
    for left in (0, 1, 2):
        first, second = FILES[left], FILES[left - 1]
        made[f"deleted-{first}-{second}"] = _both(_on(newest, first, _deleted), _on(newest, second, _deleted))
    made["emptied_folder"] = lambda folder: [file.unlink() for file in (folder / newest).iterdir()]
    made["a_file_in_place_of_the_folder"] = lambda folder: _file_in_place(folder / newest)
    made["link_in_place_of_the_folder"] = lambda folder: _link(folder / newest)
    made["link_to_another_checkpoint"] = lambda folder: _link_to(folder / newest, folder / older)
    made["content_of_another_checkpoint"] = lambda folder: _replaced(folder / newest, folder / older)
    made["one_more_shard"] = _copied(f"{newest}/{FILES[1]}", f"{newest}/state.data-00001-of-00002")
    return made


def _to_bytes(newest: str) -> Iterator[tuple[str, Damage]]:
    """Flips, truncations, extensions and blots of every file, at places that a fixed seed draws."""
    draw = random.Random(5)
    for file in FILES:
        for number in range(FLIPS):
            yield f"flip-{file}-{number}", _on(newest, file, _flipped(draw.random(), draw.randrange(8)))
        for number in range(TRUNCATIONS):
            share = (0.0, 1.0, draw.random())[min(number, 2)]
            yield f"truncation-{file}-{number}", _on(newest, file, _cut(share))
        for number in range(EXTENSIONS):
            yield f"extension-{file}-{number}", _on(newest, file, _extended(draw.randbytes(1 + 10 * number)))
        for number in range(BLOTS):
            filling = b"\0" if number % 2 else b"\xff"
            yield f"blot-{file}-{number}", _on(newest, file, _blotted(draw.random(), filling))


def _on(folder: str, file: str, act: Damage) -> Damage:
    return lambda parent: act(parent / folder / file)


def _both(first: Damage, second: Damage) -> Damage:
    return lambda folder: (first(folder), second(folder))[0]


def _flipped(share: float, bit: int) -> Damage:
    def act(file: pathlib.Path) -> None:
        content = bytearray(file.read_bytes())
        content[int(share * len(content))] ^= 1 << bit
        file.write_bytes(content)

    return act


def _cut(share: float) -> Damage:
    """Keeps a share of the file, and never all of it."""
    return lambda file: os.truncate(file, int(share * (file.stat().st_size - 1)))


def _extended(tail: bytes) -> Damage:
    return lambda file: file.write_bytes(file.read_bytes() + tail) and None


def _blotted(share: float, filling: bytes) -> Damage:
    """Overwrites 64 bytes, as a lost block of a disk does."""

    def act(file: pathlib.Path) -> None:
        content = file.read_bytes()
        start = int(share * max(len(content) - 64, 1))
        blot = filling * min(64, len(content) - start)
        if content[start : start + len(blot)] == blot:
            blot = b"\x55" * len(blot)
        file.write_bytes(content[:start] + blot + content[start + len(blot) :])

    return act


def _deleted(file: pathlib.Path) -> None:
    file.unlink()


def _emptied(file: pathlib.Path) -> None:
    file.write_bytes(b"")


def _a_folder(file: pathlib.Path) -> None:
    file.unlink()
    file.mkdir()


def _a_pipe(file: pathlib.Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _a_link_to_itself(file: pathlib.Path) -> None:
    file.unlink()
    file.symlink_to(file)


def _a_link_to_its_content_outside(file: pathlib.Path) -> None:
    _link(file)


_ACTS = (_deleted, _emptied, _a_folder, _a_pipe, _a_link_to_itself, _a_link_to_its_content_outside)


def _copied(source: str, target: str) -> Damage:
    return lambda folder: shutil.copyfile(folder / source, folder / target) and None


def _swapped(left: str, right: str) -> Damage:
    def act(folder: pathlib.Path) -> None:
        os.rename(folder / left, folder / "aside")
        os.rename(folder / right, folder / left)
        os.rename(folder / "aside", folder / right)

    return act


def _file_in_place(folder: pathlib.Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


def _link(path: pathlib.Path) -> None:
    """Moves something out of the run directory and puts a link to it in its place."""
    outside = path.parent.parent.parent / f"outside-{path.name}"
    os.rename(path, outside)
    path.symlink_to(outside)


def _link_to(path: pathlib.Path, target: pathlib.Path) -> None:
    shutil.rmtree(path)
    path.symlink_to(target)


def _replaced(path: pathlib.Path, other: pathlib.Path) -> None:
    shutil.rmtree(path)
    shutil.copytree(other, path)
