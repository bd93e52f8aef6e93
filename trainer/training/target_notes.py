"""Warnings about `--target`: rules whose zeros make an exported file smaller but not faster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from ..packages import constraints
from ..rules.target import Target
from ..settings.rule import sets_of
from ..settings.rules import PATTERNS

# TFLite's kernel for sparse weights takes so many inputs of a unit at a time.
_INPUTS = 4


def notes(aim: str | None, targets: Sequence[Target]) -> tuple[str, ...]:
    """The sentences, none twice.

    Args:
      aim: `--target`; None: there is nothing to say.
      targets: the run's variables and their rules.
    """
    found = [] if aim is None else [_note(aim, target) for target in targets]
    return tuple(dict.fromkeys(note for note in found if note is not None))


@contextlib.contextmanager
def explained(aim: str | None) -> Iterator[None]:
    """Says of blocks that do not divide a kernel that `--target` chose them, and what to do."""
    try:
        yield
    except ValueError as error:
        rows, columns = PATTERNS.get(aim or "", {}).get("block", (0, 0))
        if f"block={rows},{columns} does not divide" not in str(error):
            raise
        raise ValueError(
            f"{error} --target={aim} has `block` take {rows},{columns}: add --block={_INPUTS},1, which is as fast in "
            f"float32, or give --variables of kernels that {rows} divides."
        ) from None


def _note(aim: str, target: Target) -> str | None:
    blocks = [one for one in sets_of(target.constraint) if isinstance(one, constraints.Block)]
    if not blocks:
        if isinstance(target.constraint, (constraints.Unconstrained, constraints.UnitSparse)):
            return None
        return (
            f"--target={aim}: zeros of {target.name} make TFLite files smaller, but not faster, because they do not "
            "come in blocks; --constraint=block does both."
        )
    rows, columns = blocks[0].block
    if rows % _INPUTS:
        return (
            f"--target={aim}: --block={rows},{columns} makes TFLite files smaller, but not faster; --block=16,1 does "
            "both, as does any multiple of 4 inputs."
        )
    if unlike := [name for name, one in zip(target.names, target.variables, strict=True) if len(one.shape) != 2]:
        return (
            f"--target={aim}: TFLite stores {', '.join(unlike)} without zeros, but unpacks it at the start, so "
            "that the file is smaller and not faster; only kernels of Dense layers run sparse."
        )
    return None
