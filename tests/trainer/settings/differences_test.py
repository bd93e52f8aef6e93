"""What a refusal says of the settings of two runs."""

from __future__ import annotations

from tests.support.rules import rule_of
from trainer.settings import differences
from trainer.settings.config import Config


def test_flags_that_differ_are_told_and_no_other():
    earlier = Config(rules=(rule_of("maxnorm", {"max_value": 2.0}),), batch_size=64).identity()
    now = Config(rules=(rule_of("maxnorm", {"max_value": 1.0}),), batch_size=32)
    lines = differences.described(earlier, now.identity()).splitlines()
    assert lines == ["--batch_size: 64 there, 32 here", "  --max_value: 2.0 there, 1.0 here"]


def test_many_differences_are_counted():
    earlier = Config(rules=(rule_of("nm", {"n": 2, "m": 4}),)).identity()
    earlier |= {f"flag_{number}": number for number in range(20)}
    lines = differences.described(earlier, Config().identity()).splitlines()
    assert len(lines) == differences.MOST + 1
    assert lines[-1].strip() == "and 13 more"


def test_settings_that_cannot_be_read():
    assert differences.described({"rules": 3}, Config().identity()) == "its settings are not readable by this version"
