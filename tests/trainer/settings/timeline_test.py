"""Points and spans of a run."""

import pytest

from trainer.settings.timeline import Timeline, parse

TIMELINE = Timeline(total_steps=900, steps_per_epoch=45)


@pytest.mark.parametrize(
    ("text", "step"),
    [("0", 0), ("500", 500), (7, 7), ("10%", 90), ("100%", 900), ("0.1%", 1), ("3ep", 135), ("0.5ep", 23), (" 5 ", 5)],
)
def test_a_point_is_a_step_a_share_or_epochs(text, step):
    assert TIMELINE.step(text, "--end") == step


@pytest.mark.parametrize("text", ["", "abc", "-1", "1e3", "nan", "inf", "10 %%", "3 epochs", "1.5", "101%", "ep", "%"])
def test_anything_else_is_refused_by_name(text):
    with pytest.raises(ValueError, match=r"--end=.*(10%|100%)"):
        parse(text, "--end")


@pytest.mark.parametrize("text", ["0", "0%", "0ep"])
def test_an_interval_comes_round(text):
    with pytest.raises(ValueError, match="never comes round"):
        TIMELINE.interval(text, "--eval_every")


def test_an_interval_is_at_least_one_step():
    assert TIMELINE.interval("0.01%", "--eval_every") == 1
