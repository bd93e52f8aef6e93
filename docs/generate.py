"""Writes the pages that only repeat what the code says: `python -m docs.generate`.

The flags come from their definitions, the constraints and the Python API from docstrings, the table of
imports from the source. A test compares the committed pages with what this script would write.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import pathlib
import re
import sys
from collections.abc import Iterable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PACKAGES = ("constraints", "models", "trainer", "scripts")
NOTE = "<!-- Written by `python -m docs.generate`. Change the docstring or the flag, not this page. -->\n"

# Where a flag stands in the page. A name that the program lacks is ignored; a flag without a place comes last.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Network": (
        *("model", "hidden_units", "filters", "kernel_sizes", "width_multiplier", "depth", "width", "num_heads"),
        *("patch_size", "embedding_dim", "dropout", "init_from"),
    ),
    "Data": (
        *("dataset", "data_dir", "train_split", "validation_split", "eval_split", "test_split"),
        *("input_shape", "num_classes", "num_examples", "label", "text", "weight", "drop", "image_size"),
        *("skip_damaged", "augment", "vocabulary_size", "text_length"),
    ),
    "Task": ("task", "loss", "metrics", "class_weight", "label_smoothing"),
    "The rule": (
        *("constraint", "variables", "layer_type", "group", "with_bias", "sparsity_distribution"),
        *("rule_begin", "rule_end", "project_every", "relaxation", "optimizer_state", "mask_from", "rules"),
    ),
    "Values of the constraint": (
        *("max_value", "min_value", "total", "sparsity", "n", "m", "block", "rank", "penalty", "ridge"),
    ),
    "Schedule of the value": (
        *("schedule", "initial_value", "schedule_begin", "schedule_end", "power", "boundaries", "values"),
    ),
    "Optimizer": (
        *("optimizer", "learning_rate", "learning_rate_schedule", "final_learning_rate", "warmup", "momentum"),
        *("weight_decay", "clip_norm", "l1", "l2"),
    ),
    "Length and machine": (
        *("batch_size", "epochs", "train_steps", "steps_per_loop", "num_replicas", "seed", "deterministic", "jit"),
    ),
    "When something goes wrong": ("on_nonfinite", "max_nonfinite_steps", "max_rollbacks", "max_spike"),
    "Run directory and reports": (
        *("run_dir", "resume", "overwrite", "dry_run", "summary_every", "histogram_every", "eval_every"),
        *("checkpoint_every", "save_model", "early_stopping", "verbosity"),
    ),
    "Exported files": ("export", "export_with", "target"),
}
OTHER = "Other flags"


def flags_page() -> str:
    """The page of the command line."""
    from absl import flags

    from trainer.settings import flags as cli

    values = flags.FlagValues()
    cli.define(values)
    # An old name that still works is filed under another module.
    own = {flag.name: flag for flag in values.flags_by_module_dict()[cli.__name__]}
    listed = {name for names in SECTIONS.values() for name in names}
    sections = {**SECTIONS, OTHER: tuple(sorted(own.keys() - listed))}
    text = [
        NOTE,
        "# Command line\n",
        "```\nscripts/train.sh --name=value ...\n```\n",
        "The same program is `python -m trainer.main`, and `constrained-train` where the project is installed. "
        "`--help` prints this list. `--flagfile=FILE` reads flags from a file, one a line. A flag that the chosen "
        "constraint, schedule, network or optimizer does not take is an error that names what takes it.\n",
        "A place in the run is a step (`500`), a share of the run (`10%`) or epochs (`3ep`).\n",
    ]
    for section, names in sections.items():
        rows = [_flag_row(own[name]) for name in names if name in own]
        if rows:
            text += [f"## {section}\n", "| flag | meaning | default |", "|---|---|---|", *rows, ""]
    return "\n".join(text)


def constraints_page() -> str:
    """The page of all sets and penalties, from their docstrings."""
    import constraints

    kinds = sorted(constraints.REGISTRY.items())
    text = [
        NOTE,
        "# Constraints\n",
        "Every set by the name that `--constraint` takes, and its class in `constraints`. In Python: "
        '`from constraints import MaxNorm`, or `constraints.REGISTRY["maxnorm"]`. '
        "What all of them can do is on the page [Python](python.md).\n",
        "[How to choose](../how-to-choose.md) says which one serves which purpose.\n",
    ]
    for title, penalty in (("Sets", False), ("Penalties", True)):
        text.append(f"## {title}\n")
        for name, kind in kinds:
            if kind.proximal is penalty:
                text += [f"### {name}\n", f"`constraints.{kind.__name__}`; {_traits(kind)}.\n"]
                text += [_values(kind), markdown(inspect.getdoc(kind) or "")]
    return "\n".join(text)


def python_page() -> str:
    """The page of the public names, from their docstrings."""
    import constraints
    import trainer
    from constraints import measures, schedules

    text = [NOTE, "# Python\n", "## Constraint\n", "`constraints.Constraint`\n"]
    text += [markdown(inspect.getdoc(constraints.Constraint) or ""), *_methods(constraints.Constraint)]
    text += ["## Intersection\n", "`constraints.Intersection`\n"]
    text += [markdown(inspect.getdoc(constraints.Intersection) or "")]
    text += _methods(constraints.Intersection, beyond=constraints.Constraint)
    text += ["## Schedules\n", "`constraints.schedules`. A schedule is a number that depends on the step.\n"]
    for name in (*schedules.SCHEDULES, "with_warmup"):
        kind = inspect.signature(getattr(schedules, name), eval_str=True).return_annotation
        *heading, _ = _function(f"schedules.{name}", getattr(schedules, name))
        text += [*heading, markdown(inspect.getdoc(kind) or "")]
    text += ["### Ramp\n", markdown(inspect.getdoc(schedules.Ramp) or "")]
    text += _methods(schedules.Schedule)
    text += ["## Measures\n", "`constraints.measures`. All of them return float64.\n"]
    for name, function in vars(measures).items():
        if inspect.isfunction(function) and function.__module__ == measures.__name__ and name[0] != "_":
            text += _function(f"measures.{name}", function)
    public = getattr(trainer, "__all__", ())
    if public:
        text.append("## Trainer\n")
    for name in public:
        thing = getattr(trainer, name)
        if inspect.isclass(thing):
            text += [f"### {name}\n", f"`trainer.{name}`\n", markdown(inspect.getdoc(thing) or "")]
            text += _methods(thing)
        else:
            text += _function(f"trainer.{name}", thing)
    text += ["## Declaring a value\n", *_function("constraints.hyperparameter", constraints.hyperparameter)]
    return "\n".join(text)


def imports_table() -> str:
    """Which folder imports which: a Markdown table, a row for each folder of code."""
    rows: dict[str, tuple[set[str], set[str]]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            room = str(path.parent.relative_to(ROOT))
            ours, theirs = rows.setdefault(room, (set(), set()))
            for name in _imported(path):
                (ours if name.split(".")[0] in (*PACKAGES, "tests") else theirs).add(name)
    text = ["| folder | imports of this project | other libraries |", "|---|---|---|"]
    for room, (ours, theirs) in sorted(rows.items()):
        folders = {_folder(name) for name in ours} - {room}
        libraries = {name.split(".")[0] for name in theirs} - sys.stdlib_module_names
        text.append(f"| `{room}` | {_code(folders)} | {_code(libraries)} |")
    return "\n".join(text)


def files_tables() -> str:
    """What each file of code holds: a Markdown table for each folder, from the first lines of the docstrings."""
    rooms: dict[str, list[str]] = {}
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        if docstring:
            first = " ".join(docstring.split("\n\n")[0].split())
            row = f"| `{path.name}` | {_text(first).replace('|', chr(92) + '|')} |"
            rooms.setdefault(str(path.parent.relative_to(ROOT)), []).append(row)
    tables = (
        "\n".join([f"### {room}\n", "| file | what it holds |", "|---|---|", *rows]) for room, rows in rooms.items()
    )
    return "\n\n".join(tables)


def design_page() -> str:
    """The page of the design, with the tables of imports and of files as they are now."""
    text = (DOCS / "design.md").read_text()
    for name, written in (("imports", imports_table()), ("files", files_tables())):
        begin, end = f"<!-- {name}: begin, written by `python -m docs.generate` -->", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{written}\n\n{end}{rest.partition(end)[2]}"
    return text


def pages() -> dict[str, str]:
    """Every written page: its path below `docs`, and its text."""
    return {
        "reference/flags.md": flags_page(),
        "reference/constraints.md": constraints_page(),
        "reference/python.md": python_page(),
        "design.md": design_page(),
    }


def markdown(docstring: str) -> str:
    """A docstring as Markdown: its sections become headings in bold, their entries lists."""
    blocks, entries = [], False
    for block in re.split(r"\n\s*\n", docstring.strip()):
        lines = block.splitlines()
        section = re.fullmatch(r"(Args|Attributes|Returns|Raises|References|Yields):", lines[0])
        entries = bool(section) or (entries and lines[0].startswith(" "))
        if not entries:
            blocks.append(_text(block) if lines[0][:2] != "- " else "\n".join(map(_text, lines)))
            continue
        body = inspect.cleandoc("\n" + "\n".join(lines[1:] if section else lines))
        title = f"**{section[1]}**\n\n" if section else ""
        if section and section[1] in ("Returns", "Yields"):
            blocks.append(f"{title}{_text(' '.join(body.split()))}")
        else:
            blocks.append(title + "\n".join(_entries(body)))
    return "\n\n".join(blocks) + "\n"


def _entries(body: str) -> list[str]:
    """The entries of a section, each a line: continued lines are indented, in References they follow an open end."""
    joined: list[str] = []
    for line in body.splitlines():
        fresh = not joined or (not line.startswith(" ") and joined[-1].endswith("."))
        if fresh or re.match(r"\*{0,2}\w+: ", line):
            joined.append(line.strip())
        else:
            joined[-1] += f" {line.strip()}"
    items = []
    for entry in joined:
        name = re.match(r"(\*{0,2}\w+): ", entry)
        items.append(f"- `{name[1]}`: {_text(entry[name.end() :])}" if name else f"- {_text(entry)}")
    return items


# What Markdown takes for emphasis, mathematics or a tag; underscores within a word are none of these.
_SPECIAL = re.compile(r"\*(?=\S)|(?<=\S)\*|\$|<(?=[A-Za-z/!?])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def _text(text: str) -> str:
    """Escapes what Markdown would not show as it is, outside code."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece[:1] == "`" else _SPECIAL.sub(r"\\\g<0>", piece) for piece in pieces)


def _flag_row(flag: Any) -> str:
    # One line for each constraint that takes the flag.
    meaning = re.sub(r"(\(default: [^)]*\)) (?=\w)", r"\1<br>", _text(" ".join(flag.help.split())))
    value = flag.default
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else "" if value is None else str(value)
    text = text.lower() if flag.boolean else text
    switch = f"`--{flag.name}`, `--no{flag.name}`" if flag.boolean else f"`--{flag.name}`"
    return f"| {switch} | {meaning} | {text and f'`{text}`'} |"


def _traits(kind: Any) -> str:
    others = set(kind.groupings) - {kind.grouping}
    also = f", also {_code(others)}" if others else ""
    return f"{'convex' if kind.convex else 'not convex'}; groups: `{kind.grouping}`{also}"


def _values(kind: Any) -> str:
    fields = (*kind.hyperparameters(), *kind.options())
    if not fields:
        return ""
    rows = [f"| `{field.name}` | {_field_help(field)} | `{field.default}` |" for field in fields]
    return "\n".join(["| value | meaning | default |", "|---|---|---|", *rows, ""])


def _field_help(field: dataclasses.Field) -> str:
    return _text(field.metadata.get("help") or field.metadata["option"])


def _methods(kind: type, beyond: type | None = None) -> list[str]:
    """The public methods of a class with a docstring, those of its own bases in this project first.

    Args:
      kind: the class.
      beyond: leaves out what this class has.
    """
    own = [base for base in kind.__mro__ if base.__module__.split(".")[0] == kind.__module__.split(".")[0]]
    names = dict.fromkeys(name for base in reversed(own) for name in vars(base))
    text: list[str] = []
    for name in names:
        method = getattr(kind, name)
        public = name == "__call__" or not name.startswith("_")
        if public and inspect.isroutine(method) and inspect.getdoc(method) and not hasattr(beyond, name):
            text += _function(f"{kind.__name__}.{name}", method)
    return text


def _function(name: str, function: Any) -> list[str]:
    """A heading, the signature and the docstring."""
    arguments = ", ".join(
        f"{argument.name}={argument.default!r}" if argument.default is not argument.empty else argument.name
        for argument in _parameters(function)
    )
    return [f"### `{name.rsplit('.', 1)[-1]}`\n", f"`{name}({arguments})`\n", markdown(inspect.getdoc(function) or "")]


def _parameters(function: Any) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(function).parameters.values() if p.name not in ("self", "cls")]


def _imported(path: pathlib.Path) -> Iterable[str]:
    """The dotted names that a file imports, relative ones written out."""
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


def _folder(name: str) -> str:
    """The folder of a dotted name: `trainer.data.builtin.digits` -> `trainer/data/builtin`."""
    parts = name.split(".")
    while len(parts) > 1 and not (ROOT.joinpath(*parts)).is_dir():
        parts.pop()
    return "/".join(parts)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "-"


def main() -> None:
    """Writes the pages that differ."""
    for name, text in pages().items():
        path = DOCS / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"written: docs/{name}")


if __name__ == "__main__":
    main()
