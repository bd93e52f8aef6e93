"""Holds examples out of the training part, and says what the user should know of the parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .builtin import stratified


def held_out(labels: np.ndarray | None, share: float, size: int) -> np.ndarray:
    """Marks a share of the examples; nothing but the labels and their number decides which.

    Args:
      labels: [size] numbers of classes, each of which keeps its share; else all examples are alike.
      share: above 0 and below 1.
      size: number of examples.

    Returns:
      [size] bool, True for an example that is held out.
    """
    if labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu":
        return stratified.held_out(labels, share)
    order = np.random.default_rng(size).permutation(size)
    held = np.zeros(size, dtype=bool)
    held[order[: min(max(round(share * size), 1), size - 1)]] = True
    return held


def in_memory(names: dict[str, str | None], arrays: dict[str, Any], held: float | None) -> dict[str, Any]:
    """The arrays of each part that is in memory, after a share of the training split was held out.

    Args:
      names: part -> split.
      arrays: split -> features, labels and weights.
      held: the share that the validation part takes of the training split; None: it has a split of its own.
    """
    parts: dict[str, Any] = {role: arrays.get(split) if split is not None else None for role, split in names.items()}
    if held is not None:
        whole = parts["train"]
        chosen = held_out(whole[1], held, len(whole[0]))
        if not chosen.any():
            raise ValueError(
                f"Split `{names['train']}` has {len(chosen)} examples, no two of one class, so that none can be held "
                "out for validation; take a larger training split, or name a split with --validation_split."
            )
        for role, mask in (("validation", chosen), ("train", ~chosen)):
            parts[role] = tuple(None if array is None else array[mask] for array in whole)
    return parts


def overlaps(names: dict[str, str | None], overlap: Callable[[str, str], int]) -> list[str]:
    """What to say about examples that serve two purposes."""
    lines = []
    for role, other, consequence in (
        ("validation", "train", "the best checkpoint is chosen by what was learnt by heart"),
        ("test", "train", "the reported accuracy is better than that on new examples"),
        ("test", "validation", "the accuracy of the best checkpoint is better than that on new examples"),
    ):
        mine, others = names[role], names[other]
        if mine is not None and others is not None and (count := overlap(mine, others)):
            lines.append(
                f"{count:,} examples of --{role}_split={mine} are in --{other}_split={others} too: {consequence}."
            )
    return lines


def never(numbers: set[int], names: Sequence[str] = ()) -> list[str]:
    """What to say about classes without a training example.

    Args:
      numbers: the classes.
      names: names of all classes; empty: they have numbers.
    """
    if not numbers:
        return []
    return [f"no training example is of class {_listed(sorted(numbers), names)}, which the network cannot learn."]


def absent(numbers: set[int], names: Sequence[str] = ()) -> list[str]:
    """What to say about classes with training examples and no validation example; arguments as for `never`."""
    if not numbers:
        return []
    return [
        f"no validation example is of class {_listed(sorted(numbers), names)}, which the best checkpoint is chosen "
        "without; hold more out with --validation_split."
    ]


def alone(single: Sequence[int], names: Sequence[str]) -> list[str]:
    """What to say about classes with a single example, by their numbers."""
    if not single:
        return []
    which = f"class {_listed(single, names)} has" if len(single) == 1 else f"classes {_listed(single, names)} have each"
    return [f"{which} a single example, which stays in training because it cannot be held out too."]


def _listed(numbers: Sequence[int], names: Sequence[str] = ()) -> str:
    more = f" and {len(numbers) - 5:,} more" if len(numbers) > 5 else ""
    return ", ".join(names[number] if names else str(number) for number in numbers[:5]) + more
