"""What constraint and logging cost: `python -m scripts.benchmark`; `--help` lists its options.

Each round trains every variant once, one after the other, so that noise of the machine falls on all of them alike.
Rates are those that TensorBoard shows (steps per second between two summaries); the first interval, which compiles, is
left out.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from trainer import quiet

quiet.import_tensorflow()

import tensorflow as tf  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402
from tensorboard.util import tensor_util  # noqa: E402

from trainer import experiment, rundir, session  # noqa: E402
from trainer.config import Config, RuleSettings, ScheduleSettings  # noqa: E402
from trainer.interrupts import Interrupt  # noqa: E402
from trainer.progress import say  # noqa: E402
from trainer.table import table  # noqa: E402

NETWORKS = {
    "digits, mlp, batch 32": Config(batch_size=32),
    "28x28, mlp 784-300-100-10, batch 128": Config(dataset="synthetic", batch_size=128),
    "28x28, convnet 32, batch 32": Config(model="convnet", model_options={"filters": (32,)}, dataset="synthetic"),
    "28x28, lstm 64, batch 32": Config(model="lstm", dataset="synthetic"),
}
ANNEALED = ScheduleSettings("cosine", {"initial": 2.0, "final": 0.5})
RULES = {
    "no constraint": RuleSettings(),
    "maxnorm 2, as in the main job": RuleSettings("maxnorm", {"max_value": 2.0}),
    "maxnorm 0.5, every unit at its bound": RuleSettings("maxnorm", {"max_value": 0.5}),
    "maxnorm 2 to 0.5, annealed": RuleSettings("maxnorm", {"max_value": ANNEALED}),
    "unitnorm": RuleSettings("unitnorm"),
    "nonneg": RuleSettings("nonneg"),
    "box": RuleSettings("box", {"min_value": -0.1, "max_value": 0.1}),
    "l1ball 3": RuleSettings("l1ball", {"max_value": 3.0}),
    "topk 90 %": RuleSettings("topk", {"sparsity": 0.9}),
}


def variants(steps: int) -> dict[str, Config]:
    """The settings of each variant: bare, then each constraint with logging at its default intervals."""
    bare = Config(
        train_steps=steps,
        summary_every=str(steps // 4),
        histogram_every="100%",
        eval_every="100%",
        checkpoint_every="100%",
    )
    logged = dataclasses.replace(bare, summary_every=Config().summary_every, histogram_every=Config().histogram_every)
    return {
        "bare": bare,
        **{f"{name} + logging": dataclasses.replace(logged, rules=(rule,)) for name, rule in RULES.items()},
    }


def rates(config: Config) -> list[float]:
    """Trains once and returns the steps per second between summaries."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = dataclasses.replace(config, run_dir=f"{folder}/run")
        training = session.Session(experiment.build(config), rundir.RunDirectory(config))
        training.begin("")
        training.run(Interrupt())
        training.close()
        events = EventAccumulator(f"{folder}/run/train", size_guidance={"tensors": 0}).Reload()
        return [float(tensor_util.make_ndarray(event.tensor_proto)) for event in events.Tensors("steps_per_second")][1:]


def compare(network: Config, rounds: int, steps: int) -> dict[str, dict[str, float]]:
    """Median and quartiles of each variant's time for a step, and its ratio to the bare one within the same round."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, variant in variants(steps).items():
            # The mean over a run's intervals, not their median: what happens now and then is part of the cost.
            config = dataclasses.replace(
                variant,
                model=network.model,
                model_options=network.model_options,
                dataset=network.dataset,
                batch_size=network.batch_size,
            )
            speeds = rates(config)
            times.setdefault(name, []).append(1e3 * statistics.fmean(1 / speed for speed in speeds))
            tf.keras.backend.clear_session()
    result = {}
    for name, values in times.items():
        ratios = [value / bare for value, bare in zip(values, times["bare"], strict=True)]
        low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
        result[name] = {
            "milliseconds": statistics.median(values),
            "quartile_1": low,
            "quartile_3": high,
            "ratio": statistics.median(ratios),
        }
    return result


def start_up(rounds: int) -> dict[str, float]:
    """Seconds until TensorFlow is imported, and until the default command has made its first step: medians."""

    def seconds(code: str) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        return time.perf_counter() - begun

    with tempfile.TemporaryDirectory() as folder:
        first = (
            "from trainer import main; main.run(['', '--constraint=maxnorm', '--max_value=2', '--train_steps=1', "
            f"'--run_dir={folder}/run', '--overwrite'])"
        )
        seconds(first)  # Prepares the data.
        pairs = [(seconds("import tensorflow"), seconds(first)) for _ in range(rounds)]
    imported, stepped = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {"import tensorflow": imported, "whole run of one step": stepped, "ratio": stepped / imported}


def main() -> None:
    """Runs everything and prints a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--only", default="", help="run only the networks whose names hold this text")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    arguments = parser.parse_args()
    figures: dict[str, dict] = {"start-up": start_up(arguments.rounds)}
    say("start-up, seconds: " + ", ".join(f"{name} {value:.2f}" for name, value in figures["start-up"].items()))
    for name, network in NETWORKS.items():
        if arguments.only not in name:
            continue
        figures[name] = compare(network, arguments.rounds, arguments.steps)
        rows = [
            [variant, f"{f['milliseconds']:.3f}", f"{f['quartile_1']:.3f}-{f['quartile_3']:.3f}", f"{f['ratio']:.2f}"]
            for variant, f in figures[name].items()
        ]
        say(f"\n{name}\n" + table(["variant", "ms a step", "quartiles", "ratio to bare"], rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
