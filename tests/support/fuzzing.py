"""Draws command lines and rules files from a seed: right ones, wrong ones, and those in between."""

from __future__ import annotations

import dataclasses
import pathlib
import random
import typing

import constraints
import models
from constraints import schedules
from constraints.base import GROUPINGS
from trainer.settings import flags as cli
from trainer.settings.config import Config

# A network of a few weights, so that what is right costs little; what is drawn comes behind and wins.
SMALL = ("--dataset=synthetic", "--num_examples=40", "--input_shape=6", "--num_classes=3", "--train_steps=8")
WORDS = (
    "",
    " ",
    "x",
    "nan",
    "inf",
    "-inf",
    "None",
    "true",
    "é",
    "٣",
    "'",
    '"',
    "a\nb",
    "a\0b",
    "\udcff",
    "%s",
    "../..",
    "~",
    "--",
)
NUMBERS = ("0", "1", "2", "3", "0.5", "-1", "1e-3", "90%", "2,5", "1e3", "1e999", "0x10", "1_0", "+1", "00", "1e-320")
PLACES = ("0", "1", "5", "10%", "100%", "150%", "1ep", "0ep", "99ep", "-1", "1.5", "10 %", "9" * 13)
LISTS = ("1", "1,2", "4,4", "1,,2", ",", "0,1", "-1", "a,b", "[1]", "1.5", '"1,2"')
PATHS = ("nowhere", "~", "~nobody_here", "/dev/null", "/dev/zero", "/proc/self/mem", "gs://b/x", "n" * 300, ".", "")
PATTERNS = ("*", "*/kernel", "hidden_1/*", "nowhere", "[", "*,*", "output/kernel", "a" * 3000, "!*", "?")
# Sizes are drawn small, because one that fits its flag may not fit the machine.
SIZES = frozenset({"depth", "filters", "hidden_units", "input_shape", "num_classes", "num_examples", "num_heads"})


class Generator:
    """Draws from one seed.

    Args:
      seed: of everything that is drawn.
      folder: of files that lines may name.
    """

    def __init__(self, seed: int, folder: pathlib.Path):
        self._random = random.Random(seed)
        self._folder = folder
        self._hints = typing.get_type_hints(Config)
        self._fields = {field.name: field for field in dataclasses.fields(Config) if "help" in field.metadata}

    def line(self) -> list[str]:
        """A command line."""
        draw = self._random
        names = sorted({*cli._own_names()} - {"dry_run", "data_dir"})
        # Flags that mean something together are drawn together more often than chance would.
        flags = [f"--constraint={self._sets()}"] if draw.random() < 0.7 else []
        flags += [f"--{name}={self._value(name)}" for name in draw.choices(names, k=draw.randint(0, 4))]
        if draw.random() < 0.2:
            flags.append(
                draw.choice(["--", "-", "word", "--no", "--nodry_run=1", "--seed", "--flagfile", "---x", "--=1"])
            )
        if draw.random() < 0.15:
            flags.append(f"--{draw.choice(['flagfile', 'rules'])}={self._file()}")
        draw.shuffle(flags)
        return flags

    def rules(self) -> bytes:
        """A rules file, right or damaged."""
        draw = self._random
        tables = []
        for _ in range(draw.randint(0, 3)):
            if draw.random() < 0.5:
                tables.append(self._right_rule())
                continue
            rows = [f"constraint = {self._toml(self._sets())}"] if draw.random() < 0.9 else []
            for key in draw.choices(["variables", "group", "begin", "end", "rate", *cli._hyperparameters()], k=3):
                if not any(row.startswith(f"{key} =") for row in rows):
                    rows.append(f"{key} = {self._literal(key)}")
            tables.append("\n".join([draw.choice(["[[rule]]"] * 9 + ["[rule]"]), *rows]))
        made = "\n".join(tables).encode(errors="surrogatepass")
        if draw.random() < 0.3 and made:
            place = draw.randrange(len(made))
            made = (
                made[:place]
                + bytes(draw.choices(range(256), k=draw.randint(0, 3)))
                + made[place + draw.randint(0, 5) :]
            )
        return made if draw.random() < 0.95 else made.decode(errors="replace").encode("utf-16")

    def _right_rule(self) -> str:
        """A rule whose keys its set takes, which may still not fit the network."""
        draw = self._random
        name = draw.choice(list(constraints.REGISTRY))
        rows = ["[[rule]]", f"constraint = '{name}'"]
        for field in constraints.REGISTRY[name].hyperparameters():
            rows.append(f"{field.name} = {draw.choice(['0.5', '1', '0.25', '2.0'])}")
        if draw.random() < 0.5:
            rows.append(f"variables = ['{draw.choice(['*/kernel', 'hidden_1/kernel', 'output/kernel'])}']")
        return "\n".join(rows)

    def _value(self, name: str) -> str:
        draw = self._random
        kind = cli._element_type(self._hints[name]) if name in self._hints else None
        right = {
            "model": [*models.REGISTRY],
            "schedule": [*schedules.SCHEDULES],
            "learning_rate_schedule": [*schedules.SCHEDULES],
            "group": [*GROUPINGS, "0", "0,1", "5"],
            "constraint": [self._sets()],
            "variables": PATTERNS,
            "layer_type": ("Dense", "Dense,Conv2D", "Lambda"),
            "sparsity_distribution": ("erk", "uniform"),
            "optimizer_state": ("keep", "mask", "reset", "tangent"),
            "dataset": ("synthetic", "synthetics", "my.csv", "../digits"),
        }.get(name)
        field = self._fields.get(name)
        if field is not None and "choices" in field.metadata:
            right = field.metadata["choices"]
        if name in ("run_dir", "mask_from", "rules"):
            right = [*PATHS, str(self._folder)]
        if right is None:
            placed = field is not None and (field.metadata.get("interval") or field.metadata.get("point"))
            listed = kind in (list, tuple) or name in (
                "block",
                "boundaries",
                "filters",
                "hidden_units",
                "kernel_sizes",
                "values",
            )
            right = (
                PLACES
                if placed or name in ("schedule_begin", "schedule_end", "rule_begin", "rule_end")
                else LISTS
                if listed
                else NUMBERS
            )
        pool = right if draw.random() < 0.75 else draw.choice([WORDS, NUMBERS, PLACES, LISTS, PATHS, PATTERNS])
        value = draw.choice(list(pool))
        if name in SIZES or name == "width":
            return (
                value
                if len(value) < 4 or not any(part.isdigit() and len(part) > 3 for part in value.split(","))
                else "3"
            )
        return value

    def _sets(self) -> str:
        names = self._random.choices(list(constraints.REGISTRY), k=1 + (self._random.random() < 0.2))
        return ",".join(names) if self._random.random() < 0.9 else self._random.choice(WORDS)

    def _toml(self, text: str) -> str:
        return "'" + text.replace("'", "").replace("\n", "").replace("\0", "") + "'"

    def _literal(self, key: str) -> str:
        draw = self._random
        number = draw.choice(["1", "0.5", "-1", "0", "nan", "inf", "1e400", "9" * 30, "2.0", "true", "2024-01-01"])
        table = f"{{schedule = 'cosine', initial = {number}, final = 0.5, end = '50%'}}"
        text = self._toml(draw.choice([*PATTERNS, *PLACES, *GROUPINGS, *WORDS]).encode(errors="replace").decode())
        return draw.choice([number, number, table, text, f"[{number}, {number}]", f"[{text}]", "{}", "[]", "[[1]]"])

    def _file(self) -> str:
        return self._random.choice([*PATHS, *sorted(map(str, self._folder.iterdir()))])
