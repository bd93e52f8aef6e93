"""What training costs, side by side with what a user would run instead: `python -m scripts.benchmark [--quick]`.

Contestants are compiled first and then take turns, round by round, so that noise of the machine falls on all of them
alike. Times are medians over the rounds; a ratio is the median of the ratios within a round, with its quartiles. At the
end every target is listed with what was measured, and what limits those that do not hold.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import tempfile
import warnings

from trainer.runtime import quiet_import

quiet_import.import_tensorflow()

import tensorflow as tf  # noqa: E402

from scripts.benchmark import (  # noqa: E402
    blocks,
    compacted,
    contests,
    data,
    operations,
    outputs,
    pauses,
    processes,
    scale,
    scale_report,
)
from trainer.reporting.console import print_line  # noqa: E402
from trainer.reporting.text_table import table  # noqa: E402

PARTS = ("training", "costs", "processes", "scale", "data", "exports", "profile")


def main() -> None:
    """Runs the parts that are asked for, prints their tables, and then the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a glance at everything, in under three minutes")
    parser.add_argument(
        "--parts",
        help=f"which parts, of {', '.join(PARTS)}; all of them, but with --quick without the profile, if not said",
    )
    parser.add_argument("--only", default="", help="of the training contests those whose name holds this text")
    outputs.add(parser, "the contests here and large tensors next to it in -scale")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",") if arguments.parts is not None else PARTS[: -1 if arguments.quick else None]
    unknown = set(parts) - set(PARTS)
    if unknown:
        parser.error(f"--parts: {min(unknown)} is not known; choose from {', '.join(PARTS)}")
    if not any(arguments.only in name for name in contests.NAMES):
        parser.error(f"--only={arguments.only}: no contest's name holds this; try one of {', '.join(contests.MODELS)}")
    outputs.check(parser, arguments)
    # Contestants are many functions on purpose, and Keras warns of what was asked for.
    tf.get_logger().setLevel("ERROR")
    warnings.filterwarnings("ignore", module="keras")
    figures: dict[str, dict] = {}
    targets: list[list[str]] = []

    def keep() -> None:
        # Again and again, as all of it takes the better part of an hour.
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=2) + "\n")

    def told(part: str) -> contests.Tell:
        def tell(text: str, so_far: contests.Figures) -> None:
            print_line(text)
            figures[part] = so_far
            keep()

        return tell

    if "training" in parts:
        figures["training"] = contests.training(arguments.quick, arguments.only, told("training"))
        targets += contests.training_targets(figures["training"])
    if "costs" in parts:
        figures["costs"] = contests.costs(arguments.quick, told("costs"))
        targets += contests.cost_targets(figures["costs"])
        figures["pauses"] = pauses.measure(arguments.quick, tell=print_line)
        targets += pauses.targets(figures["pauses"])
        keep()
    if "processes" in parts:
        with tempfile.TemporaryDirectory() as folder:
            figures["processes"] = processes.measure(pathlib.Path(folder), arguments.quick)
        if not arguments.quick:
            figures["processes"] |= processes.determinism(rounds=3)
        print_line("\nprocesses\n" + table(["", ""], [[name, f"{x:.2f}"] for name, x in figures["processes"].items()]))
        targets += processes.targets(figures["processes"])
        keep()
    if "scale" in parts:
        figures["scale"] = scale.measure(arguments.quick)
        print_line("\nprojections of large tensors\n" + scale_report.shown(figures["scale"]))
        targets += scale_report.targets(figures["scale"])
        keep()
    if "data" in parts:
        with tempfile.TemporaryDirectory() as folder:
            figures["data"] = data.measure(pathlib.Path(folder), arguments.quick)
        print_line("\ndata\n" + table(["", ""], [[name, f"{x:,.2f}"] for name, x in figures["data"].items()]))
        targets += data.targets(figures["data"])
        keep()
    if "exports" in parts:
        with tempfile.TemporaryDirectory() as folder:
            figures["blocks"] = blocks.measure(pathlib.Path(folder), arguments.quick)
        print_line("\nblocks of zeros in TFLite\n" + blocks.shown(figures["blocks"]))
        targets += blocks.targets(figures["blocks"])
        figures["compacted"] = compacted.measure(arguments.quick, tell=print_line)
        print_line("\ncompacted networks\n" + compacted.shown(figures["compacted"]))
        targets += compacted.targets(figures["compacted"])
        keep()
    if "profile" in parts:
        figures["profile"] = operations.measure()
        print_line("\noperations of a step, mlp, batch 128\n" + operations.shown(figures["profile"]))
    print_line("\ntargets\n" + table(["what, and the target", "measured", "", "what limits it"], targets))
    keep()
    if arguments.plot:
        draw(figures, arguments.plot)


def draw(figures: dict[str, dict], path: pathlib.Path) -> None:
    """Draws a bar for each contestant of each contest, and the time of large tensors against their size."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    if "scale" in figures:
        scale_report.plot(figures["scale"], path.with_stem(f"{path.stem}-scale"))
    contests_ = {**figures.get("training", {}), **figures.get("costs", {})}
    if not contests_:
        return
    # Inches: a line for each contestant, and room for the title and the numbers.
    heights = [0.16 * len(results) + 0.7 for results in contests_.values()]
    figure, axes = pyplot.subplots(
        len(contests_), 1, figsize=(9, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axis, (title, results) in zip(axes[:, 0], contests_.items(), strict=True):
        names = list(results)
        times = [results[name]["milliseconds"] for name in names]
        low = [time - results[name]["quartile_1"] for time, name in zip(times, names, strict=True)]
        high = [results[name]["quartile_3"] - time for time, name in zip(times, names, strict=True)]
        axis.barh(names, times, xerr=[low, high])
        axis.invert_yaxis()
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.set_xlabel("ms a step", fontsize=7)
    figure.savefig(path, dpi=120, format="png")


if __name__ == "__main__":
    main()
