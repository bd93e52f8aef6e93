"""What projections cost on large tensors, next to a copy and to other ways: `python -m scripts.benchmark.scale`.

Every round runs each variant once, one after the other in one process, so that noise of the machine falls on all of
them alike; times are medians. All are compiled. Other libraries are optional: `pip install -e '.[baseline]'` adds
optax, and `pip install -e '.[plots]'` the plot.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from trainer.runtime import quiet_import

quiet_import.import_tensorflow()

import tensorflow as tf  # noqa: E402

from constraints import REGISTRY  # noqa: E402
from scripts.benchmark import outputs, scale_report  # noqa: E402
from scripts.benchmark.scale_report import AT, COLD, COPY, L1, L2, MATRIX, SORT, SPARSE, SVD, TOP_K, WARM  # noqa: E402
from trainer.reporting.console import print_line  # noqa: E402
from trainer.reporting.text_table import table  # noqa: E402

SIZES = {"quick": (10**6, 10**7), "full": (10**5, 10**6, 10**7, 10**8)}
UNITS = 1000
DENSITY = 0.1
# Bytes that 1e8 weights, their projection and what computes it may take.
ROOM = 6 << 30
SLOW = 0.2  # Seconds, from which on a variant is run in the first rounds only.
LEAST = 5  # Rounds, unless it is to be quick.

ONE, MANY = "one group", f"{UNITS} units"
CASES = [
    *((name, ONE) for name in ("l1ball", "simplex", "topk", "nm", *L2)),
    *((name, MANY) for name in (*L1, *SPARSE, "nm", *L2)),
]
FIRST = (SPARSE[0], ONE)
CURVES = (("l1ball", ONE), FIRST, ("maxnorm", ONE))

Function = Callable[[tf.Tensor], Any]


def weights(size: int, groups: str) -> tf.Tensor:
    """Normal float32 weights, [size] or [size / units, units]."""
    # A kernel that takes no memory but the result's.
    w = tf.raw_ops.RandomStandardNormal(shape=[size], dtype=tf.float32, seed=1, seed2=2)
    return w if groups == ONE else tf.reshape(w, [size // UNITS, UNITS])


def constraint(name: str, w: tf.Tensor) -> Any:
    """The set, so tight that a good part of the weights is moved; of a float32 tensor of normal weights."""
    fan_in = w.shape[0]
    values: dict[str, dict[str, Any]] = {
        "l1ball": {"max_value": 0.08 * fan_in},
        "simplex": {"total": 0.08 * fan_in},
        "l21ball": {"max_value": 0.5 * fan_in**0.5 * w.shape[-1]},
        "nm": {"n": 2, "m": 4},
        "maxnorm": {"max_value": 0.5 * fan_in**0.5},
        "minmaxnorm": {"min_value": 0.1, "max_value": 0.5 * fan_in**0.5},
        "spectral": {"max_value": 1.0},
        "lowrank": {"rank": 8},
    }
    if name == "topk":
        return REGISTRY[name](sparsity=1.0 - DENSITY, axis=0)  # Per unit, as the others.
    if name in SPARSE:
        return REGISTRY[name](sparsity=1.0 - DENSITY)
    return REGISTRY[name](**values.get(name, {}))


def sort_based(name: str, bound: float) -> Function:
    """The textbook's threshold, in float32: sort, sum cumulatively, count."""

    def threshold(x: tf.Tensor) -> tf.Tensor:
        x = tf.reshape(x, [x.shape[0], -1])
        descending = tf.sort(x, axis=0, direction="DESCENDING")
        over = tf.cumsum(descending, axis=0) - bound
        ranks = tf.range(1.0, x.shape[0] + 1.0)[:, tf.newaxis]
        count = tf.reduce_sum(tf.cast(descending * ranks > over, tf.int32), axis=0)
        at = tf.gather_nd(over, tf.stack([count - 1, tf.range(x.shape[1])], axis=1))
        return tf.maximum(at / tf.cast(count, x.dtype), x.dtype.min if name == "simplex" else 0.0)

    def project(w: tf.Tensor) -> tf.Tensor:
        if name == "simplex":
            return tf.maximum(w - threshold(w), 0.0)
        if name == "l1ball":
            magnitude = tf.abs(w)
            return tf.sign(w) * tf.maximum(magnitude - threshold(magnitude), 0.0)
        norms = tf.norm(w, axis=0)
        return w * tf.maximum(1.0 - threshold(norms) / norms, 0.0)

    return project


