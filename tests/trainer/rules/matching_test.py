"""From rules to the variables they claim, and from places in a run to steps."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import models
from constraints import schedules
from tests.support.rules import rule_of
from trainer.engine.projector import MEASURES
from trainer.reporting import certificate, run_card, tensorboard
from trainer.rules import matching
from trainer.settings.rule import Rule
from trainer.settings.timeline import Timeline

TIMELINE = Timeline(total_steps=200, steps_per_epoch=20)


@pytest.fixture(scope="module")
def mlp() -> keras.Model:
    return models.REGISTRY["mlp"]((4,), 3, hidden_units=(6, 5))


def paths(targets) -> list[str]:
    return [target.label for target in targets]


def matched(model, *settings: Rule):
    return matching.match(settings, model, TIMELINE)


def test_every_kernel_and_nothing_else_unless_told_otherwise(mlp):
    assert paths(matched(mlp, rule_of("maxnorm"))) == ["hidden_1/kernel", "hidden_2/kernel", "output/kernel"]
    recurrent = models.REGISTRY["lstm"]((3, 4), 2, hidden_units=(5,))
    assert paths(matched(recurrent, rule_of("maxnorm"))) == [
        "lstm_1/lstm_cell/kernel",
        "lstm_1/lstm_cell/recurrent_kernel",
        "output/kernel",
    ]
    inputs = keras.Input((3,), dtype="int32")
    text = keras.layers.Flatten()(keras.layers.Embedding(7, 2, name="words")(inputs))
    embedded = keras.Model(inputs, keras.layers.Dense(2, name="head")(keras.layers.LayerNormalization()(text)))
    targets = matched(embedded, rule_of("unitnorm"))
    assert paths(targets) == ["words/embeddings", "head/kernel"]
    assert [(target.constraint.axis, target.num_groups) for target in targets] == [((1,), 7), ((0,), 2)]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("hidden_1/kernel",), ["hidden_1/kernel"]),
        (("hidden_*/kernel",), ["hidden_1/kernel", "hidden_2/kernel"]),
        (("output/kernel", "hidden_1/kernel"), ["hidden_1/kernel", "output/kernel"]),
        (("bias",), ["hidden_1/bias", "hidden_2/bias", "output/bias"]),
        (("hidden_2/*",), ["hidden_2/kernel", "hidden_2/bias"]),
        (("hidden_[!1]/kernel",), ["hidden_2/kernel"]),
        (("hidden_1/kernel", "hidden_*"), ["hidden_1/kernel", "hidden_1/bias", "hidden_2/kernel", "hidden_2/bias"]),
        (
            ("*",),
            ["hidden_1/kernel", "hidden_1/bias", "hidden_2/kernel", "hidden_2/bias", "output/kernel", "output/bias"],
        ),
    ],
)
def test_patterns_choose_in_the_models_order(mlp, patterns, expected):
    assert paths(matched(mlp, rule_of("maxnorm", {}, patterns))) == expected


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("a/b/kernel", "kernel", True),
        ("a/b/kernel", "b/kernel", True),
        ("a/b/kernel", "a/b/kernel", True),
        ("a/bb/kernel", "b/kernel", False),
        ("a/b/recurrent_kernel", "kernel", False),
        ("a/b/kernel", "Kernel", False),
        ("kernel", "kernel", True),
    ],
)
def test_a_pattern_fits_a_path_or_its_last_parts(path, pattern, fits):
    assert matching.matches(path, pattern) is fits


def test_a_target_holds_what_its_rule_says(mlp):
    first = rule_of("topk", {"sparsity": 0.25}, ("hidden_1/kernel",), project_every=3, relaxation=0.5)
    second = rule_of("maxnorm", {"max_value": 1.5}, ("output/kernel",))
    sparse, ball = matched(mlp, first, second)
    assert (sparse.rule_index, sparse.name, sparse.project_every, sparse.relaxation) == (1, "topk", 3, 0.5)
    assert (ball.rule_index, ball.name, ball.project_every, ball.relaxation) == (2, "maxnorm", 1, 1.0)
    assert sparse.constraint.bounds() == {"sparsity": 0.25}
    assert ball.constraint.bounds() == {"max_value": 1.5}
    assert (sparse.constraint.axis, sparse.num_groups, sparse.grouping) == ((0, 1), 1, "tensor")
    assert (ball.constraint.axis, ball.num_groups, ball.grouping) == ((0,), 3, "unit")


def test_targets_stand_in_the_models_order_whatever_the_order_of_the_rules(mlp):
    first, second = rule_of("maxnorm", {}, ("output/kernel",)), rule_of("nonneg", {}, ("hidden_*/kernel",))
    assert paths(matched(mlp, first, second)) == ["hidden_1/kernel", "hidden_2/kernel", "output/kernel"]


def test_a_pattern_that_matches_nothing(mlp):
    with pytest.raises(ValueError, match=r"--variables=nowhere\* matches no trainable variable") as caught:
        matched(mlp, rule_of("maxnorm", {}, ("hidden_1/kernel", "nowhere*")))
    for path in ("hidden_1/kernel", "hidden_1/bias", "output/bias"):
        assert path in str(caught.value)


def test_frozen_variables_are_not_trained_and_not_matched():
    model = models.REGISTRY["mlp"]((4,), 3, hidden_units=(6,))
    model.get_layer("hidden_1").trainable = False
    assert paths(matched(model, rule_of("maxnorm"))) == ["output/kernel"]
    with pytest.raises(ValueError, match="matches no trainable variable"):
        matched(model, rule_of("maxnorm", {}, ("hidden_1/kernel",)))


def test_a_variable_that_two_rules_claim(mlp):
    first, second = rule_of("maxnorm", {}, ("hidden_*",)), rule_of("nonneg", {}, ("hidden_2/kernel",))
    with pytest.raises(ValueError, match="`hidden_2/kernel`") as caught:
        matched(mlp, first, second)
    for words in ("rule 1 (maxnorm)", "rule 2 (nonneg)", "`variables`"):
        assert words in str(caught.value)


@pytest.mark.parametrize("value", [-1.0, 0.0, float("nan"), float("inf")])
def test_a_value_out_of_range(mlp, value):
    with pytest.raises(ValueError, match=f"^--max_value={value:g} "):
        matched(mlp, rule_of("maxnorm", {"max_value": value}))


def test_of_several_rules_the_message_names_the_one(mlp):
    good = rule_of("maxnorm", {}, ("hidden_1/kernel",))
    with pytest.raises(ValueError, match=r"^rule 2 \(topk\): .*nowhere"):
        matched(mlp, good, rule_of("topk", {}, ("nowhere",)))


def schedule(name: str, **options) -> schedules.Schedule:
    return schedules.from_dict({"schedule": name, **options}).resolve(TIMELINE)


def test_a_schedule_spans_the_run_unless_told_otherwise():
    assert schedule("linear", initial=2.0, final=1.0) == schedules.linear(2.0, 1.0, begin=0, end=200)
    assert schedule("cosine", initial=2.0, final=1.0, end="80%") == schedules.cosine(2.0, 1.0, begin=0, end=160)
    assert schedule("cosine", initial=2.0, final=1.0, begin="3ep") == schedules.cosine(2.0, 1.0, begin=60, end=200)
    made = schedule("polynomial", initial=2.0, final=1.0, begin=5, end="100", power=2.0)
    assert made == schedules.polynomial(2.0, 1.0, begin=5, end=100, power=2.0)
    assert schedule("exponential", initial=2.0, final=1.0).span() == (0, 200)
    assert schedule("constant", value=3.0) == schedules.constant(3.0)
    steps = schedule("piecewise", boundaries=("10%", 50, "3ep"), values=(4.0, 3.0, 2.0, 1.0))
    assert steps == schedules.piecewise((20, 50, 60), (4.0, 3.0, 2.0, 1.0))


def test_a_constraint_with_schedules():
    low = {"schedule": "linear", "initial": -2.0, "final": -1.0, "end": "50%"}
    placed = rule_of("box", {"min_value": low, "max_value": 1.0}).resolve(TIMELINE)
    assert placed.constraint.bounds() == {"max_value": 1.0, "min_value": schedules.linear(-2.0, -1.0, end=100)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"begin": "50%", "end": "10%"}, ["begin=50%", "step 100", "end=10%", "step 20", "200 steps"]),
        ({"begin": 20, "end": "1ep"}, ["begin=20", "end=1ep"]),
        ({"begin": "100%"}, ["begin=100%", "end=100%"]),
        ({"end": 201}, ["end=201", "200 steps", "train longer"]),
        ({"end": "11ep"}, ["end=11ep", "step 220", "200 steps"]),
        ({"end": "soon"}, ["end=soon"]),
        ({"begin": "-5"}, ["begin=-5"]),
    ],
)
def test_a_span_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=r"begin|end") as caught:
        schedule("linear", initial=2.0, final=1.0, **options)
    for word in words:
        assert word in str(caught.value)


def test_layers_can_be_chosen_by_their_class():
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(3, 3, name="conv")(inputs)
    x = keras.layers.Flatten()(keras.layers.DepthwiseConv2D(3, name="depthwise")(x))
    model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(x))
    assert paths(matched(model, rule_of("maxnorm", layer_type=("Dense",)))) == ["dense/kernel"]
    assert paths(matched(model, rule_of("maxnorm", layer_type=("Conv2D", "Dense")))) == [
        "conv/kernel",
        "dense/kernel",
    ]
    # A class stands for those that derive from it.
    assert paths(matched(model, rule_of("maxnorm", layer_type=("BaseDepthwiseConv",)))) == ["depthwise/kernel"]
    assert paths(matched(model, rule_of("maxnorm", {}, ("bias",), layer_type=("Dense",)))) == ["dense/bias"]
    with pytest.raises(ValueError, match=r"--layer_type=LSTM matches no layer .*they are Conv2D, Dense, Depthwise"):
        matched(model, rule_of("maxnorm", layer_type=("LSTM",)))
    with pytest.raises(ValueError, match=r"--variables=conv/kernel matches no trainable variable"):
        matched(model, rule_of("maxnorm", {}, ("conv/kernel",), layer_type=("Dense",)))


def test_rules_can_take_turns_on_a_variable(mlp):
    first = rule_of("topk", {}, ("hidden_1/kernel",), end="50%")
    second = rule_of("maxnorm", {}, ("hidden_1/kernel",), begin=100)
    targets = matched(mlp, second, first)
    assert [(target.name, target.begin, target.end) for target in targets] == [("topk", 0, 100), ("maxnorm", 100, None)]
    with pytest.raises(ValueError, match="let one end before the other begins"):
        matched(mlp, first, rule_of("maxnorm", {}, ("hidden_1/kernel",), begin=99))
    with pytest.raises(ValueError, match=r"is claimed by rule 1 \(topk\) and rule 2 \(nonneg\)"):
        matched(mlp, first, rule_of("nonneg", {}, ("hidden_1/kernel",)))


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [("60%", "40%", "is not before"), (0, 300, "past the run's 200 steps"), (None, "0", "is not before")],
)
def test_a_window_that_is_none(mlp, begin, end, words):
    with pytest.raises(ValueError, match=words):
        matched(mlp, rule_of("maxnorm", begin=begin, end=end))


def test_a_window_to_the_end_includes_the_last_step(mlp):
    (target, *_) = matched(mlp, rule_of("maxnorm", begin="10%", end="100%"))
    assert (target.begin, target.end) == (20, None)
    assert target.holds(200)


def test_a_sparsity_is_spread_over_the_variables_of_its_rule(mlp):
    even = matched(mlp, rule_of("topk", {"sparsity": 0.5}, sparsity_distribution="uniform"))
    assert [target.constraint.sparsity for target in even] == [0.5, 0.5, 0.5]
    uneven = matched(mlp, rule_of("topk", {"sparsity": 0.5}, sparsity_distribution="erk"))
    sizes = [target.size for target in uneven]
    shares = [target.constraint.sparsity for target in uneven]
    assert len(set(shares)) == 3
    assert sum(size * share for size, share in zip(sizes, shares, strict=True)) == pytest.approx(0.5 * sum(sizes))


def twins() -> keras.Model:
    """Two networks of one builder, whose variables have equal paths."""

    def build() -> keras.Model:
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")], name="net")

    inputs = keras.Input((4,))
    return keras.Model(inputs, [keras.Model(inputs, build()(inputs), name=name)(inputs) for name in ("a", "b")])


def test_variables_of_equal_paths_are_told_apart_and_numbered():
    model = twins()
    assert len({variable.path for variable in model.trainable_variables}) == 2
    first, second = matching.match([rule_of("maxnorm", with_bias=True)], model, TIMELINE)
    assert (first.label, second.label) == ("dense/kernel", "dense/kernel#2")
    assert second.names == ("dense/kernel#2", "dense/bias#2")
    assert first.variables[0] is not second.variables[0]
    # The order is the model's.
    assert [id(one.variables[0]) for one in (first, second)] == [id(model.trainable_variables[i]) for i in (0, 2)]
    (found,) = matching.match([rule_of("maxnorm", {}, ("dense/kernel#2",))], model, TIMELINE)
    assert found.variables[0] is second.variables[0]
    with pytest.raises(ValueError, match="`dense/kernel#2` is claimed by rule 1"):
        matching.match([rule_of("maxnorm"), rule_of("nonneg", {}, ("dense/kernel#2",))], model, TIMELINE)


def test_every_table_and_tag_tells_variables_of_equal_paths_apart(tmp_path):
    model = twins()
    found = matching.match([rule_of("maxnorm")], model, TIMELINE)
    expected = ["dense/kernel", "dense/kernel#2"]
    assert [entry["variables"] for entry in certificate.certify(found, 0)["variables"]] == [[name] for name in expected]
    tags = tensorboard.Summaries(tmp_path, found).measures(1, MEASURES, np.ones((2, 8)))
    assert [tag for tag in tags if tag.startswith("distance/")] == [f"distance/{name}" for name in expected]
    charts = tensorboard.layout(found).category[0].chart
    assert [chart.title for chart in charts] == [f"norm: {name}" for name in expected]
    lines = [line.split() for line in run_card.variable_table(model, found[1:], 0).splitlines()[2:]]
    # Only the second is under the rule.
    assert [(line[0], line[2] == "maxnorm") for line in lines if "kernel" in line[0]] == list(
        zip(expected, (False, True), strict=True)
    )
    assert expected[1] in run_card.rules_table(found[1:], TIMELINE.total_steps)


def test_a_model_of_embeddings_only_is_taken_by_default():
    inputs = keras.Input((3,), dtype="int32")
    model = keras.Model(inputs, keras.layers.Embedding(10, 4, name="tokens")(inputs))
    (found,) = matching.match([rule_of("unitnorm")], model, TIMELINE)
    assert (found.label, found.num_groups) == ("tokens/embeddings", 10)


def test_a_model_without_kernels_is_told_what_to_do_and_no_flag_that_was_not_given():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.LayerNormalization(name="norm")(inputs))
    with pytest.raises(
        ValueError, match=r"takes kernels and embeddings .* name some by .* norm/gamma, norm/beta"
    ) as error:
        matching.match([rule_of("unitnorm")], model, TIMELINE)
    assert "--" not in str(error.value)
