"""How programs begin and refuse."""

from __future__ import annotations

import sys

import pytest

from trainer.runtime import programs


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_is_what_the_program_returns(code, monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "argv", ["program", "of", "the", "process"])
    for argv, words in ((None, ["of", "the", "process"]), (["program", "word"], ["word"])):
        with pytest.raises(SystemExit) as ended:
            programs.start(lambda words: seen.append(list(words)) or code, argv)
        assert ended.value.code == code
        assert seen[-1] == words


def test_a_wrong_command_line_is_one_sentence(capsys):
    parser = programs.Parser(prog="program")
    parser.add_argument("--number", type=int, required=True)
    for words, message in (([], "required: --number"), (["--number=x"], "argument --number: invalid int value")):
        with pytest.raises(ValueError, match=message) as told:
            parser.parse_args(words)
        assert str(told.value).endswith("--help lists all flags.")
    assert capsys.readouterr().err == ""
