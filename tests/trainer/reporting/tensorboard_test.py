"""What stands in the event files, read back."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2, metadata
from tensorboard.plugins.histogram import summary_v2 as histogram
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.scalar import summary_v2 as scalar
from tensorboard.util import tensor_util

from constraints import schedules
from tests.support import tensorboard_data, tiny_experiment
from trainer.engine.projector import MEASURES, Projector
from trainer.reporting import tensorboard
from trainer.rules.target import Target


def target(name: str, path: str, shape=(4, 3), **values) -> Target:
    weights = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with keras.name_scope(path):
        variable = keras.Variable(weights, name="kernel")
    return tiny_experiment.target(name, variable, **values)


def targets() -> list[Target]:
    return [
        target("maxnorm", "hidden_1", max_value=schedules.linear(2.0, 1.0, end=10)),
        target("box", "conv.1", shape=(5, 2)),
        target("topk", "hidden_10"),
        target("nonneg", "output"),
        target("none", "embedding"),
    ]


def values_of(directory, tag: str) -> list:
    return [
        value for _, event in tensorboard_data.events(directory) for value in event.summary.value if value.tag == tag
    ]


def written(directory) -> tensorboard.Summaries:
    """A run of 20 steps, written every 5."""
    constrained, rng = targets(), np.random.default_rng(0)
    writer = tensorboard.Summaries(directory, constrained)
    writer.begin(tensorboard.readable({"max_value": 2.0, "seed": 0, "overwrite": False}), "# a card")
    for step in (5, 10, 15, 20):
        measured = rng.random((len(constrained), len(MEASURES) + 2))
        scalars = {"loss": 1 / step, "accuracy": 0.5, "learning_rate": 0.1, "steps_per_second": 9.0}
        writer.scalars("train", step, scalars | writer.measures(step, MEASURES, measured))
        writer.evaluation(step, {"loss": 2 / step, "accuracy": 0.25})
    writer.histograms(20)
    writer.end(20, True)
    return writer


def test_every_tag_of_the_design(tmp_path):
    writer = written(tmp_path)
    writer.close()
    found = tensorboard_data.scalars(tmp_path)
    expected = {f"train/{tag}" for tag in ("loss", "accuracy", "learning_rate", "steps_per_second", "sparsity/total")}
    expected |= {"eval/loss", "eval/accuracy", "eval/sparsity/total"}
    for one in targets():
        path = one.variables[0].path
        tags = ["sparsity/{}", "norm/{}/mean", "norm/{}/max", "distance/{}", "active/{}"]
        expected |= {f"train/{tag.format(path)}" for tag in tags}
        for field in one.constraint.bounds():
            expected |= {f"train/bound/{field}/{path}"}
    assert found.keys() == expected
    assert all([step for step, _ in points] == [5, 10, 15, 20] for points in found.values())


def test_the_values_are_those_measured(tmp_path):
    constrained = targets()
    measured = Projector(constrained, 20).project(tf.constant(5, tf.int64), tf.constant(True)).numpy()
    named = tensorboard.Summaries(tmp_path, constrained).measures(1, MEASURES, measured)
    ball, box, sparse = (one.variables[0].numpy().astype(np.float64) for one in constrained[:3])
    norms = np.linalg.norm(ball, axis=0)
    assert named["norm/hidden_1/kernel/mean"] == pytest.approx(norms.mean())
    assert named["norm/hidden_1/kernel/max"] == pytest.approx(norms.max())
    assert named["bound/max_value/hidden_1/kernel"] == 1.5
    assert named["norm/conv.1/kernel/max"] == pytest.approx(np.abs(box).max())
    assert named["bound/max_value/conv.1/kernel"] == 1.0
    assert named["bound/min_value/conv.1/kernel"] == -1.0
    assert named["sparsity/hidden_10/kernel"] == np.mean(sparse == 0) == 0.5
    assert not any(tag.startswith("bound/") and "output" in tag for tag in named)
    zeros = sum(np.count_nonzero(one.variables[0].numpy() == 0) for one in constrained)
    assert zeros > 6
    sizes = sum(one.variables[0].numpy().size for one in constrained)
    assert named["sparsity/total"] == pytest.approx(zeros / sizes)
    assert not (tmp_path / "train").exists()


def test_an_evaluation_says_what_sparsity_it_was_reached_with(tmp_path):
    constrained = [target("none", "a"), target("none", "b", shape=(2, 2))]
    constrained[1].variables[0].assign([[0.0, 1.0], [-0.0, 2.0]])
    writer = tensorboard.Summaries(tmp_path, constrained)
    writer.evaluation(7, {"loss": 0.5})
    writer.close()
    assert tensorboard_data.scalars(tmp_path)["eval/sparsity/total"] == [(7, 2 / 16)]


def test_without_targets_there_is_no_sparsity(tmp_path):
    writer = tensorboard.Summaries(tmp_path, [])
    writer.begin({}, "")
    writer.evaluation(1, {"loss": 0.5})
    writer.histograms(1)
    writer.close()
    assert writer.measures(1, MEASURES, np.zeros((0, 5))) == {}
    assert tensorboard_data.scalars(tmp_path).keys() == {"eval/loss"}


def test_the_layout_shows_each_variable_against_its_own_bound(tmp_path):
    written(tmp_path).close()
    tags = {tag.removeprefix("train/") for tag in tensorboard_data.scalars(tmp_path) if tag.startswith("train/")}
    (value,) = values_of(tmp_path, metadata.CONFIG_SUMMARY_TAG)
    layout = layout_pb2.Layout.FromString(tensor_util.make_ndarray(value.tensor).item())
    charts = {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
    shown = {
        title: {tag for tag in tags if any(re.search(pattern, tag) for pattern in patterns)}
        for title, patterns in charts.items()
    }
    assert shown["norm: hidden_1/kernel"] == {
        "norm/hidden_1/kernel/max",
        "norm/hidden_1/kernel/mean",
        "bound/max_value/hidden_1/kernel",
    }
    assert shown["norm: conv.1/kernel"] == {
        "norm/conv.1/kernel/max",
        "norm/conv.1/kernel/mean",
        "bound/max_value/conv.1/kernel",
        "bound/min_value/conv.1/kernel",
    }
    assert shown["sparsity: hidden_10/kernel"] == {"sparsity/hidden_10/kernel", "bound/sparsity/hidden_10/kernel"}
    assert shown["sparsity"] == {tag for tag in tags if tag.startswith("sparsity/")}
    assert all(shown.values()), "a chart without a line"
    drawn = set().union(*shown.values())
    # Nothing that was measured is missing from the first page but the norms of variables bounded otherwise.
    assert tags - drawn <= {"steps_per_second", "norm/hidden_10/kernel/max", "norm/hidden_10/kernel/mean"}


def charts_of(*targets: Target) -> dict[str, list[str]]:
    (bounds, *_) = tensorboard.layout(targets).category
    return {chart.title: list(chart.multiline.tag) for chart in bounds.chart}


def test_no_chart_shows_the_bound_of_another_quantity():
    """The dashboard shows all runs in one chart, whatever rule each has on the variable."""
    names = ("maxnorm", "topk", "l1topk", "softthreshold", "elasticnet", "nm", "nonneg")
    kinds = {name: target(name, "hidden_1") for name in names}
    tags = {tensorboard.bound_tag(one, field) for one in kinds.values() for field in one.constraint.bounds()}
    path = "hidden_1/kernel"
    shown = {
        "norm": {f"bound/max_value/{path}"},
        "sparsity": {f"bound/sparsity/{path}"},
        "penalty": {f"penalty/{path}", f"penalty/{path}/ridge"},
    }
    assert tags == set().union(*shown.values(), {f"bound/{field}/{path}" for field in ("n", "m")})
    expected = {name: ["norm"] for name in ("maxnorm", "nonneg")} | {name: ["sparsity"] for name in ("topk", "nm")}
    expected |= {"l1topk": ["norm", "sparsity"], "softthreshold": ["penalty"], "elasticnet": ["penalty"]}
    for name, measures in expected.items():
        charts = charts_of(kinds[name])
        assert list(charts) == [f"{measure}: {path}" for measure in measures]
        for measure in measures:
            patterns = charts[f"{measure}: {path}"]
            assert {tag for tag in tags if any(re.search(pattern, tag) for pattern in patterns)} == shown[measure]


def test_card_and_hyperparameters(tmp_path):
    written(tmp_path).close()
    (card,) = values_of(tmp_path, "run")
    assert card.metadata.plugin_data.plugin_name == "text"
    assert tensor_util.make_ndarray(card.tensor).item() == b"# a card"
    (start,) = values_of(tmp_path, "_hparams_/session_start_info")
    content = plugin_data_pb2.HParamsPluginData.FromString(start.metadata.plugin_data.content)
    hparams = content.session_start_info.hparams
    assert hparams["max_value"].number_value == 2.0
    assert hparams["overwrite"].bool_value is False
    assert len(values_of(tmp_path, "_hparams_/session_end_info")) == 1


def test_settings_as_a_dashboard_takes_them():
    settings = {"a": None, "b": [300, 100], "c": (), "d": True, "e": 0.5, "f": 0, "g": "x", "h": {"i": 1}}
    assert tensorboard.readable(settings) == {"b": "300,100", "d": True, "e": 0.5, "f": 0, "g": "x", "h": "{'i': 1}"}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("share", ["one", "all"])
def test_a_histogram_of_weights_that_are_not_finite_does_not_end_the_run(tmp_path, bad, share):
    broken = target("none", "hidden_1")
    weights = broken.variables[0].numpy()
    weights[(0, 0) if share == "one" else ...] = bad
    broken.variables[0].assign(weights)
    writer = tensorboard.Summaries(tmp_path, [broken, target("none", "fine")])
    writer.histograms(3)
    writer.close()
    (value,) = values_of(tmp_path, "weights/fine/kernel")
    buckets = tensor_util.make_ndarray(value.tensor)
    assert buckets[:, 2].sum() == 12
    for value in values_of(tmp_path, "weights/hidden_1/kernel"):
        buckets = tensor_util.make_ndarray(value.tensor)
        assert np.isfinite(buckets).all()
        assert buckets[:, 2].sum() == (11 if share == "one" else 0)


def test_a_histogram_counts_every_weight(tmp_path):
    written(tmp_path).close()
    (value,) = values_of(tmp_path, "weights/conv.1/kernel")
    assert value.metadata.plugin_data.plugin_name == "histograms"
    assert tensor_util.make_ndarray(value.tensor)[:, 2].sum() == 10


def test_values_can_be_read_while_the_run_goes_on(tmp_path):
    writer = written(tmp_path)
    assert tensorboard_data.scalars(tmp_path)["train/loss"][-1][0] == 20
    writer.close()
    writer.close()


@pytest.mark.parametrize(
    "values",
    [np.random.default_rng(0).standard_normal(1000), np.full(5, 0.3), np.zeros(7), np.zeros(0), np.array([1e30, -1.0])],
    ids=["normal", "equal", "zeros", "none", "wide"],
)
def test_scalars_and_histograms_are_tensorboards_own(values):
    values = values.astype(np.float32)
    ours, theirs = tensorboard._histogram("a", values), histogram.histogram_pb("a", values).value[0]
    assert ours.metadata.SerializeToString() == theirs.metadata.SerializeToString()
    # NumPy's edges are of the type of the values.
    np.testing.assert_allclose(
        tensor_util.make_ndarray(ours.tensor), tensor_util.make_ndarray(theirs.tensor), rtol=1e-6, atol=1e-6
    )
    for value in values[:2].tolist():
        ours, theirs = tensorboard._scalar("a", value), scalar.scalar_pb("a", value).value[0]
        assert ours.metadata.SerializeToString() == theirs.metadata.SerializeToString()
        assert tensor_util.make_ndarray(ours.tensor) == tensor_util.make_ndarray(theirs.tensor)
        assert tensor_util.make_ndarray(ours.tensor).shape == ()
