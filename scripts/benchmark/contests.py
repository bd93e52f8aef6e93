"""The contests of a training step: which settings, who takes part, and what is asked of the outcome."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from constraints import Box, L1Ball, MaxNorm, NonNeg, TopK, Unconstrained, UnitNorm, schedules
from scripts.benchmark.opponents import Contestant, Fit, Floor, Ours
from trainer.reporting.console import duration
from trainer.reporting.text_table import table
from trainer.settings.config import Config
from trainer.settings.rule import Rule

MAXNORM = Rule(MaxNorm(2.0))
# Far more steps than are made; what happens now and then happens as often as in a run of 10 000 steps.
LONG = Config(
    dataset="synthetic",
    rules=(MAXNORM,),
    train_steps=10**7,
    eval_every="100%",
    histogram_every="1000",
    checkpoint_every="1000",
    deterministic=False,
    jit="off",
)
# Steps in a round at batch 32, which take about half a second.
MODELS = {"mlp": 200, "convnet": 60, "lstm": 60, "resnet": 5, "transformer": 15}
# Next to their steps, what a call costs is nothing, and a hundred of them take half a minute.
DEEP = ("resnet", "transformer")
NAMES = {
    f"{model}, batch {batch}, {optimizer}": (model, batch, optimizer)
    for model in MODELS
    for batch in (32, 128)
    for optimizer in ("adam", "sgd")
}
# The floor that leaves out steps that are not finite, as this project does: it tells what that takes.
LOOKING = "looking floor"
# This project without what the others do not do either: it tells what that takes.
SILENT = "no summaries, no checkpoints"
# Equals of who takes part: they tell by how much equals differ, which is by where their memory happens to lie.
FLOOR_AGAIN, BARE_AGAIN = "the floor again", "bare again"
# What a run is held against that nothing is done for between two batches: it tells what the input pipeline costs.
STILL = "the same batch again and again"

Figures = dict[str, dict[str, dict[str, Any]]]
# Called after each contest: with its table, and with all figures so far.
Tell = Callable[[str, Figures], None]

# What stands in the way of targets that do not hold; the part `profile` shows it.
_PASSES = "passes over the weights between two steps, which nothing can overlap: see the profile"
_ROWS = "gathering the rows of a batch while the processor is busy"
_HOST = "what Python does between two calls, each 100 steps"
_NEVER: dict[str, Any] = {"summary_every": "1000000", "histogram_every": "100%", "checkpoint_every": "100%"}


def round_of(model: str, batch: int) -> int:
    """How many steps of a batch size a round has."""
    return MODELS[model] if model == "mlp" else max(MODELS[model] * 32 // batch, 5)


def training(quick: bool, only: str, tell: Tell) -> Figures:
    """Every model, batch size and optimizer: the whole loop against `fit` at each of its settings and the floor."""
    figures: Figures = {}
    begun = time.monotonic()
    # To be quick, one of them unless some were asked for.
    chosen = {n: one for n, one in NAMES.items() if only in n and (only or not quick or one == ("mlp", 128, "adam"))}
    for name, (model, batch, optimizer) in chosen.items():
        steps = round_of(model, batch)
        config = dataclasses.replace(LONG, model=model, batch_size=batch, optimizer=optimizer)
        telling: dict[str, Callable[[], Contestant]] = {}
        if not quick:
            silent = dataclasses.replace(config, **_NEVER)
            telling |= {SILENT: partial(Ours, silent), FLOOR_AGAIN: partial(Floor, config, False)}
            if model not in DEEP:
                telling |= {
                    f"{LOOKING}{', jit' if jit else ''}": partial(Floor, config, jit, looks=True)
                    for jit in (False, True)
                }
        sizes = (1, 10) if model in DEEP else (1, 10, 100)
        fits = {(size, jit): f"fit, {size} a call{', jit' if jit else ''}" for jit in (False, True) for size in sizes}
        if quick and model == "mlp":
            # The defaults, and what was its best in every series.
            fits = {one: title for one, title in fits.items() if one in ((1, False), (100, True))}
        figures[name] = contest(
            {
                "ours": partial(Ours, config),
                "ours, --jit=on": partial(Ours, dataclasses.replace(config, jit="on")),
                **{title: partial(Fit, config, size, jit) for (size, jit), title in fits.items()},
                "floor": partial(Floor, config, False),
                "floor, jit": partial(Floor, config, True),
                **telling,
            },
            steps=min(steps, 100) if quick else steps,
            rounds=3 if quick else 5,
        )
        tell(f"\n{name} ({place(begun, len(figures), len(chosen))})\n" + shown(figures[name]), figures)
    return figures


def place(begun: float, number: int, total: int) -> str:
    """How far a row of contests has come, and how long the rest may take."""
    left = (time.monotonic() - begun) / number * (total - number)
    return f"{number} of {total}" + (f", {duration(left)} left" if number < total else "")


def costs(quick: bool, tell: Tell) -> Figures:
    """What each constraint, logging and determinism cost: against a run without."""
    annealed = Rule(MaxNorm(schedules.cosine(2.0, 0.5)))
    variants: dict[str, dict[str, Any]] = {
        "bare": {"rules": (Rule(Unconstrained()),), **_NEVER},
        "summaries": {"rules": (Rule(Unconstrained()),), **_NEVER, "summary_every": "100", "histogram_every": "1000"},
        "checkpoints": {"rules": (Rule(Unconstrained()),), **_NEVER, "checkpoint_every": "1000"},
        "maxnorm 2": _NEVER,
        "maxnorm 0.5, every unit at its bound": {"rules": (Rule(MaxNorm(0.5)),), **_NEVER},
        "maxnorm 2 to 0.5, annealed": {"rules": (annealed,), **_NEVER},
        "unitnorm": {"rules": (Rule(UnitNorm()),), **_NEVER},
        "nonneg": {"rules": (Rule(NonNeg()),), **_NEVER},
        "box": {"rules": (Rule(Box(min_value=-0.1, max_value=0.1)),), **_NEVER},
        "l1ball 3": {"rules": (Rule(L1Ball(3.0)),), **_NEVER},
        "topk 90 %": {"rules": (Rule(TopK(0.9)),), **_NEVER},
    }
    figures: Figures = {}
    begun = time.monotonic()
    networks = ["mlp"] if quick else list(MODELS)
    for model in networks:
        chosen = ("bare", "summaries", "maxnorm 2", "l1ball 3", "topk 90 %")
        makers: dict[str, Callable[[], Contestant]] = {
            name: partial(Ours, dataclasses.replace(LONG, model=model, batch_size=128, **settings))
            for name, settings in variants.items()
            if (model == "mlp" and not quick) or name in chosen
        }
        if not quick:
            bare = dataclasses.replace(LONG, model=model, batch_size=128, **variants["bare"])
            makers |= {STILL: partial(Ours, bare, still=True), BARE_AGAIN: partial(Ours, bare)}
        name = f"constraints, {model}, batch 128"
        steps = 100 if quick else round_of(model, 128)
        figures[name] = contest(makers, steps, rounds=3 if quick else 5)
        tell(f"\n{name} ({place(begun, len(figures), len(networks))})\n" + shown(figures[name]), figures)
    return figures


def contest(makers: Mapping[str, Callable[[], Contestant]], steps: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Lets contestants take turns; the first is what the others are compared with.

    Returns:
      For each, in milliseconds a step: the median, both quartiles and all `rounds`; and the median of its ratios to the
      first.
    """
    contestants: dict[str, Contestant] = {}
    times: dict[str, list[float]] = {}
    # What runs print is of no interest here.
    with contextlib.redirect_stdout(io.StringIO()):
        for name, make in makers.items():
            try:
                contestants[name] = one = make()
                if isinstance(one, Ours):
                    one.warm_up(steps)
                else:
                    one.run(steps)
            except (ValueError, RuntimeError, tf.errors.OpError):
                # XLA cannot compile every model.
                contestants.pop(name, None)
        # The first round is up to four times as slow, most for those who come first, and is not counted.
        for number in range(rounds + 1):
            for name, one in contestants.items():
                milliseconds = 1e3 * one.run(steps)
                if number > 0:
                    times.setdefault(name, []).append(milliseconds)
        for one in contestants.values():
            if isinstance(one, Ours):
                one.close()
    keras.backend.clear_session()
    first = next(iter(times.values()))
    figures = {}
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        ratio = statistics.median(value / base for value, base in zip(values, first, strict=True))
        figures[name] = {
            "milliseconds": middle,
            "quartile_1": low,
            "quartile_3": high,
            "ratio": ratio,
            "rounds": values,
        }
    return figures


