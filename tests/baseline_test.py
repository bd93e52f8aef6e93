"""The baseline holds the project to its own laws, and sees where others break them."""

import numpy as np
import pytest

from scripts import baseline


@pytest.fixture(scope="module")
def keras_rows():
    return {row.title: baseline.verdicts(row) for row in baseline.kerases()}


# Those that `laws_test` takes seconds for as well are slow.
ROWS = [
    pytest.param(row, id=row.case.name, marks=[pytest.mark.slow] * (row.case.name in ("l1ball", "simplex")))
    for row in baseline.ours()
]


@pytest.mark.parametrize("row", ROWS)
def test_no_law_is_broken_here(row):
    assert set(baseline.verdicts(row).values()) <= {"holds", "-"}


def test_what_keras_breaks_is_seen(keras_rows):
    broken = {
        title: {law for law, cell in row.items() if cell not in ("holds", "-")} for title, row in keras_rows.items()
    }
    assert broken["keras NonNeg"] == set()
    assert {"twice is once", "inside stays, bit for bit", "each conv filter, by default"} <= broken["keras MaxNorm"]
    assert "zero group feasible" not in broken["keras MaxNorm"]
    for title in ("keras UnitNorm", "keras MinMaxNorm"):
        assert {"each conv filter, by default", "zero group feasible", "1e-30 to 1e30"} <= broken[title]
    assert keras_rows["keras UnitNorm"]["inside stays, bit for bit"] == "-"


def test_a_projection_that_raises_has_a_cell_too():
    row = baseline.kerases()[0]

    def raises(w):
        raise TypeError("no")

    assert set(baseline.verdicts(baseline.dataclasses.replace(row, eager=raises)).values()) == {"raises TypeError"}


def test_a_result_that_is_off_is_measured():
    ball = baseline.ours()[0]
    grown = baseline.dataclasses.replace(ball, eager=lambda w: np.asarray(ball.eager(w)) * np.float32(1.5))
    cells = baseline.verdicts(grown)
    assert cells["feasible after rounding"] == "off by 0.5"
    assert cells["nearest"] == "0.5 away"
    assert cells["zero group feasible"] == "holds"
    assert cells["inside stays, bit for bit"] == "moves 0.5"


def test_nan_in_every_group_is_seen():
    ball = baseline.ours()[0]
    spread = baseline.dataclasses.replace(ball, eager=lambda w: np.asarray(ball.eager(w)) + 0 * np.sum(w))
    cells = baseline.verdicts(spread)
    assert cells.pop("NaN, inf change nothing else") == "NaN changes other groups"
    assert cells.pop("eager = compiled") == "holds"
    nothing = baseline.verdicts(baseline.dataclasses.replace(ball, eager=lambda w: w * np.nan))
    assert {nothing["feasible after rounding"], nothing["zero group feasible"]} == {"off by NaN"}
    assert nothing["nearest"] == "NaN away"
    assert nothing["1e-30 to 1e30"].startswith("off by NaN at 1e-30 (5 of 5")


def test_the_table_is_markdown(monkeypatch):
    rows = [*baseline.ours()[:2], baseline.kerases()[0]]
    monkeypatch.setattr(baseline, "verdicts", lambda row: dict.fromkeys(baseline.LAWS, "holds"))
    lines = baseline.markdown(rows).splitlines()
    assert [line.split("|")[1].strip() for line in lines] == [
        "projection",
        "---",
        "**maxnorm**",
        "keras MaxNorm",
        "**unitnorm**",
    ]
    assert len({line.count("|") for line in lines}) == 1


def test_the_rows_of_optax():
    pytest.importorskip("optax")
    rows = {row.title.removeprefix("optax projection_"): row for row in baseline.optaxes()}
    assert set(rows) >= {"l2_ball", "l2_sphere", "l1_ball", "l1_sphere", "simplex", "box", "halfspace", "hyperplane"}
    assert all(row.one_group for row in rows.values())
    w = np.float32([[3.0, 0.1], [4.0, 0.2]])
    np.testing.assert_allclose(rows["l2_ball"](w), [[0.78, 0.1], [1.04, 0.2]], rtol=1e-6)