def masked(w: tf.Tensor) -> tf.Tensor:
    """What pruning toolkits do: the k-th magnitude by `top_k`, a mask, a product."""
    magnitude = tf.reshape(tf.abs(w), [-1])
    least = tf.math.top_k(magnitude, round(DENSITY * magnitude.shape[0])).values[-1]
    return w * tf.cast(tf.abs(w) >= least, w.dtype)


def partitioned(w: tf.Tensor) -> np.ndarray:
    """The same by NumPy's partition."""
    array = w.numpy()
    place = round((1.0 - DENSITY) * array.size)
    least = np.partition(np.abs(array), place, axis=None)[place]
    return array * (np.abs(array) >= least)


def optax_of(name: str, bound: float, w: tf.Tensor) -> dict[str, Function]:
    """The projection of optax for one group, compiled; nothing where it is not installed."""
    try:
        import jax
        from optax import projections
    except ImportError:
        return {}
    projection = {"l1ball": "projection_l1_ball", "simplex": "projection_simplex", "maxnorm": "projection_l2_ball"}
    if name not in projection:
        return {}
    project = jax.jit(functools.partial(getattr(projections, projection[name]), scale=bound))
    array = jax.numpy.asarray(w.numpy())
    return {"optax": lambda _: project(array).block_until_ready()}


def variants(name: str, groups: str, w: tf.Tensor, quick: bool = False) -> dict[str, tuple[Function, tf.Tensor]]:
    """What is raced: compiled functions and what each is applied to; others than this project's at `AT` alone."""
    this = constraint(name, w)
    project = tf.function(this.project, autograph=False)
    raced: dict[str, tuple[Function, tf.Tensor]] = {
        COPY: (tf.function(lambda w: tf.raw_ops.DeepCopy(x=w), autograph=False), w),
        COLD: (project, w),
    }
    # To be quick, only what a target is about: compiling it takes seconds.
    if not quick or (name in L1 and w.shape.num_elements() == AT):
        raced[WARM] = a_step_later(this, w)
    if w.shape.num_elements() != AT:
        return raced
    bound = next(iter(this.bounds().values()), 1.0)
    if name in L1:
        raced[SORT] = tf.function(sort_based(name, bound), autograph=False), w
    # The same call on the same weights, whatever they are grouped into: it is timed once.
    if (name, groups) == FIRST:
        flat = tf.reshape(w, [-1])
        raced[TOP_K] = tf.function(lambda w: tf.math.top_k(tf.abs(w), round(DENSITY * AT)), autograph=False), flat
    if quick:
        return raced  # The others are slower still, where they take a second.
    if name == "topk" and groups == ONE:
        raced["top_k and mask"] = tf.function(masked, autograph=False), w
        raced["np.partition"] = partitioned, w
    if groups == ONE:
        raced |= {title: (function, w) for title, function in optax_of(name, bound, w).items()}
    return raced


def a_step_later(this: Any, w: tf.Tensor) -> tuple[Function, tf.Tensor]:
    """Projects what two small steps have made of projected weights, and goes on from the projection between them."""
    warm_start = tf.zeros([this.warm_start, this.num_groups(w.shape)])
    project = tf.function(this.project_warm, autograph=False)
    for seed in (3, 4):
        p, warm_start = project(w, warm_start)
        w = p + 1e-3 * tf.random.stateless_normal(w.shape, seed=[seed, 4])
    return lambda w: project(w, warm_start)[0], w


