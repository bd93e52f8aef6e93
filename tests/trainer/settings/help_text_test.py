"""What --help prints, whatever the width."""

from __future__ import annotations

from trainer.settings import help_text

FLAGS = {"alpha": ("Words " * 40, 3), "beta": ("Whether.", True), "gamma": ("A text (default: x).", None)}


def test_a_page(monkeypatch):
    for columns in ("20", "80", "500"):
        monkeypatch.setenv("COLUMNS", columns)
        text = help_text.page("--help", "", {"first": ["alpha"], "second": ["beta", "gamma"]}, FLAGS)
        assert text.index("first:") < text.index("--alpha") < text.index("second:") < text.index("--[no]beta")
        assert "(default: 3)" in text
        assert "Whether. (default: true)" in text
        assert text.count("(default: x)") == 1


def test_examples_call_the_program_as_it_was_called(monkeypatch):
    for called, program in (("/venv/bin/constrained-train", "constrained-train"), ("main.py", "scripts/train.sh")):
        monkeypatch.setattr("sys.argv", [called])
        assert f"\n  {program} --constraint" in help_text.page("--help", "", {"first": ["alpha"]}, FLAGS)


def test_one_group():
    text = help_text.page("--help", "second", {"first": ["alpha"], "second": ["beta"]}, FLAGS)
    assert text.startswith("second:\n  --[no]beta")
    assert "alpha" not in text