def shown(figures: dict[str, dict[str, Any]]) -> str:
    """A contest as a table."""
    rows = [
        [name, f"{f['milliseconds']:.3f}", f"{f['quartile_1']:.3f}-{f['quartile_3']:.3f}", f"{f['ratio']:.2f}"]
        for name, f in figures.items()
    ]
    return table(["", "ms a step", "quartiles", f"ratio to {next(iter(figures))}"], rows)


def training_targets(figures: Figures) -> list[list[str]]:
    """Rows of what was asked of training, and whether it holds: each contestant at its best setting."""
    rows = []
    for name, results in figures.items():
        ours, fit, floor = (_best(results, kind) for kind in ("ours", "fit", "floor"))
        network = name.split(",")[0]
        equals = [_apart(other, FLOOR_AGAIN, "floor") for one, other in figures.items() if one.startswith(network)]
        limit = _limit(results, max(equals))
        rows.append(row(f"{name}: {ours}, to {fit}", "<=", 1.0, _ratios(results, ours, fit), limit))
        rows.append(row(f"{name}: {ours}, to {floor}", "<=", 1.1, _ratios(results, ours, floor), limit))
        if name.startswith("mlp"):
            faster = _ratios(results, "fit, 1 a call", ours)
            rows.append(row(f"{name}: {ours}, times as fast as fit's defaults", ">=", 1.7, faster, limit))
    return rows


