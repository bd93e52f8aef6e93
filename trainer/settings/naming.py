"""What tells one run from another, in a few words: for directories, tables and dashboards."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import pathlib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import Config
    from .rule import Rule

# Longest name of a directory without its digest; most file systems take 255 characters.
LONGEST = 120
# What neither a shell, nor TensorFlow's patterns, nor TensorBoard's lists of directories give a meaning to.
_UNSAFE = re.compile(r"[^A-Za-z0-9_.=+-]")


def rule(settings: Rule) -> list[str]:
    """A rule: its constraint, its values, and what else differs from the defaults, as `name=value`."""
    usual = {field.name: field.default for field in dataclasses.fields(settings)}
    parts = [settings.name.replace(",", "+")]
    for key, value in settings.to_table().items():
        if key == "constraint" or value == usual.get(key):
            continue
        if key == "mask_from":
            value = pathlib.Path(value).name
        alone = isinstance(value, dict) and "schedule" not in value
        several = {f"{key}.{name}": one for name, one in value.items()} if alone else {key: value}
        parts += [f"{name}={_written(one)}" for name, one in several.items()]
    return parts


def changed(config: Config) -> list[str]:
    """The settings other than rules that differ from the defaults, as `name=value`."""
    from ..packages import models
    from .run import CIRCUMSTANCES

    usual = type(config)()
    known = inspect.signature(models.REGISTRY[config.model]).parameters if config.model in models.REGISTRY else {}
    parts = [
        f"{name}={_written(value)}"
        for name, value in sorted(config.model_options.items())
        if name not in known or _written(value) != _written(known[name].default)
    ]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        own = field.name in ("model", "model_options", "dataset", "rules") or field.name in CIRCUMSTANCES
        if not own and value is not None and value != getattr(usual, field.name):
            parts.append(f"{field.name}={_written(value)}")
    return parts


def short(name: str) -> str:
    """The name of a network or data set; of a path the name of its file."""
    return pathlib.PurePath(name).name if name.startswith(("/", "~", ".")) else name


def directory(config: Config) -> str:
    """A name for the run's directory: readable, of bounded length, and different whenever the identity is.

    A rule and its values come first, then model and data set, then the settings that were changed, as many as fit.
    """
    digest = hashlib.sha256(json.dumps(config.identity(), sort_keys=True).encode()).hexdigest()[:8]
    if len(config.rules) == 1:
        rules = rule(config.rules[0])
    else:
        rules = ["+".join(one.name.replace(",", "+") for one in config.rules[:3])]
    first, *others = [_UNSAFE.sub("_", part) for part in rules]
    last = [_UNSAFE.sub("_", part)[: LONGEST // 4] for part in (short(config.model), short(config.dataset))]
    name = first[: LONGEST // 4]
    room = LONGEST - sum(len(part) + 1 for part in last)
    for part in (*others, None, *(_UNSAFE.sub("_", text) for text in changed(config))):
        if part is None:
            name, room = "-".join([name, *last]), LONGEST
        elif len(name) + 1 + len(part) <= room:
            name += f"-{part}"
    return f"{name}-{digest}"


def _written(value: Any) -> str:
    if isinstance(value, dict):
        ends = [value[name] for name in ("initial", "final") if name in value]
        return "to".join(map(_written, ends)) if ends else value["schedule"]
    if isinstance(value, (list, tuple)):
        return ",".join(map(_written, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
