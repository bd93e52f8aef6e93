"""Every definition: the smallest break of a rule is found, and what a projection makes is not called one."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from constraints import REGISTRY, Constraint, Intersection
from constraints.sets._matrix import MatrixSet
from tests.support.cases import CASES, SETS
from tests.support.oracles import DTYPES, array
from tests.support.strategies import KINDS, Stack, nudged
from tests.support.suites import fast, of_each_kind
from trainer.reporting import certificate
from trainer.reporting.definitions import DEFINITIONS
from trainer.rules import target
from trainer.rules.target import Target

SHAPE = (12, 6)
RNG = np.random.default_rng(5)
WEIGHTS = RNG.standard_normal(SHAPE).astype(np.float32)
OPTIONS = {
    "block": {"block": (2, 2)},
    "box": {"min_value": 0.0, "max_value": 0.7},
    "halfspace": {"total": -1.0},
    "hyperplane": {"total": 0.5},
    "l1topk": {"max_value": 100.0},
    "lowrank": {"rank": 2},
    "mask": {"pattern": RNG.standard_normal(SHAPE) > 0},
    "minmaxnorm": {"min_value": 0.5, "max_value": 2.5},
    "nuclear": {"max_value": 1.0},
    "simplextopk": {"total": 100.0},
}


def constraint(name: str, **more) -> Constraint:
    return REGISTRY[name](**OPTIONS.get(name, {}), **more, axis=0)


def entry(constraint: Constraint, value, name: str = "one") -> dict:
    """What the certificate says of one variable."""
    variable = keras.Variable(value, dtype=array(value).dtype.name)
    made = Target(1, name, "w", (variable,), target.reshape(variable.shape, variable.shape), constraint)
    result = certificate.certify([made], 0)
    (found,) = json.loads(json.dumps(result, allow_nan=False))["variables"]
    assert found["feasible"] is result["feasible"]
    return found


def another_non_zero(w: np.ndarray, size: float) -> np.ndarray:
    """In the place of the first zero."""
    place = tuple(np.argwhere(w == 0)[0])
    return _with(w, place, size)


def _with(w: np.ndarray, place: tuple, value: float) -> np.ndarray:
    w = w.copy()
    w[place] = value
    return w


def longer(w: np.ndarray) -> np.ndarray:
    return (w.astype(np.float64) * (1 + 3e-6)).astype(np.float32)


def shifted(w: np.ndarray) -> np.ndarray:
    """The sum of a column moves by 3e-6 of its magnitudes."""
    place = (int(np.argmax(np.abs(w[:, 2]))), 2)
    return _with(w, place, float(w[place]) + 3e-6 * float(np.sum(np.abs(w[:, 2]))))


SMALLEST, SUBNORMAL = 1e-30, 1e-45
COUNTED = ("block", "l1topk", "mask", "nm", "simplextopk", "topk", "unitsparse")
BREAKS = {
    **{(name, f"{size:g}"): lambda w, size=size: another_non_zero(w, size) for name in COUNTED
       for size in (SMALLEST, -SMALLEST, SUBNORMAL)},
    **{(name, f"-{size:g}"): lambda w, size=size: another_non_zero(w, -size) for name in ("nonneg", "simplex", "box")
       for size in (SMALLEST, SUBNORMAL)},
    **{(name, "longer"): longer for name in (
        "box", "l1ball", "l1infball", "l1sphere", "l21ball", "maxnorm", "minmaxnorm", "nuclear", "orthogonal",
        "simplex", "spectral", "unitnorm")},
    **{(name, "shorter"): lambda w: (w * (1 - 3e-6)).astype(np.float32) for name in (
        "l1sphere", "orthogonal", "simplex", "unitnorm")},
    **{(name, "shifted"): shifted for name in ("halfspace", "hyperplane", "zerosum")},
    ("lowrank", "noise"): lambda w: w + (3e-6 * np.linalg.norm(w) / 8 * WEIGHTS).astype(np.float32),
    ("minmaxnorm", "short"): lambda w: _with(w, (slice(None), 1), w[:, 1] / np.linalg.norm(w[:, 1]) * (0.5 - 2e-6)),
}  # fmt: skip


def test_every_set_has_a_definition_and_a_break():
    assert set(DEFINITIONS) == set(SETS)
    assert {name for name, _ in BREAKS} == set(SETS) - {"none"}


@pytest.mark.parametrize(("name", "how"), BREAKS, ids=["-".join(key) for key in BREAKS])
def test_the_smallest_break_of_a_rule_is_found(name, how):
    rule = constraint(name)
    feasible = rule(WEIGHTS).numpy()
    if name in ("l1topk", "topk", "nm", "simplextopk"):
        assert np.all(np.count_nonzero(feasible, axis=0) == 6)
    held = entry(rule, feasible)
    assert held["feasible"] is True
    assert held["largest_violation"] <= held["tolerance"] <= 2e-7
    broken = entry(rule, BREAKS[name, how](feasible))
    assert broken["feasible"] is False
    assert not broken["largest_violation"] <= broken["tolerance"]
    assert broken["quantity"] in [one["quantity"] for one in broken["quantities"] if not one["feasible"]]


@pytest.mark.parametrize("size", [5_000, 1_000_000])
def test_the_tolerance_of_a_sum_does_not_grow_with_its_size(size):
    for name in ("l1ball", "maxnorm"):
        rule = REGISTRY[name]()
        value = np.full(size, 1.0 / (size if "l1" in name else size**0.5)) * (2.0 if name == "maxnorm" else 1.0)
        assert entry(rule, value.astype(np.float64) * (1 - 1e-12))["feasible"] is True
        broken = entry(rule, value.astype(np.float64) * (1 + 3e-6))
        assert broken["feasible"] is False
        assert broken["largest_violation"] == pytest.approx(3e-6, rel=1e-3)


def test_thousands_of_near_zeros_do_not_pass_for_zeros():
    w = np.full(10_000, 1e-7, np.float32)
    w[:1000] = 1.0
    for rule in (REGISTRY["topk"](sparsity=0.9), REGISTRY["nm"](n=1, m=10)):
        assert entry(rule, w)["feasible"] is False
        assert entry(rule, np.where(w < 1, 0, w) if rule.matroid and "sparsity" in rule.bounds() else rule(w))[
            "feasible"
        ]
    assert entry(REGISTRY["unitsparse"](sparsity=0.9), w.reshape(1, -1))["feasible"] is False
    assert entry(REGISTRY["nonneg"](), -w)["worst_value"] == -1.0
    w[:5000] *= -1
    assert entry(REGISTRY["nonneg"](), np.where(w == 1, 1, w).astype(np.float32))["feasible"] is False


@pytest.mark.parametrize("name", SETS)
def test_no_projection_is_asked(name, monkeypatch):
    """A set whose projection, distance and norm are all wrong is judged like any other."""
    feasible = constraint(name)(WEIGHTS).numpy()

    def wrong(*_args, **_kwargs):
        raise AssertionError("asked")

    for method in ("__call__", "projected", "distance", "norm", "active", "project", "nearest", "column_norms"):
        for kind in REGISTRY[name].__mro__:
            if method in vars(kind) and issubclass(kind, Constraint):
                monkeypatch.setattr(kind, method, wrong)
    assert entry(constraint(name), feasible)["feasible"] is True
    assert entry(constraint(name), 3 * WEIGHTS)["feasible"] is (name == "none")


def awkward(stack: Stack) -> np.ndarray:
    """Groups of every kind, at one scale after the other: [groups, weights]."""
    rng = np.random.default_rng(stack.weights)
    made = []
    for index, kind in enumerate([*KINDS.values()] * (stack.groups // len(KINDS))):
        raw = np.frombuffer(rng.bytes(stack.weights), np.uint8).astype(np.int64)
        made.append(kind(raw, rng, stack.weights) * (1.0, 1e-3, 1e2)[index % 3])
    return np.clip(made, -3e4, 3e4).astype(DTYPES[stack.dtype])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", fast([(9, 5), (60, 4)], (9, 5)))
@pytest.mark.parametrize("case", of_each_kind(CASES), ids=str)
def test_what_a_projection_makes_is_feasible(case, shape, dtype):
    stack = Stack(case, dtype, shape, len(KINDS))
    flat = awkward(stack)
    # The laws' own topk has the groups of the others; a certificate knows registered sets.
    judged = REGISTRY["topk"](*dict(case.values).values(), axis=0) if case.name == "topk" else stack.constraint
    for _ in range(2):
        points = stack.project(flat)
        found = entry(judged, stack.stacked(points))
        assert found["feasible"] is True, found
        # Once more from beside the set, where a point may stay.
        flat = np.array([nudged(point, bytes([index % 6] * stack.weights)) for index, point in enumerate(points)])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", SETS)
def test_a_million_projected_weights_are_feasible(name, dtype):
    w = tf.cast(np.random.default_rng(1).standard_normal((4_000, 252)), dtype)
    for value in (w,) if issubclass(REGISTRY[name], MatrixSet) else (w, tf.reshape(w, [-1])):
        found = entry(REGISTRY[name](), REGISTRY[name]()(value))
        assert found["feasible"] is True, found


PARTS = {
    "nonneg,maxnorm": (REGISTRY["nonneg"](), REGISTRY["maxnorm"](max_value=0.6)),
    "topk,unitnorm": (REGISTRY["topk"](), REGISTRY["unitnorm"]()),
    "box,zerosum": (REGISTRY["box"](min_value=-0.3, max_value=0.3), REGISTRY["zerosum"]()),
    "nonneg,l21ball": (REGISTRY["nonneg"](), REGISTRY["l21ball"](max_value=1.0)),
}


@pytest.mark.parametrize("names", PARTS)
def test_each_of_several_sets_is_judged_by_its_own_definition(names):
    both = Intersection(PARTS[names], axis=0)
    point = both(WEIGHTS).numpy()
    found = entry(both, point)
    assert found["feasible"] is True
    assert {quantity["set"] for quantity in found["quantities"]} == set(names.split(","))
    for part in names.split(","):
        # This box holds negative weights.
        for how in [how for name, how in BREAKS if name == part and (part, how[0]) != ("box", "-")]:
            broken = entry(both, BREAKS[part, how](point))
            assert broken["feasible"] is False
            assert part in {quantity["set"] for quantity in broken["quantities"] if not quantity["feasible"]}


def test_the_worst_group_is_named_by_its_place():
    w = np.zeros((3, 3, 4, 5), np.float32)
    w[:, :, 2, 3] = 1.0
    ball = REGISTRY["maxnorm"](max_value=1.0, axis=(0, 1))
    assert entry(ball, w)["worst_group"] == [2, 3]
    assert entry(REGISTRY["l21ball"](max_value=1.0, axis=(0, 1), each=2), w)["worst_group"] == [2]
    assert entry(REGISTRY["maxnorm"](max_value=1.0, axis=(0, 1, 2, 3)), w)["worst_group"] == []


def test_a_budget_of_the_network_is_counted_over_all_its_weights():
    values = [RNG.standard_normal((6, 5)).astype(np.float32), RNG.standard_normal((5, 4)).astype(np.float32)]
    variables = [keras.Variable(value) for value in values]
    packing = target.concatenate([(6, 5), (5, 4)])
    joined = Target(1, "topk", "network", tuple(variables), packing, REGISTRY["topk"](sparsity=0.8))
    for variable, value in zip(variables, packing.unpack(joined.constraint(joined.weights())), strict=True):
        variable.assign(value)
    (found,) = certificate.certify([joined], 0)["variables"]
    assert (found["feasible"], found["worst_value"], found["at_most"]) == (True, 10.0, 10.0)
    variables[1].assign(np.where(variables[1].numpy() == 0, np.eye(5, 4)[::-1] * SMALLEST, variables[1].numpy()))
    (found,) = certificate.certify([joined], 0)["variables"]
    assert found["feasible"] is False


def test_a_set_that_nobody_defined_is_not_certified(monkeypatch):
    monkeypatch.delitem(DEFINITIONS, "maxnorm")
    found = entry(constraint("maxnorm"), 0 * WEIGHTS)
    assert found["feasible"] is False
    assert found["quantity"] == "no definition of maxnorm in trainer/reporting/definitions.py"
