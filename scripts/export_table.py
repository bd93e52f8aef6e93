"""Which export holds for which network under which rule: `python -m scripts.export_table [--write]`.

Trains each network under each rule for a few steps on scikit-learn's digits, exports it in every format with
`--target=tflite`, and says what a process without this project found in each file. Results are kept as JSON, a file for
each pair, so that the same command goes on where it was cut short.

python -m scripts.export_table --networks=mlp,lstm --rules=topk    # a part of it
python -m scripts.export_table --write                             # all of it, into docs/reference/export-table.md
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import io
import itertools
import json
import pathlib
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.runtime import quiet_import

quiet_import.import_tensorflow()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

import models  # noqa: E402
from constraints import NM, Block, Constraint, LowRank, MaxNorm, TopK, UnitSparse  # noqa: E402
from trainer import Rule, Trainer, match  # noqa: E402
from trainer.export import fresh  # noqa: E402
from trainer.export.formats import FORMATS  # noqa: E402
from trainer.runtime.progress import duration, print_line  # noqa: E402
from trainer.storage import files  # noqa: E402

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "reference" / "export-table.md"
BEGIN, END = "<!-- table: python -m scripts.export_table --write -->", "<!-- end of table -->"
RESULTS = pathlib.Path("runs/export_table")
# What is kept of a report.
KEPT = ("format", "difference", "bytes", "rules", "weights", "sparse", "libraries", "scores")
# Examples of training, and of the test that outputs are compared on.
TRAINING, TEST, BATCH, EPOCHS = 512, 128, 64, 2
# Gray levels of a pixel: the tokens of a digit that is read as a text.
LEVELS = 17

RULES = {
    "topk": TopK(sparsity=0.8),
    "unitsparse": UnitSparse(sparsity=0.5),
    "block": Block(sparsity=0.75, block=(16, 1)),
    "nm": NM(n=2, m=4),
    "lowrank": LowRank(rank=2),
    "maxnorm": MaxNorm(0.5),
}


@dataclasses.dataclass(frozen=True)
class Network:
    """A line of each rule.

    Attributes:
      build: makes it, for ten classes.
      data: makes examples for it of images [number, 8, 8] in [0, 1].
    """

    build: Callable[[], keras.Model]
    data: Callable[[np.ndarray], np.ndarray]


def _image(images: np.ndarray) -> np.ndarray:
    return images[..., np.newaxis]


def _large_image(images: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(images, 4, axis=1), 4, axis=2)[..., np.newaxis]


def _text(images: np.ndarray) -> np.ndarray:
    return np.round(images.reshape(len(images), -1) * (LEVELS - 1)).astype(np.int32)


def _ours(name: str, **options: Any) -> Callable[[], keras.Model]:
    return functools.partial(models.REGISTRY[name], (8, 8, 1), 10, **options)


NETWORKS = {
    "mlp": Network(_ours("mlp", hidden_units=(64, 32)), _image),
    "convnet": Network(_ours("convnet", filters=(16, 32)), _image),
    "lenet5": Network(_ours("lenet5", filters=(8, 16), hidden_units=(64,)), _image),
    "resnet": Network(_ours("resnet", depth=8, filters=(16, 32, 64)), _image),
    "lstm": Network(_ours("lstm", hidden_units=(32,)), _image),
    "transformer": Network(_ours("transformer", depth=1, width=32, num_heads=2), _image),
    "textcnn": Network(
        lambda: models.REGISTRY["textcnn"](models.Tokens(64, LEVELS), 10, filters=(16, 16, 16), embedding_dim=16),
        _text,
    ),
    "MobileNet": Network(
        lambda: keras.applications.MobileNet(
            (32, 32, 1), alpha=0.25, weights=None, classes=10, classifier_activation=None
        ),
        _large_image,
    ),
}


def examined(network: str, rule: str) -> dict[str, dict[str, Any]]:
    """What became of each format: the report of the export, or `error`, why there is no file."""
    keras.utils.set_random_seed(0)
    trainer = trained(network, rule)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return exported(trainer, list(FORMATS), folder)
        except ValueError:
            # The formats behind the one that failed were not tried.
            return {name: _alone(trainer, name, folder) for name in FORMATS}


def trained(network: str, rule: str) -> Trainer:
    """A network trained for a few steps under a rule on every kernel."""
    from sklearn import datasets

    digits = datasets.load_digits()
    x = NETWORKS[network].data((digits.images / 16).astype(np.float32))
    y = digits.target
    model = NETWORKS[network].build()
    trainer = Trainer(
        model,
        Rule(RULES[rule], variables=fitting(model, RULES[rule])),
        optimizer=keras.optimizers.Adam(0.003),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    last = TRAINING + TEST
    test = x[TRAINING:last], y[TRAINING:last]
    trainer.fit(x[:TRAINING], y[:TRAINING], BATCH, EPOCHS, verbose=0, validation_data=test)
    return trainer


def fitting(model: keras.Model, constraint: Constraint) -> list[str]:
    """The kernels that a rule can speak of: blocks divide them, windows have several weights."""
    paths = []
    for variable in model.trainable_variables:
        if variable.path.endswith("kernel"):
            with contextlib.suppress(ValueError):
                match(Rule(constraint, variables=variable.path), model, total_steps=1)
                paths.append(variable.path)
    return paths


def exported(trainer: Trainer, names: Sequence[str], folder: str) -> dict[str, dict[str, Any]]:
    """The reports of some formats; raises ValueError at the first that does not hold."""
    # A table of a single network is no part of this one.
    with contextlib.redirect_stdout(io.StringIO()):
        report = trainer.export(folder, names, target="tflite", overwrite=True)
    return {one["format"]: {name: value for name, value in one.items() if name in KEPT} for one in report["exports"]}


def _alone(trainer: Trainer, name: str, folder: str) -> dict[str, Any]:
    try:
        return exported(trainer, [name], folder)[name]
    except ValueError as error:
        return {"error": str(error).replace(f"{folder}/", "")}


def table(results: Mapping[tuple[str, str], dict[str, dict[str, Any]]]) -> str:
    """The results in Markdown: a table for each network, and what its refused formats say."""
    parts = []
    for network, pairs in itertools.groupby(results.items(), key=lambda pair: pair[0][0]):
        rows, refused = [], []
        for (_, rule), found in pairs:
            rows.append([f"`{rule}`", *(cell(found[name]) for name in FORMATS)])
            refused += [f"- `{rule}`, `{name}`: {one['error']}" for name, one in found.items() if "error" in one]
        header = ["rule", *(f"`{name}`" for name in FORMATS)]
        lines = [header, ["---"] * len(header), *rows]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append("\n\n".join([f"## {network}", text, *(["\n".join(refused)] if refused else [])]))
    return "\n\n".join(parts)


def cell(one: Mapping[str, Any]) -> str:
    """What a format became: its rule, the difference of outputs, bytes."""
    if "error" in one:
        return "refused"
    # The sentence of a broken bound ends with how far it is off.
    off = re.search(r"off by (\S+);", one["rules"])
    verdict = "holds" if one["rules"] == "hold" else f"off by {off[1]}" if off else one["rules"]
    stored = ", sparse" if one["sparse"] and "tflite" in one["format"] else ""
    return f"{verdict}{stored}<br>{one['difference']:.0e}<br>{one['bytes']:,}"


def written(page: str, text: str) -> str:
    """A page with the table in its place."""
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}"


def main(argv: Sequence[str] | None = None) -> None:
    """Goes through the pairs that are asked for, and prints their table or writes it into the page."""
    arguments = _arguments(argv)
    # Each pair is a network of its own, which is compiled anew on purpose.
    tf.get_logger().setLevel("ERROR")
    pairs = list(itertools.product(arguments.networks, arguments.rules))
    results: dict[tuple[str, str], dict[str, Any]] = {}
    arguments.results.mkdir(parents=True, exist_ok=True)
    begun, done = time.monotonic(), 0
    with fresh.one_import():
        for number, (network, rule) in enumerate(pairs, start=1):
            kept = arguments.results / f"{network}-{rule}.json"
            if kept.is_file():
                results[network, rule] = json.loads(kept.read_text())
                continue
            results[network, rule] = examined(network, rule)
            files.write_atomically(kept, json.dumps(results[network, rule], indent=1) + "\n")
            keras.utils.clear_session()
            done += 1
            each = (time.monotonic() - begun) / done
            left = sum(not (arguments.results / f"{n}-{r}.json").is_file() for n, r in pairs[number:])
            failed = [name for name, one in results[network, rule].items() if "error" in one]
            print_line(
                f"{number}/{len(pairs)} {network} under {rule}: {len(FORMATS) - len(failed)} of {len(FORMATS)} formats "
                f"hold, {each:.0f} s each, {duration(each * left)} left",
                stream=sys.stderr,
            )
    if arguments.write:
        PAGE.write_text(written(PAGE.read_text(), table(results)))
    else:
        print_line(table(results))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for what, known in (("networks", NETWORKS), ("rules", RULES)):
        parser.add_argument(f"--{what}", default=",".join(known), help="which, with commas between (default: all)")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="folder of JSON")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    arguments = parser.parse_args(argv)
    for what, known in (("networks", NETWORKS), ("rules", RULES)):
        names = getattr(arguments, what).split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            parser.error(f"--{what}: {unknown[0]} is unknown; choose from {', '.join(known)}")
        setattr(arguments, what, names)
    return arguments


if __name__ == "__main__":
    main()