def _limit(results: dict[str, dict[str, Any]], equals: float) -> str:
    """What a contest tells about why its targets may not hold."""
    told = []
    if LOOKING in results:
        looking = statistics.median(_ratios(results, _best(results, LOOKING), _best(results, "floor")))
        told.append(f"a floor that looks for what is not finite takes {looking:.2f} times as long")
    if SILENT in results:
        writing = statistics.median(_ratios(results, "ours", SILENT))
        told.append(f"with summaries and checkpoints a step takes {writing:.2f} times as long")
    if FLOOR_AGAIN in results:
        told.append(f"equal floors of this network differ by up to {equals:.2f} times")
    return "; ".join(told) or "see the profile"


def _apart(results: dict[str, dict[str, Any]], one: str, other: str) -> float:
    """How many times as long the slower of two takes, if there are two."""
    if one not in results:
        return 1.0
    ratio = statistics.median(_ratios(results, one, other))
    return max(ratio, 1.0 / ratio)


def _best(results: dict[str, dict[str, Any]], kind: str) -> str:
    """The fastest of the contestants whose names begin like this."""
    names = [name for name in results if name.startswith(kind)]
    return min(names, key=lambda name: results[name]["milliseconds"])


def _ratios(results: dict[str, dict[str, Any]], one: str, other: str) -> list[float]:
    """Within each round, as the machine's speed changes between them."""
    pairs = zip(results[one]["rounds"], results[other]["rounds"], strict=True)
    return [mine / theirs for mine, theirs in pairs]


def cost_targets(figures: Figures) -> list[list[str]]:
    """The same of constraints and logging."""
    limits = {"maxnorm 2": 1.03, "l1ball 3": 1.1, "topk 90 %": 1.1, "summaries": 1.02}
    rows = []
    for name, results in figures.items():
        apart = _apart(results, BARE_AGAIN, "bare")
        equals = f"; equal runs differ by {apart:.2f} times" if BARE_AGAIN in results else ""
        for variant, limit in limits.items():
            if variant == "maxnorm 2" and "mlp" not in name:
                continue
            what = (_HOST if variant == "summaries" else _PASSES) + equals
            rows.append(row(f"{name}: {variant}, to bare", "<=", limit, _ratios(results, variant, "bare"), what))
        if STILL in results:
            rows.append(row(f"{name}: bare, to {STILL}", "<=", 1.02, _ratios(results, "bare", STILL), _ROWS + equals))
    return rows


def verdict(holds: bool) -> str:
    """How a target's row ends."""
    return "held" if holds else "NOT HELD"


def row(what: str, relation: str, target: float, measured: Sequence[float], limit: str) -> list[str]:
    """One target: what, how much, what was measured, whether it holds, and if not, what limits it.

    Args:
      what: was asked.
      relation: `<=` or `>=`.
      target: the number that the median is held against.
      measured: of each round.
      limit: what stands in the way.
    """
    middle = statistics.median(measured)
    shown_, between = f"{middle:.2f}", ""
    if len(measured) > 1:
        low, _, high = statistics.quantiles(measured, n=4, method="inclusive")
        shown_ += f" ({low:.2f}-{high:.2f})"
        between = "; the target lies between the quartiles" if low <= target <= high else ""
    holds = middle <= target if relation == "<=" else middle >= target
    asked = f"{what}, {'at most' if relation == '<=' else 'at least'} {target:g}"
    return [asked, shown_, verdict(holds), "" if holds else limit + between]
