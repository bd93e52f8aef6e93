"""The verdict on weights, against NumPy; valid JSON whatever the weights are."""

from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest

from constraints import REGISTRY, Intersection, schedules
from tests.support import tiny_experiment
from tests.support.cases import SETS
from tests.support.rules import rule_of
from tests.support.suites import fast
from tests.trainer.training.experiment_test import config
from trainer import main
from trainer.reporting import certificate
from trainer.rules import matching
from trainer.rules.target import Target
from trainer.settings import flags


def target(name, value, axes=(0,), constraint=None, **values) -> Target:
    variable = value if isinstance(value, keras.Variable) else keras.Variable(value)
    return tiny_experiment.target(
        name, variable, axes, constraint=constraint, **(values or tiny_experiment.OPTIONS.get(name, {}))
    )


def weights(shape=(6, 5), dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def judged(*targets, step=0):
    """The certificate and its one entry, after a journey through strict JSON."""

    def no_constant(name):
        raise ValueError(f"{name} is no JSON")

    text = json.dumps(certificate.certify(targets, step), allow_nan=False)
    result = json.loads(text, parse_constant=no_constant)
    return result, result["variables"][0]


@pytest.mark.parametrize("dtype", fast(["float32", "bfloat16", "float16"], "float32", "bfloat16"))
@pytest.mark.parametrize("shape", fast([(6, 5), (3, 3, 2, 4), (7,)], (3, 3, 2, 4), (7,)))
@pytest.mark.parametrize("name", SETS)
def test_what_was_projected_certifies(name, shape, dtype):
    if name == "block" and len(shape) == 1:
        pytest.skip("a vector has no blocks")
    axes = tuple(range(len(shape) - 1)) or (0,)
    projected = target(name, weights(shape), axes)
    variable = keras.Variable(weights(shape), dtype=dtype)
    variable.assign(projected.constraint(variable.value))
    result, entry = judged(target(name, variable, axes))
    assert result["feasible"] is True
    assert entry["feasible"] is True
    assert entry["largest_violation"] <= entry["tolerance"]


@pytest.mark.parametrize("name", [name for name in SETS if name not in ("mask", "none")])
def test_what_was_not_projected_does_not(name):
    result, entry = judged(target(name, 3 * weights()), target("none", weights()))
    assert result["feasible"] is False
    assert entry["feasible"] is False
    assert entry["largest_violation"] > 1e-3
    assert result["variables"][1]["feasible"] is True
    assert entry["quantity"] in [quantity["quantity"] for quantity in entry["quantities"] if not quantity["feasible"]]
    table = certificate.printed(result).splitlines()
    assert entry["quantity"] in table[2]
    assert table[2].endswith("VIOLATED")
    assert table[3].endswith("holds")


def test_one_group_by_a_hair_is_enough():
    value = weights() / np.linalg.norm(weights(), axis=0) * 0.99
    assert judged(target("maxnorm", value, max_value=1.0))[0]["feasible"] is True
    value[:, 3] *= 1.00002 / 0.99
    result, entry = judged(target("maxnorm", value, max_value=1.0))
    assert result["feasible"] is False
    assert entry["largest_violation"] == pytest.approx(2e-5, rel=0.05)


def test_a_zero_group_is_outside_of_a_sphere_and_inside_of_a_ball():
    value = weights() / np.linalg.norm(weights(), axis=0)
    value[:, 2] = 0
    _, entry = judged(target("unitnorm", value))
    assert (entry["largest_violation"], entry["worst_value"], entry["worst_group"]) == (1.0, 0.0, [2])
    assert judged(target("maxnorm", value, max_value=1.00001))[0]["feasible"] is True


def test_every_number_equals_numpy():
    value = weights((3, 2, 4, 5))
    value[0, 0] = 0
    value[1, 1, 0] = [5e-4, -5e-4, 1e-3 + 1e-6, 0, -0.0]
    limited = target("maxnorm", value, (0, 1, 2), max_value=2.5)
    _, entry = judged(limited, step=9)
    norms = np.sqrt(np.square(value.astype(np.float64)).sum(axis=(0, 1, 2)))
    violation = np.maximum(norms - 2.5, 0) / 2.5
    assert entry["path"] == limited.variables[0].path
    assert (entry["rule"], entry["constraint"], entry["bound"]) == (1, "maxnorm", {"max_value": 2.5})
    assert (entry["shape"], entry["groups"]) == ([3, 2, 4, 5], 5)
    assert entry["zeros"] == np.count_nonzero(value == 0) == 22
    assert entry["near_zeros"] == np.count_nonzero(np.abs(value) <= certificate.NEAR_ZERO)
    assert entry["sparsity"] == pytest.approx(22 / 120)
    assert entry["largest_violation"] == pytest.approx(violation.max(), rel=1e-9)
    assert entry["quantity"] == "l2 norm of a group"
    assert entry["worst_value"] == pytest.approx(norms.max(), rel=1e-12)
    assert (entry["at_least"], entry["at_most"], entry["worst_group"]) == (None, 2.5, [int(norms.argmax())])
    for name in ("min", "mean", "max"):
        assert entry["norm"][name] == pytest.approx(getattr(norms, name)(), rel=1e-12)


def test_the_groups_are_those_of_the_target():
    value = weights((40, 2)) / 2  # Columns are long, rows are short.
    assert judged(target("maxnorm", value, (1,), max_value=2.0))[0]["feasible"] is True
    assert judged(target("maxnorm", value, (0,), max_value=2.0))[0]["feasible"] is False


def test_the_bound_is_that_of_the_step():
    shrinking = schedules.linear(4.0, 1.0, end=100)
    value = 2 * weights() / np.linalg.norm(weights(), axis=0)
    moving = target("maxnorm", value, constraint=REGISTRY["maxnorm"](max_value=shrinking))
    early, entry = judged(moving, step=50)
    assert (early["feasible"], early["step"], entry["bound"]) == (True, 50, {"max_value": 2.5})
    late, entry = judged(moving, step=100)
    assert (late["feasible"], entry["bound"]) == (False, {"max_value": 1.0})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", SETS)
def test_weights_that_are_not_finite_obey_no_rule(name, bad):
    value = weights() * 0.01
    value[2, 1] = bad
    result, entry = judged(target(name, value))
    assert result["feasible"] is False
    assert entry["feasible"] is False
    assert "VIOLATED" in certificate.printed(result)
    assert entry["zeros"] == 0


def test_no_weights_and_no_targets():
    result, entry = judged(target("maxnorm", np.zeros((0, 4), np.float32)))
    assert result["feasible"] is True
    assert (entry["zeros"], entry["near_zeros"], entry["sparsity"], entry["groups"]) == (0, 0, 0.0, 4)
    _, entry = judged(target("unitnorm", np.zeros((4, 0), np.float32)))
    assert (entry["groups"], entry["norm"]) == (0, {"min": 0.0, "mean": 0.0, "max": 0.0})
    empty = certificate.certify([], 3)
    assert empty["feasible"] is True
    assert empty["variables"] == []
    assert "variable" in certificate.printed(empty)


def test_two_bounds_are_shown_the_primary_one_first():
    result, entry = judged(target("box", np.clip(weights(), -0.5, 0.25), max_value=0.25, min_value=-0.5))
    assert list(entry["bound"].items()) == [("max_value", 0.25), ("min_value", -0.5)]
    assert "0.25 -0.5" in certificate.printed(result)


def broken(*targets) -> str:
    """What the certificate of these targets says is broken."""
    return certificate.broken(certificate.certify(targets, 1200))


def test_nothing_is_broken_where_every_rule_holds():
    assert broken(target("maxnorm", 0.01 * weights()), target("none", weights())) == ""


def test_it_says_what_is_broken():
    value = np.zeros((6, 5), np.float32)
    value[4, 3], value[1, 2] = -0.25, 2.0
    line = broken(target("nonneg", value), target("maxnorm", value, max_value=0.5), target("box", 0.0 * value))
    words = "breaks nonneg: smallest weight of a group is -0.25 in group [3] but must be at least 0 (and 1 more marked"
    assert words in line
    value[1, 2] = np.nan
    assert broken(target("none", value)).endswith("holds NaN or infinity")


def test_sets_that_do_not_meet_are_told_apart():
    both = Intersection((REGISTRY["box"](min_value=0.5, max_value=1.0), REGISTRY["maxnorm"](max_value=1.0)), axis=0)
    value = both(weights()).numpy()
    result, entry = judged(dataclasses.replace(target("none", value), constraint=both, name="box,maxnorm"))
    assert result["feasible"] is False
    failed = {quantity["set"] for quantity in entry["quantities"] if not quantity["feasible"]}
    assert failed
    assert all(f"{name}: " in broken(dataclasses.replace(target("none", value), constraint=both)) for name in failed)


@pytest.mark.slow
def test_a_run_whose_sets_do_not_meet_says_so_and_exits_with_1(tmp_path, monkeypatch, capsys):
    values = {"min_value": 0.5, "box": {"max_value": 1.0}, "maxnorm": {"max_value": 0.1}}
    settings = config(tmp_path / "run", rule_of("box,maxnorm", values), train_steps=2)
    # Schedules are looked at before the first step, but not at every step.
    monkeypatch.setattr(matching, "_check_meets", lambda *_: None)
    monkeypatch.setattr(flags, "config", lambda _: settings)
    monkeypatch.setattr(flags, "as_flagfile", lambda *_, **__: "")
    assert main._main([]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if "NOT FEASIBLE" in line)
    assert "NOT FEASIBLE: `output/kernel` breaks " in line
    assert "box: smallest weight of a group is 0.04" in line
    assert "but must be at least 0.5" in line
