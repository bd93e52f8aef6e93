"""What the fast suite takes of arguments that take seconds each, mostly to compile; the slow suite takes the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest

import constraints
from tests.support.oracles import DTYPES

# Cases of five to twenty seconds that show what others of the same test show in less, by how their names begin.
REPEATS = (
    "block_test.py::test_many_weights_of_any_type_and_rank[(3, 16, 20)-bfloat16",
    "block_test.py::test_ties_go_to_the_first_row_major_over_blocks[bfloat16",
    "block_test.py::test_ties_go_to_the_first_row_major_over_blocks[float32]",
    "contributing_test.py::test_every_law_runs_over_it",
    "dataset_test.py::test_examples_are_the_arrays_one_by_one",
    "disk_test.py::test_a_disk_that_fills_up_while_training",
    "divergence_test.py::test_a_run_goes_back_once_past_the_batches_that_led_to_it[1",
    "measures_test.py::test_every_set_measures_in_a_graph_and_without_weights[l1ball",
    "quiet_import_test.py::test_one_process_runs_several_commands",
    "restored_test.py::test_without_a_word_the_weights_are_those_of_the_model_file",
    "tfds_prepare_test.py::test_the_command_that_prepares[digits-0",
    "constraint_keras_test.py::test_fit_keeps_kernels_feasible_and_a_saved_model_goes_on_as_if_it_had_not_been[box",
    "constraint_keras_test.py::test_fit_keeps_kernels_feasible_and_a_saved_model_goes_on_as_if_it_had_not_been[l1ball",
    "continued_test.py::test_a_walk_is_projected_as_if_each_step_were_the_first[shape4-False-l1ball",
    "continued_test.py::test_a_walk_is_projected_as_if_each_step_were_the_first[shape7-True-l1ball",
    "continued_test.py::test_training_carries_on_each_replica_whatever_the_chunks[1",
    "fast_paths_test.py::test_it_is_the_reference[l1ball-1.7-(160",
    "fast_paths_test.py::test_it_is_the_reference[simplex-1.7-(160",
    "fast_paths_test.py::test_it_is_the_reference_on_large_tensors[topk",
    "feasibility_test.py::test_a_plane_a_little_beyond_a_curved_set_is_refused[case1",
    "feasibility_test.py::test_projecting_onto_sets_that_do_not_meet_ends_and_tells_what_is_left[100",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[block",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[l1infball",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[l1topk",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[lowrank",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[nuclear",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[orthogonal",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[spectral",
    "generated_laws_test.py::test_a_few_hundred_generated_groups_obey_the_laws[unitsparse",
    "intersection_test.py::test_nearest_of_convex_sets_is_what_a_solver_finds[l1ball-box-halfspace]",
    "jit_autotune_test.py::test_xla_changes_training_by_rounding_alone[1-adamw",
    "jit_autotune_test.py::test_xla_changes_training_by_rounding_alone[2-sgd",
    "l1ball_test.py::test_large_tensors_are_projected_exactly[few values-(9000",
    "l1ball_test.py::test_large_tensors_are_projected_exactly[normal-(9000",
    "l1ball_test.py::test_many_float32_weights[dense",
    "l1ball_test.py::test_many_float32_weights[ties-3.0",
    "labels_test.py::test_a_class_number_of_any_kind_is_taken[bool-streamed",
    "laws_test.py::test_eager_graph_and_xla_agree[float32-graph-nuclear",
    "laws_test.py::test_eager_graph_and_xla_agree[float32-xla-nuclear",
    "laws_test.py::test_subnormals_and_negative_zeros_of_feasible_weights_survive[float32-nuclear",
    "laws_test.py::test_the_gradient_is_that_of_finite_differences[nuclear-3.1-xla",
    "laws_test.py::test_two_replicas_agree_with_one[l1ball",
    "lowrank_test.py::test_of_equal_singular_values_the_first_units_stay[True",
    "objective_test.py::test_training_evaluation_and_prediction_are_those_of_keras[('classifier', 1, False",
    "optimality_test.py::test_no_point_of_a_convex_set_is_nearer[simplex",
    "presets_test.py::test_a_cubic_ramp_ends_at_the_exact_share[None]",
    "presets_test.py::test_every_rules_bound_is_logged[resnet",
    "presets_test.py::test_six_rules_hold[resnet]",
    "reductions_test.py::test_projections_are_the_same_in_parts[topk]",
    "resume_test.py::test_the_command_after_the_end_changes_nothing_but_says_so[flagfile",
    "simplex_test.py::test_large_tensors_are_projected_exactly[1.0-(9000",
    "surroundings_test.py::test_a_run_is_the_same[backend",
    "targets_test.py::test_fit_anneals_logs_and_certifies[1",
    "bad_input_test.py::test_the_program_as_it_is_started_says_it_too[no_such_flag",
    "hostile_test.py::test_a_line_that_is_right_is_not_refused",
    "l1ball_test.py::test_one_group_of_many_weights",
    "labels_test.py::test_labels_of_another_kind_have_a_task_of_their_own[one-hot-streamed",
    "measures_test.py::test_every_set_measures_in_a_graph_and_without_weights[box",
    "resume_test.py::test_interrupted_anywhere_and_continued[mlp-1",
    "streamed_test.py::test_a_run_goes_on_with_the_same_batches[True",
    "train_step_test.py::test_a_step_is_gradient_then_optimizer_then_projection[adam-1",
    "train_step_test.py::test_replicas_agree_on_kernels_of_many_weights[topk",
    "turns_test.py::test_mask_keeps_the_zeros_of_topk[project_every = 10",
    "weights_test.py::test_training_and_evaluation_have_the_numbers_of_keras[(2, 'stream', False)",
    "validation_test.py::test_a_stopped_run_goes_on_bit_for_bit_with_the_same_parts[0",
)

# Folders whose cases are many: of how many cases of a test on one set one is fast.
THINNED = {
    "tests/constraints/": 4,
    "tests/models/": 3,
    "tests/trainer/engine/": 2,
    "tests/trainer/rules/": 2,
}

# One of each way to project.
KINDS = ("box", "elasticnet", "l1ball", "mask", "maxnorm", "nuclear", "topk", "unitnorm")


def left_to_the_slow_suite(names: Iterable[str]) -> set[str]:
    """The cases that the fast suite leaves out, by the names of tests as pytest writes them.

    Each test keeps a case of every set that it is about, so that the fast suite has every law over every set.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name in names:
        test, bracket, case = name.partition("[")
        if bracket:
            sets = tuple(sorted(set(re.split(r"[^a-z0-9]+", case)) & constraints.REGISTRY.keys()))
            groups.setdefault((test, sets), []).append(name)
    left = set()
    for (test, _), cases in groups.items():
        one_of = next((number for folder, number in THINNED.items() if test.startswith(folder)), 1)
        left.update(name for place, name in enumerate(cases) if place % one_of)
    return left


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
