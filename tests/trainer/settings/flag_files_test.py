"""Flag files: what absl reads, and sentences for the rest."""

from __future__ import annotations

import os

import pytest
from absl import flags

from trainer.settings import flag_files


def refused(*arguments: str) -> str:
    with pytest.raises(ValueError, match=r"^--flagfile.*\.$") as caught:
        flag_files.expand(arguments)
    return str(caught.value)


def test_it_reads_what_absl_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").write_text("--c=3\n")
    (tmp_path / "outer").write_text("# a comment\n\n--a=1\n// another\n--flagfile=inner\n  --b=2 3  \n")
    for arguments in (
        ["--x=1", "--flagfile=outer", "--y=2"],
        ["--flagfile", "outer", "--y=2"],
        ["-flagfile=outer", "--flagfile=inner"],
        ["--x=1", "--", "--flagfile=nowhere"],
        ["--flagfile=inner", "--flagfile=inner"],
    ):
        assert flag_files.expand(arguments) == flags.FlagValues().read_flags_from_files(arguments)


def test_what_is_no_flag_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"--a=\0\n")
    (tmp_path / "latin").write_bytes(b"--a=\xe9\n")
    (tmp_path / "words").write_text("--a=1\nmaxnorm\n")
    (tmp_path / "nested").write_text(f"--flagfile={tmp_path}/pipe\n")
    assert refused("--flagfile") == "--flagfile is empty; give the path of a file with a flag a line."
    assert "is empty" in refused("--flagfile=")
    assert "no file of at most" in refused(f"--flagfile={tmp_path}/pipe")
    assert "no file of at most" in refused(f"--flagfile={tmp_path}/nested")
    assert "no file of at most" in refused(f"--flagfile={tmp_path}")
    assert "No such file" in refused(f"--flagfile={tmp_path}/nowhere")
    assert "is not UTF-8 text" in refused(f"--flagfile={tmp_path}/binary")
    assert "byte 0xe9 at 4" in refused(f"--flagfile={tmp_path}/latin")
    assert "line 2: 'maxnorm' is not a flag" in refused(f"--flagfile={tmp_path}/words")


def test_it_ends(tmp_path):
    (tmp_path / "self").write_text(f"--flagfile={tmp_path}/other")
    (tmp_path / "other").write_text(f"--flagfile={tmp_path}/./self")
    assert "includes itself" in refused(f"--flagfile={tmp_path}/self")
    for number in range(40):
        (tmp_path / str(number)).write_text(f"--flagfile={tmp_path}/{number + 1}\n" * 2)
    (tmp_path / "40").write_text("--a=1")
    assert "is one of more than 100 files" in refused(f"--flagfile={tmp_path}/0")
