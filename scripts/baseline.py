"""The laws of this project, held against other libraries' projections: `python -m scripts.baseline`.

Prints a Markdown table: a row for each projection, a column for each law; `holds`, or how far it is broken. The oracles
are those of the tests. Weights are float32 but for one column, groups are columns, and every row of a set is asked for
the same numbers. A projection of optax takes one group: here it is mapped over columns, so that it has no filters of
its own to get wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainer.runtime import quiet_import

quiet_import.import_tensorflow()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from tests.support import oracles  # noqa: E402
from tests.support.cases import CASES, SCALES, SLACK, Case  # noqa: E402
from tests.support.oracles import DTYPES, bits, epsilon, quantum  # noqa: E402
from trainer.reporting.console import print_line  # noqa: E402

INSTALL = "pip install -e '.[baseline]'"
SHAPE = (40, 30)
SETS = (
    "maxnorm",
    "unitnorm",
    "minmaxnorm",
    "nonneg",
    "box",
    "l1ball",
    "l1sphere",
    "simplex",
    "halfspace",
    "hyperplane",
)
# Relative distance to the oracle, in units of the type's last place, up to which a result counts as the nearest point.
ULPS = 4.0


@dataclasses.dataclass(frozen=True)
class Projection:
    """One library's projection.

    Attributes:
      title: what the library calls it.
      case: the set it should be a projection on, by this project's name and numbers.
      eager: weights of any type -> their projection, by the library's defaults.
      compiled: the same, compiled by XLA.
      one_group: whether groups are made here, as the library has no groups.
    """

    title: str
    case: Case
    eager: Callable[[np.ndarray], Any]
    compiled: Callable[[np.ndarray], Any]
    one_group: bool = False

    def __call__(self, w: np.ndarray) -> np.ndarray:
        return np.asarray(self.eager(w))

    def nearest(self, w: np.ndarray) -> np.ndarray:
        """What it should be, in float64."""
        return oracles.project(self.case.name, w, **self.case.arguments)

    def excess(self, p: np.ndarray, scale: float = 1.0) -> float:
        """By how much a result misses the set, relative to its bound; 0 when rounding excuses it."""
        if not np.all(np.isfinite(p.astype(np.float64))):
            return float("nan")
        dtype = p.dtype.name
        allowed = SLACK[dtype] if self.case.exact else max(1.01 * epsilon(dtype), SLACK[dtype])
        if self.case.shifts and not self.case.exact:
            allowed += 2.0 * quantum(dtype) / scale
        missed = oracles.violation(self.case.name, p, **self.case.arguments)
        return 0.0 if missed <= allowed else missed


def ours() -> list[Projection]:
    """A row for each set that another library has too."""
    return [_tensorflow(f"**{name}**", _case(name), _case(name).constraint) for name in SETS]


def kerases() -> list[Projection]:
    """The constraints of Keras, by their default axis."""
    sets = {
        "maxnorm": lambda max_value: keras.constraints.MaxNorm(max_value),
        "unitnorm": keras.constraints.UnitNorm,
        "minmaxnorm": lambda min_value, max_value: keras.constraints.MinMaxNorm(min_value, max_value),
        "nonneg": keras.constraints.NonNeg,
    }
    made = {name: make(**_case(name).arguments) for name, make in sets.items()}
    return [_tensorflow(f"keras {type(made[name]).__name__}", _case(name), made[name]) for name in sets]


def optaxes() -> list[Projection]:
    """The projections of optax; none where it is not installed."""
    try:
        import jax
        from optax import projections
    except ImportError:
        return []

    def total(project: Callable) -> Callable:
        return lambda x, total: project(x, jax.numpy.ones_like(x), total)

    sets: dict[str, tuple[Case, Callable]] = {
        "projection_l2_ball": (_case("maxnorm"), lambda x, max_value: projections.projection_l2_ball(x, max_value)),
        "projection_l2_sphere": (_case("unitnorm"), lambda x: projections.projection_l2_sphere(x)),
        "projection_non_negative": (_case("nonneg"), lambda x: projections.projection_non_negative(x)),
        "projection_box": (
            _case("box"),
            lambda x, min_value, max_value: projections.projection_box(x, min_value, max_value),
        ),
        "projection_hypercube": (
            dataclasses.replace(_case("box"), values=(("max_value", 0.3), ("min_value", 0.0))),
            lambda x, min_value, max_value: projections.projection_hypercube(x, max_value),
        ),
        "projection_l1_ball": (_case("l1ball"), lambda x, max_value: projections.projection_l1_ball(x, max_value)),
        "projection_l1_sphere": (_case("l1sphere"), lambda x, total: projections.projection_l1_sphere(x, total)),
        "projection_simplex": (_case("simplex"), lambda x, total: projections.projection_simplex(x, total)),
        "projection_halfspace": (_case("halfspace"), total(projections.projection_halfspace)),
        "projection_hyperplane": (_case("hyperplane"), total(projections.projection_hyperplane)),
    }
    rows = []
    for title, (case, project) in sets.items():
        columns = jax.vmap(functools.partial(project, **case.arguments), in_axes=1, out_axes=1)
        rows.append(Projection(f"optax {title}", case, columns, jax.jit(columns), one_group=True))
    return rows


def _case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def _tensorflow(title: str, case: Case, project: Callable) -> Projection:
    compiled = tf.function(project, jit_compile=True, autograph=False)
    return Projection(title, case, lambda w: project(tf.constant(w)), lambda w: compiled(tf.constant(w)))


def _weights(dtype: str = "float32", shape: tuple[int, ...] = SHAPE, scale: float = 3.0) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(shape) * scale).astype(DTYPES[dtype])


def _word(value: float) -> str:
    if np.isnan(value):
        return "NaN"
    return f"{value:.1g}" if not 0 < abs(value) < 0.1 else f"{value:.0e}"


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """Largest l2 distance of two results of a group, relative to the second."""
    a, b = (np.asarray(x).astype(np.float64) for x in (a, b))
    return float(np.max(np.linalg.norm(a - b, axis=0) / np.maximum(np.linalg.norm(b, axis=0), 1e-300)))


# Each law: a projection -> "" where it holds, None where there is nothing to ask, or in some words how it is broken.


def _feasible(row: Projection, w: np.ndarray | None = None) -> str:
    excess = row.excess(row(_weights() if w is None else w))
    return "" if excess == 0 else f"off by {_word(excess)}"


def _final(row: Projection) -> str:
    once = row(_weights())
    twice = row(once)
    return "" if np.array_equal(bits(once), bits(twice)) else f"moves {_word(_apart(twice, once))}"


def _interior(row: Projection) -> str | None:
    inside = (0.9 * row.nearest(_weights())).astype(np.float32)
    if oracles.violation(row.case.name, inside, **row.case.arguments) > 0:
        return None
    p = row(inside)
    return "" if np.array_equal(bits(p), bits(inside)) else f"moves {_word(_apart(p, inside))}"


def _nearest(row: Projection, dtype: str = "float32") -> str:
    w = _weights(dtype)
    apart = _apart(row(w), row.nearest(w))
    return "" if apart <= ULPS * epsilon(dtype) else f"{_word(apart)} away"


def _filters(row: Projection) -> str | None:
    return None if row.one_group else _feasible(row, _weights(shape=(3, 3, 4, 5)))


def _zero(row: Projection) -> str:
    return _feasible(row, np.zeros(SHAPE, np.float32))


def _scales(row: Projection) -> str:
    missed = {}
    for scale in SCALES["float32"]:
        w = _weights(scale=scale)
        p = row(w)
        excess, apart = row.excess(p, scale), _apart(p, row.nearest(w))
        if not (excess == 0 and apart <= ULPS * epsilon("float32")):
            missed[scale] = max(excess, apart)
    if not missed:
        return ""
    # NaN is the worst, and no number compares with it.
    worst = max(missed, key=lambda scale: (np.isnan(missed[scale]), missed[scale]))
    return f"off by {_word(missed[worst])} at {worst:g} ({len(missed)} of {len(SCALES['float32'])} scales)"


def _not_finite(row: Projection) -> str:
    w = _weights()
    expected = row(w)
    others = np.arange(SHAPE[1]) != 2
    rest = np.arange(SHAPE[0]) != 3
    for bad in (np.nan, np.inf, -np.inf):
        w[3, 2] = bad
        p = row(w)
        # Not by bits: which formula is the fastest may depend on whether all weights are finite.
        if not _apart(p[:, others], expected[:, others]) <= ULPS * epsilon("float32"):
            return f"{_word(bad)} changes other groups"
        untouched = expected if row.case.separable else w
        if not np.array_equal(bits(p[rest, 2]), bits(untouched[rest, 2])):
            return f"{_word(bad)} changes its group"
    return ""


def _bfloat16(row: Projection) -> str:
    return _feasible(row, _weights("bfloat16")) or _nearest(row, "bfloat16")


def _compiled(row: Projection) -> str:
    w = _weights()
    eager, compiled = row(w), np.asarray(row.compiled(w))
    return "" if np.array_equal(bits(eager), bits(compiled)) else f"{_word(_apart(compiled, eager))} apart"


LAWS: dict[str, Callable[[Projection], str | None]] = {
    "feasible after rounding": _feasible,
    "twice is once": _final,
    "inside stays, bit for bit": _interior,
    "nearest": _nearest,
    "each conv filter, by default": _filters,
    "zero group feasible": _zero,
    "1e-30 to 1e30": _scales,
    "NaN, inf change nothing else": _not_finite,
    "bfloat16": _bfloat16,
    "eager = compiled": _compiled,
}


def verdicts(row: Projection) -> dict[str, str]:
    """Each law's cell: `holds`, how it is broken, or `-` where there is nothing to ask."""

    def verdict(check: Callable[[Projection], str | None]) -> str:
        try:
            broken = check(row)
        except Exception as error:  # Another library's may be of any kind; it is what the table tells.
            return f"raises {type(error).__name__}"
        return "-" if broken is None else broken or "holds"

    return {law: verdict(check) for law, check in LAWS.items()}


def markdown(rows: Sequence[Projection]) -> str:
    """The table, the rows of one set next to each other."""
    order = {name: i for i, name in enumerate(dict.fromkeys(row.case.name for row in rows))}
    lines = ["| projection | " + " | ".join(LAWS) + " |", "|---" * (len(LAWS) + 1) + "|"]
    for row in sorted(rows, key=lambda row: order[row.case.name]):
        lines.append(f"| {row.title} | " + " | ".join(verdicts(row).values()) + " |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    tf.get_logger().setLevel("ERROR")  # It warns of traces, which a row has only few of.
    others = optaxes()
    print_line(markdown([*ours(), *kerases(), *others]))
    if not others:
        print_line(f"\noptax is not installed; `{INSTALL}` adds its rows.")


if __name__ == "__main__":
    main()
