"""What the fast suite takes of arguments that take seconds each, mostly to compile; the slow suite takes the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.oracles import DTYPES

# One of each way to project.
KINDS = ("box", "elasticnet", "l1ball", "mask", "maxnorm", "nuclear", "topk", "unitnorm")


def fast(values: Iterable[Any], *chosen: Any) -> list[Any]:
    """The values of one argument, those that are not chosen marked as slow."""
    return [value if value in chosen else pytest.param(value, marks=pytest.mark.slow) for value in values]


def of_each_kind(cases: Iterable[Any]) -> list[Any]:
    """Cases of the catalogue, one of each way to project."""
    return [case if case.name in KINDS else pytest.param(case, marks=pytest.mark.slow) for case in cases]


# XLA compiles for each type.
every_dtype_and_way = pytest.mark.parametrize(
    ("dtype", "compiled"),
    [
        pytest.param(dtype, compiled, marks=[pytest.mark.slow] * (compiled and dtype != "float32"))
        for dtype in DTYPES
        for compiled in (False, True)
    ],
)
