"""Which constraints make weights approach zero, and at what price? `python -m scripts.study [--runs_dir=runs/study]`.

Trains the same network on the same examples under each rule, each by its own command in a run directory of its own
(compare them with TensorBoard's HParams), and prints what their certificates say. Run again, it continues what was cut
short and shows what is there.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import subprocess
import sys
from typing import Any

from trainer.reporting.console import print_line
from trainer.reporting.text_table import table

COMMON = ["--epochs=40"]
STUDY = {
    "no constraint": [],
    "L1 penalty": ["--l1=0.001"],
    "L2 penalty": ["--l2=0.001"],
    "maxnorm": ["--constraint=maxnorm", "--max_value=1"],
    "maxnorm, annealed": [
        "--constraint=maxnorm",
        "--schedule=cosine",
        "--initial_value=2",
        "--max_value=0.5",
        "--schedule_end=80%",
    ],
    "unitnorm": ["--constraint=unitnorm"],
    "box": ["--constraint=box", "--min_value=-0.1", "--max_value=0.1"],
    "nonneg": ["--constraint=nonneg"],
    "nonneg, L1 penalty": ["--constraint=nonneg", "--l1=0.001"],
    "l1ball": ["--constraint=l1ball", "--max_value=3"],
    "l1ball, annealed": [
        "--constraint=l1ball",
        "--schedule=cosine",
        "--initial_value=8",
        "--max_value=2",
        "--schedule_end=80%",
    ],
    "l21ball": ["--constraint=l21ball", "--max_value=30"],
    "topk 90 %": [
        "--constraint=topk",
        "--schedule=polynomial",
        "--initial_value=0",
        "--sparsity=0.9",
        "--schedule_end=80%",
    ],
    "topk 95 %": [
        "--constraint=topk",
        "--schedule=polynomial",
        "--initial_value=0",
        "--sparsity=0.95",
        "--schedule_end=80%",
    ],
    "softthreshold 0.1": ["--constraint=softthreshold", "--penalty=0.1"],
    "softthreshold 0.3": ["--constraint=softthreshold", "--penalty=0.3"],
    "groupsoft": ["--constraint=groupsoft", "--penalty=1"],
}


def row(name: str, flags: list[str], certificate: dict[str, Any]) -> list[str]:
    """A line of the table; shares are over all kernels."""
    variables = certificate["variables"]
    weights = sum(math.prod(variable["shape"]) for variable in variables)
    zeros = sum(variable["zeros"] for variable in variables) / weights
    near = sum(variable["near_zeros"] for variable in variables) / weights
    accuracy = f"{certificate['evaluation']['accuracy']:.1%}"
    return [name, f"{zeros:.1%}", f"{near:.1%}", accuracy, " ".join(flags)]


def main() -> None:
    """Runs the study and prints its table; stops with the exit code of a run that does not end well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs_dir", type=pathlib.Path, default=pathlib.Path("runs/study"))
    runs_dir = parser.parse_args().runs_dir
    rows = []
    for name, flags in STUDY.items():
        directory = runs_dir / "".join(letter if letter.isalnum() else "_" for letter in name)
        command = [sys.executable, "-m", "trainer.main", *COMMON, *flags, f"--run_dir={directory}"]
        print_line(f"\n{name}: {' '.join(command[1:])}")
        exit_code = subprocess.run(command, check=False).returncode
        if exit_code:
            sys.exit(exit_code)
        rows.append(row(name, flags, json.loads((directory / "certificate.json").read_text())))
    header = ["rule on every kernel", "exact zeros", "below 0.001", "test accuracy", "flags"]
    print_line("\n" + table(header, rows))


if __name__ == "__main__":
    main()
