"""What the fast suite takes of arguments that take seconds each, mostly to compile; the slow suite takes the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.oracles import DTYPES

# Cases of five to twenty seconds that show what others of the same test show in less, by how their names begin.
REPEATS = (
    "block_test.py::test_ties_go_to_the_first_row_major_over_blocks[float32]",
    "continued_test.py::test_a_walk_is_projected_as_if_each_step_were_the_first[shape4-False-l1ball",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[block",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[l1infball",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[l1topk",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[lowrank",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[nuclear",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[unitsparse",
    "intersection_test.py::test_nearest_of_convex_sets_is_what_a_solver_finds[l1ball-box-halfspace]",
    "jit_autotune_test.py::test_xla_changes_training_by_rounding_alone[1-adamw",
    "l1ball_test.py::test_large_tensors_are_projected_exactly[normal-(9000",
    "l1ball_test.py::test_many_float32_weights[dense",
    "laws_test.py::test_eager_graph_and_xla_agree[float32-xla-nuclear",
    "laws_test.py::test_subnormals_and_negative_zeros_of_feasible_weights_survive[float32-nuclear",
    "laws_test.py::test_two_replicas_agree_with_one[l1ball",
    "optimality_test.py::test_no_point_of_a_convex_set_is_nearer[simplex",
    "presets_test.py::test_a_cubic_ramp_ends_at_the_exact_share[None]",
    "presets_test.py::test_six_rules_hold[resnet]",
    "reductions_test.py::test_projections_are_the_same_in_parts[topk]",
    "simplex_test.py::test_large_tensors_are_projected_exactly[1.0-(9000",
)

# One of each way to project.
KINDS = ("box", "elasticnet", "l1ball", "mask", "maxnorm", "nuclear", "topk", "unitnorm")


def fast(values: Iterable[Any], *chosen: Any) -> list[Any]:
    """The values of one argument, those that are not chosen marked as slow."""
    return [value if value in chosen else pytest.param(value, marks=pytest.mark.slow) for value in values]


def of_each_kind(cases: Iterable[Any]) -> list[Any]:
    """Cases of the catalogue, one of each way to project."""
    return [case if case.name in KINDS else pytest.param(case, marks=pytest.mark.slow) for case in cases]


# XLA compiles for each type.
every_dtype_and_way = pytest.mark.parametrize(
    ("dtype", "compiled"),
    [
        pytest.param(dtype, compiled, marks=[pytest.mark.slow] * (compiled and dtype != "float32"))
        for dtype in DTYPES
        for compiled in (False, True)
    ],
)
