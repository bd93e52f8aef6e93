"""The README and the pages below docs/ are true: their code and commands run, what repeats the code equals it."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from docs import generate
from tests.scripts_test import parsed
from tests.support import processes
from tests.support.processes import ROOT

PAGES = sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))
README = "../README.md"
# Pages whose Python compiles several training steps.
LONG = {
    f"tutorials/{name}.md"
    for name in ("keras-fit", "own-loop", "own-model", "prune-a-trained-network", "your-own-data")
}
STEPS = "20"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[list[str]]:
    """The command lines of a page, each split into words."""
    lines = [line for block in blocks(page, "shell") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def training(page: str) -> list[list[str]]:
    """The flags of a page's training runs, in order."""
    return [words[1:] for words in commands(page) if words[0] == "scripts/train.sh"]


WITH_PYTHON = [page for page in (*PAGES, README) if blocks(page, "python")]
WITH_TRAINING = [page for page in PAGES if training(page)]
# Rules files that a page tells its reader to write: each `toml` block, under the name that its commands use.
WRITTEN = {"tutorials/sparsity-ramp.md": "ramp.toml"}
# Pages whose first block of Python makes the files that their commands read.
MAKES_FILES = {"tutorials/prune-a-trained-network.md", "tutorials/your-own-data.md"}


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> pathlib.Path:
    """An empty folder that has the project's scripts in it, as a reader's clone does."""
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_files(page: str, folder: pathlib.Path) -> None:
    if page in WRITTEN:
        (folder / WRITTEN[page]).write_text(blocks(page, "toml")[0])
    if page in MAKES_FILES:
        exec(compile(blocks(page, "python")[0], f"{page}, block 1", "exec"), {"__name__": "docs"})


def test_there_is_something_to_look_at():
    assert len(PAGES) > 20
    assert len(WITH_PYTHON) > 8
    assert sum(len(training(page)) for page in PAGES) > 20


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in LONG else []) for page in WITH_PYTHON]
)
def test_python_runs(page, workplace):
    names: dict[str, object] = {"__name__": "docs"}
    for number, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", WITH_TRAINING)
def test_every_command_is_taken(page, workplace):
    write_files(page, workplace)
    for flags in training(page):
        parsed(flags)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_TRAINING)
def test_every_command_runs(page, workplace):
    write_files(page, workplace)
    for flags in training(page):
        short = [flag for flag in flags if not flag.startswith("--epochs=")]
        # Not by the server, whose time limit a transformer passes where the machine is busy.
        processes.succeed(*short, *length_of(flags), cwd=workplace)


def length_of(flags: list[str]) -> list[str]:
    """Flags that make a run short, whatever a preset says about its length."""
    return (
        ["--epochs=1"]
        if any("presets" in flag and flag.endswith(".flags") for flag in flags)
        else [f"--train_steps={STEPS}"]
    )


@pytest.mark.parametrize("page", [*PAGES, README])
def test_other_commands_name_what_exists(page):
    for words in commands(page):
        if "-m" in words and words[0].endswith("python"):
            assert importlib.util.find_spec(words[words.index("-m") + 1]) is not None, words
        else:
            assert words[0] in ("scripts/train.sh", "scripts/test.sh", ".venv/bin/tensorboard", ".venv/bin/pip"), words


@pytest.mark.parametrize("page", PAGES)
def test_rules_are_taken(page, tmp_path):
    for number, block in enumerate(blocks(page, "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        parsed([f"--rules={file}"])


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    """What `python -m docs.generate` would write."""
    return generate.pages()


@pytest.mark.parametrize("page", ["reference/flags.md", "reference/constraints.md", "reference/python.md", "design.md"])
def test_a_page_says_what_the_code_says(written, page):
    assert (ROOT / "docs" / page).read_text() == written[page], "run python -m docs.generate"


def test_the_page_of_flags_has_every_flag(written):
    assert written["reference/flags.md"].count("| `--") > 60
    assert generate.OTHER not in written["reference/flags.md"], "give the new flag a place in docs/generate.py"


def test_docstrings_become_markdown():
    text = generate.markdown(
        "Says _x_ < 1.\n\nMore.\n\nArgs:\n  one: first\n    and on.\n  two: second.\n\nReturns:\n  a\n  b."
    )
    expected = [
        r"Says \_x\_ < 1.",
        "More.",
        "**Args**",
        "- `one`: first and on.\n- `two`: second.",
        "**Returns**",
        "a b.\n",
    ]
    assert text.split("\n\n") == expected


def test_links_lead_somewhere():
    for page in (*PAGES, README):
        folder = (ROOT / "docs" / page).parent
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "docs" / page).read_text()):
            assert (folder / target).exists(), f"{page}: {target}"


def test_the_figures_of_the_readme_are_those_of_the_pages():
    section = (ROOT / "README.md").read_text().split("## Five figures")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("|")][2:]
    pages = [(ROOT / "docs" / page).read_text() for page in ("benchmarks.md", "how-to-choose.md")]
    known = set(re.findall(r"\d+(?:\.\d+)?", " ".join(pages)))
    figures = {figure for row in rows for figure in re.findall(r"\d+\.\d+|\d{3,}", " ".join(row))}
    assert len(figures) > 5
    assert figures <= known


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("myst_parser", reason="the extra `docs` is not installed: pip install -e '.[docs]'")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, env=processes.environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "site" / "tutorials" / "max-norm.html").is_file()


@pytest.mark.slow
def test_the_notebook_executes(tmp_path):
    """In a kernel of its own, as a reader's notebook server runs it."""
    notebook = nbformat.read(ROOT / "docs/tutorials/first-steps.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    text = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "holds" in text
    # A notebook shows every character that is printed, so no line may rewrite itself.
    assert "\r" not in text
    assert not list(tmp_path.iterdir())
