"""What was asked of projections of large tensors, and whether it holds; their tables and their plot."""

from __future__ import annotations

import pathlib
from typing import Any

from scripts.benchmark.contests import verdict
from trainer.reporting.text_table import table

# Weights where others are raced against, and from where on time has to grow no faster than size; rows of a matrix.
AT, FROM, MATRIX = 10**7, 10**6, 1024
COPY, SORT, TOP_K, SVD, COLD, WARM = "a copy", "sort-based", "tf.math.top_k", "tf.linalg.svd", "cold", "a step later"
L1, SPARSE, L2 = (
    ("l1ball", "simplex", "l21ball"),
    ("topk", "unitsparse", "block"),
    ("maxnorm", "minmaxnorm", "unitnorm"),
)

# What stands in the way of targets that do not hold.
_PASSES = "passes until the last of the thresholds is found, and one that writes"
_NORMS = "who sorts sorts 1 000 norms, no weights, and then makes the same two passes"
_READS = "the rate at which the weights are read and written"


def targets(figures: dict[str, Any]) -> list[list[str]]:
    """Rows from the figures of `scale.measure`: what was asked, what measured, whether it holds, what limits it."""
    results: list[list[str]] = []

    def judged(what: str, measured: str, holds: bool, limit: str) -> None:
        results.append([what, measured, verdict(holds), "" if holds else limit])

    def faster(what: str, mine: float, other: float, times: float, limit: str = _READS) -> None:
        ratio = other / mine
        judged(f"{what}, {times:g} times", f"{ratio:.1f} times", ratio >= times, limit)

    def within(what: str, copies: float, limit: float, why: str = _READS) -> None:
        judged(f"{what}, {limit:g} copies", f"{copies:.1f} copies", copies <= limit, why)

    two = figures["times"].get("maxnorm, one group", {}).get(str(AT), {}).get(COLD, {}).get("copies")
    passes = f"{_PASSES}, two of which take {two:.1f} copies, as in the row of maxnorm" if two else _PASSES
    for case, by_size in figures["times"].items():
        name, at = case.split(",")[0], by_size[str(AT)]
        if name in L1:
            sort = _NORMS if name == "l21ball" else passes
            faster(f"{case}: faster than sorting", at[COLD]["milliseconds"], at[SORT]["milliseconds"], 20, sort)
            within(f"{case}: cold", at[COLD]["copies"], 10, passes)
            within(f"{case}: a step later", at[WARM]["copies"], 4, passes)
        elif name in SPARSE:
            faster(f"{case}: faster than tf.math.top_k", at[COLD]["milliseconds"], at[TOP_K]["milliseconds"], 8)
        else:
            within(case, at[COLD]["copies"], 15 if name == "nm" else 4)
    for name, exact in figures["exact"].items():
        judged(f"{name}: bit-exact inside", "yes" if exact else "no", exact, "a fault")
    for name, raced in figures["matrices"].items():
        faster(f"{name}: faster than an SVD", raced[COLD]["milliseconds"], raced[SVD]["milliseconds"], 10)
    for case, by_size in figures["times"].items():
        last = max(map(int, by_size))
        if str(FROM) in by_size and last > FROM:
            low, high = (by_size[str(size)][COLD]["milliseconds"] / size for size in (FROM, last))
            text = f"{case}: time for a weight at {last:.0e}, at most 1.5 times that at {FROM:.0e}"
            judged(text, f"{high / low:.2f} times", high <= 1.5 * low, _READS)
    for case, copies in figures["memory"].items():
        judged(f"{case}: memory, 3 copies", f"{copies or 0.0:.1f} copies", bool(copies and copies <= 3.0), _READS)
    return results


def shown(figures: dict[str, Any]) -> str:
    """The table of times."""
    rows = []
    for case, by_size in {**figures["times"], **{n: {"matrix": f} for n, f in figures["matrices"].items()}}.items():
        for size, raced in by_size.items():
            for title, f in raced.items():
                label = f"{int(size):.0e}" if size.isdigit() else f"{MATRIX}x{MATRIX}"
                quartiles = f"{f['quartile_1']:.2f}-{f['quartile_3']:.2f}"
                rows.append([case, label, title, f"{f['milliseconds']:.2f}", quartiles, f"{f['copies']:.1f}"])
    header = ["set", "weights", "variant", "ms", "quartiles", "copies"]
    return table(header, rows)


def plot(figures: dict[str, Any], path: pathlib.Path) -> None:
    """Draws time against size."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 6))
    for case, by_size in figures["times"].items():
        if len(by_size) > 1:
            style = "o-" if case.endswith("one group") else "s--"
            axes.loglog(list(map(int, by_size)), [f[COLD]["milliseconds"] for f in by_size.values()], style, label=case)
    axes.set_xlabel("float32 weights")
    axes.set_ylabel("milliseconds a projection")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=120, bbox_inches="tight", format="png")