def race(raced: dict[str, tuple[Function, tf.Tensor]], rounds: int) -> dict[str, dict[str, float]]:
    """Median and quartiles of each variant's milliseconds, and its ratio to the copy."""
    times: dict[str, list[float]] = {title: [] for title in raced}
    for title, (function, w) in raced.items():
        begun = time.perf_counter()
        function(w)
        # What compiling adds to these is nothing next to their seconds.
        if rounds < LEAST and title in (SORT, TOP_K):
            times[title].append(time.perf_counter() - begun)
    for _ in range(rounds):
        for title, (function, w) in raced.items():
            if len(times[title]) >= min(2, rounds // 3) and times[title][0] > SLOW:
                continue
            begun = time.perf_counter()
            result = function(w)
            times[title].append(time.perf_counter() - begun)
            del result  # Or the next one's memory would be new.
    copy = statistics.median(times[COPY])
    return {title: _summary(values, copy) for title, values in times.items()}


def _summary(seconds: list[float], copy: float) -> dict[str, float]:
    low, _, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else seconds * 3
    median = statistics.median(seconds)
    return {"milliseconds": 1e3 * median, "quartile_1": 1e3 * low, "quartile_3": 1e3 * high, "copies": median / copy}


def matrices(name: str) -> dict[str, tuple[Function, tf.Tensor]]:
    """As `variants`, for a matrix of a few large singular values, as trained kernels have."""
    rng = np.random.default_rng(5)
    left, right = (np.linalg.qr(rng.standard_normal((MATRIX, MATRIX)))[0] for _ in range(2))
    values = np.concatenate([np.linspace(2.0, 1.2, 8), 0.05 * np.linspace(1.0, 0.1, MATRIX - 8)])
    w = tf.constant((left * values) @ right, tf.float32)
    project = tf.function(constraint(name, w).project, autograph=False)
    return {
        COPY: (tf.function(lambda w: tf.raw_ops.DeepCopy(x=w), autograph=False), w),
        COLD: (project, w),
        SVD: (tf.function(tf.linalg.svd, autograph=False), w),
    }


def memory(name: str, groups: str, size: int) -> float:
    """Peak memory of a projection in copies of the weights, they themselves counted; run it in a process of its own."""
    status = pathlib.Path("/proc/self/status")

    def kibibytes(key: str) -> int:
        return int(next(line for line in status.read_text().splitlines() if line.startswith(key)).split()[1])

    few = weights(AT // 10, groups)
    tf.function(constraint(name, few).project, autograph=False)(few)  # Loads what every size needs.
    before = kibibytes("VmRSS:")
    w = weights(size, groups)
    project = tf.function(constraint(name, w).project, autograph=False)
    project(w)
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # Forgets the peak so far, which was the compiler's.
    project(w)
    return (kibibytes("VmHWM:") - before) * 1024 / (4 * size)


def _memory_apart(name: str, groups: str, size: int) -> float | None:
    command = [sys.executable, "-m", "scripts.benchmark.scale", "--memory", name, groups, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=pathlib.Path(__file__).parents[2])
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def inside_is_exact(name: str) -> bool:
    """Whether feasible weights come back bit for bit."""
    w = (
        weights(AT, MANY) * 1e-3
        if name == "maxnorm"
        else constraint(name, weights(AT, MANY)).project(weights(AT, MANY))
    )
    p = tf.function(constraint(name, weights(AT, MANY)).project, autograph=False)(w)
    return bool(tf.reduce_all(tf.equal(tf.bitcast(p, tf.int32), tf.bitcast(w, tf.int32))))


def measure(quick: bool) -> dict[str, Any]:
    """Everything: `times` of each set, grouping and size, `matrices`, `memory`, and which are `exact` inside."""
    tf.get_logger().setLevel("ERROR")  # It warns of traces, which every size needs.
    sizes = SIZES["quick" if quick else "full"]
    if max(sizes) > AT and os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < ROOM:
        sizes = sizes[:-1]
    figures: dict[str, Any] = {"times": {}, "matrices": {}, "memory": {}, "exact": {}}
    for name, groups in CASES:
        for size in sizes:
            # To be quick, one set for those that cost the same, and a curve of one for each way to project.
            if quick and (name in ("simplex", "block", *L2[1:]) or (size < AT and (name, groups) not in CURVES)):
                continue
            raced = variants(name, groups, weights(size, groups), quick)
            rounds = 3 if quick else 15 if size <= AT else 5
            times = figures["times"].setdefault(f"{name}, {groups}", {})[str(size)] = race(raced, rounds)
            if name in SPARSE and size == AT:
                top_k = figures["times"][", ".join(FIRST)][str(AT)][TOP_K]
                times.setdefault(TOP_K, top_k | {"copies": top_k["milliseconds"] / times[COPY]["milliseconds"]})
    for name in ("spectral", "lowrank"):
        figures["matrices"][name] = race(matrices(name), 3 if quick else 7)
    figures["exact"] = {name: inside_is_exact(name) for name in L2}
    if not quick and os.path.exists("/proc/self/clear_refs"):
        for name, groups in CASES:
            figures["memory"][f"{name}, {groups}"] = _memory_apart(name, groups, max(sizes))
    return figures


def main() -> None:
    """Measures, prints, and writes what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to 1e7 weights and few rounds: under a minute")
    outputs.add(parser, "time against size")
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    outputs.check(parser, arguments)
    if arguments.memory:
        name, groups, size = arguments.memory
        print_line(f"{memory(name, groups, int(size)):.3f}")
        return
    figures = measure(arguments.quick)
    print_line(scale_report.shown(figures))
    print_line("\n" + table(["what, and the target", "measured", "", "what limits it"], scale_report.targets(figures)))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    if arguments.plot:
        scale_report.plot(figures, arguments.plot)


if __name__ == "__main__":
    main()
