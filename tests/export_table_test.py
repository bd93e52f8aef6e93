"""The table of exports says what its command found."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from scripts import export_table
from tests.support import processes
from trainer.export.formats import FORMATS

HELD = {"format": "tflite", "difference": 1.2e-7, "bytes": 12345, "rules": "hold", "sparse": ["a/kernel"]}


def test_a_cell_says_rule_difference_and_bytes():
    assert export_table.cell(HELD) == "holds, sparse<br>1e-07<br>12,345"
    assert export_table.cell({**HELD, "format": "sparse"}) == "holds<br>1e-07<br>12,345"
    rounded = {
        **HELD,
        "sparse": [],
        "rules": "hold but for rounding to the file's type: off by 1.1e-03; zeros are kept",
    }
    assert export_table.cell(rounded) == "off by 1.1e-03<br>1e-07<br>12,345"
    assert export_table.cell({"error": "no"}) == "refused"


def test_a_refusal_is_told_below_its_table():
    found = {name: {**HELD, "format": name} for name in FORMATS} | {"onnx": {"error": "no such operation"}}
    text = export_table.table({("mlp", "topk"): found, ("mlp", "nm"): found, ("lstm", "nm"): found})
    assert text.count("| `topk` |") == 1
    assert text.count("- `nm`, `onnx`: no such operation") == 2
    assert text.index("## mlp") < text.index("`topk`, `onnx`") < text.index("## lstm")
    page = f"before\n{export_table.BEGIN}\nold\n{export_table.END}\nafter\n"
    assert export_table.written(page, text) == f"before\n{export_table.BEGIN}\n\n{text}\n\n{export_table.END}\nafter\n"


@pytest.mark.parametrize("flag", ["--networks=mlp,vgg", "--rules=topk,top"])
def test_an_unknown_name_is_refused(flag, capsys):
    with pytest.raises(SystemExit):
        export_table.main([flag])
    assert "is unknown; choose from" in capsys.readouterr().err


@pytest.mark.slow
def test_a_part_of_the_table_by_its_command(tmp_path):
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "scripts.export_table", "--networks=mlp,textcnn", "--rules=block,maxnorm"],
            cwd=tmp_path,
            env=processes.environment(),
            capture_output=True,
            text=True,
            check=True,
        )

    first = run()
    assert "4/4 textcnn under maxnorm: 8 of 8 formats hold" in first.stderr
    assert "s each, 0:00 left" in first.stderr
    kept = {file.stem: json.loads(file.read_text()) for file in (tmp_path / export_table.RESULTS).iterdir()}
    assert len(kept) == 4
    for found in kept.values():
        assert set(found) == set(FORMATS)
        for name, one in found.items():
            assert one["rules"].startswith("hold")
            assert (one["difference"] <= 1e-6) or not FORMATS[name].exact
        assert found["sparse"]["libraries"] == []
    again = run()
    assert again.stderr == ""
    assert again.stdout == first.stdout
