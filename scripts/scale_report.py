"""What was asked of projections of large tensors, and whether it holds; their tables and their plot."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

from trainer.table import table

# Weights where others are raced against, and from where on time has to grow no faster than size; rows of a matrix.
AT, FROM, MATRIX = 10**7, 10**6, 1024
COPY, SORT, TOP_K, SVD, COLD, WARM = "a copy", "sort-based", "tf.math.top_k", "tf.linalg.svd", "cold", "a step later"
L1, SPARSE, L2 = (
    ("l1ball", "simplex", "l21ball"),
    ("topk", "unitsparse", "block"),
    ("maxnorm", "minmaxnorm", "unitnorm"),
)


def targets(figures: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """The verdicts on figures of `scale.measure`: what was to be reached, what was, and whether that is enough."""
    results: list[tuple[str, str, bool]] = []

    def faster(what: str, mine: float, other: float, times: float) -> None:
        ratio = other / mine
        results.append((f"{what}, {times:g} times", f"{ratio:.1f} times", ratio >= times))

    def within(what: str, copies: float, limit: float) -> None:
        results.append((f"{what}, {limit:g} copies", f"{copies:.1f} copies", copies <= limit))

    for case, by_size in figures["times"].items():
        name, at = case.split(",")[0], by_size[str(AT)]
        if name in L1:
            faster(f"{case}: faster than sorting", at[COLD]["milliseconds"], at[SORT]["milliseconds"], 20)
            within(f"{case}: cold", at[COLD]["copies"], 10)
            within(f"{case}: a step later", at[WARM]["copies"], 4)
        elif name in SPARSE:
            faster(f"{case}: faster than tf.math.top_k", at[COLD]["milliseconds"], at[TOP_K]["milliseconds"], 8)
        else:
            within(case, at[COLD]["copies"], 15 if name == "nm" else 4)
    for name, exact in figures["exact"].items():
        results.append((f"{name}: bit-exact inside", "yes" if exact else "no", exact))
    for name, raced in figures["matrices"].items():
        faster(f"{name}: faster than an SVD", raced[COLD]["milliseconds"], raced[SVD]["milliseconds"], 10)
    for case, by_size in figures["times"].items():
        last = max(map(int, by_size))
        if str(FROM) in by_size and last > FROM:
            low, high = (by_size[str(size)][COLD]["milliseconds"] / size for size in (FROM, last))
            text = f"{case}: time for a weight at {last:.0e}, at most 1.5 times that at {FROM:.0e}"
            results.append((text, f"{high / low:.2f} times", high <= 1.5 * low))
    for case, copies in figures["memory"].items():
        results.append((f"{case}: memory, 3 copies", f"{copies or 0.0:.1f} copies", bool(copies and copies <= 3.0)))
    return results


def tables(figures: dict[str, Any]) -> list[str]:
    """What there is to print: times, then targets."""
    rows = []
    for case, by_size in {**figures["times"], **{n: {"matrix": f} for n, f in figures["matrices"].items()}}.items():
        for size, raced in by_size.items():
            for title, f in raced.items():
                label = f"{int(size):.0e}" if size.isdigit() else f"{MATRIX}x{MATRIX}"
                quartiles = f"{f['quartile_1']:.2f}-{f['quartile_3']:.2f}"
                rows.append([case, label, title, f"{f['milliseconds']:.2f}", quartiles, f"{f['copies']:.1f}"])
    header = ["set", "weights", "variant", "ms", "quartiles", "copies"]
    verdicts = [[text, measured, "held" if held else "NOT HELD"] for text, measured, held in targets(figures)]
    return [table(header, rows), table(["target", "measured", "verdict"], verdicts)]


def plot(figures: dict[str, Any], path: pathlib.Path) -> None:
    """Draws time against size."""
    try:
        from matplotlib import pyplot
    except ImportError:
        sys.exit("--plot needs matplotlib: pip install -e '.[plots]'")
    figure, axes = pyplot.subplots(figsize=(8, 6))
    for case, by_size in figures["times"].items():
        if len(by_size) > 1:
            style = "o-" if case.endswith("one group") else "s--"
            axes.loglog(list(map(int, by_size)), [f[COLD]["milliseconds"] for f in by_size.values()], style, label=case)
    axes.set_xlabel("float32 weights")
    axes.set_ylabel("milliseconds a projection")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=120, bbox_inches="tight")
