"""The laws, on groups that a test of feasibility may misjudge; see `tests.support.adversarial`."""

from __future__ import annotations

import pytest

from tests.constraints.generated_laws_test import LAWS, compiled_is_eager, continued_is_projected
from tests.support.adversarial import CASES, FAMILIES, stack_of
from tests.support.oracles import DTYPES
from tests.support.suites import KINDS, fast

# On both sides of where formulas change, with the number of groups of a family: 256 weights, 2^14 and 2^17.
SHAPES = [(5, 3), (40, 2), (400, 2), (2000, 4)]
FAST = [pytest.param(case, marks=[pytest.mark.slow] * (case.name not in (*KINDS, "l1topk"))) for case in CASES]


def obey(case, family, dtype, shape, ways=()):
    stack, w = stack_of(case, family, dtype, shape)
    p = stack.project(w)
    for law in LAWS:
        law(stack, w, p)
    for way in ways:
        compiled_is_eager(stack, w, p, way)
    continued_is_projected(stack, w, p)


@pytest.mark.parametrize("case", FAST, ids=str)
@pytest.mark.parametrize("family", fast(FAMILIES, "crumbs"))
def test_groups_that_are_easily_misjudged_obey_the_laws(case, family):
    obey(case, family, "float32", (400, 2))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_they_do_in_every_type_and_way(case, family):
    for dtype in DTYPES:
        for shape in SHAPES[:3]:
            obey(case, family, dtype, shape, ("graph", "xla") if shape == (400, 2) else ())


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if not case.spectral], ids=str)
@pytest.mark.parametrize("family", ["crumbs", "norms"])
def test_they_do_where_memory_is_all_that_a_formula_costs(case, family):
    obey(case, family, "float32", SHAPES[3], ("graph",))
