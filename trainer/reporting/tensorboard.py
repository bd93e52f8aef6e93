"""Makes what TensorBoard shows; `trainer.storage.event_files` writes it.

Everything of one step goes into one event, written from the host: summary operations inside a replica would record one
replica's values under polluted tags. Charts are no reason to lose a run: what cannot be written is said once, and
training goes on without.
"""

from __future__ import annotations

import contextlib
import math
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar_metadata
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.histogram import metadata as histogram
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
from tensorboard.plugins.scalar import metadata as scalar
from tensorboard.plugins.text import summary_v2 as text
from tensorboard.util import tensor_util

from ..packages import constraints
from ..rules.target import Target
from ..runtime import errors
from ..storage import event_files

_TAGS = {"norm_mean": "norm/{path}/mean", "norm_max": "norm/{path}/max"}
# The tags of `Summaries.begin`.
_OF_THE_BEGINNING = ("run", custom_scalar_metadata.CONFIG_SUMMARY_TAG, SESSION_START_INFO_TAG)
_TOTAL_SPARSITY = "sparsity/total"
# Hyperparameters that bound the share of zeros; an intersection puts a set's name before them.
_SPARSITY = "([^/]*_)?(sparsity|n|m)"
_HISTOGRAM = histogram.create_summary_metadata(display_name="", description="")
_BUCKETS = 30
_SCALAR = scalar.create_summary_metadata(display_name="", description="")


class Summaries:
    """The event files of one run, `train/` and `eval/`.

    Args:
      directory: the run directory; None: nothing is written.
      targets: the measured variables, in the order of the projector's rows.
      log: told once when the event files cannot be written.
    """

    def __init__(self, directory: pathlib.Path | None, targets: Sequence[Target], log: Callable[[str], None] = print):
        self._directory = directory
        self._log = log
        self._failed = False
        self._targets = targets
        # A variable may be under several rules, one after the other.
        self._variables = {
            name: variable for target in targets for name, variable in zip(target.names, target.variables, strict=True)
        }
        self._writers: dict[str, event_files.Writer] = {}

    def begin(self, settings: Mapping[str, bool | int | float | str], card: str) -> None:
        """Writes what does not change: the dashboard's layout, the hyperparameters and the card of the run.

        Args:
          settings: flag -> value, for the HParams dashboard; see `readable`.
          card: Markdown.
        """
        self._write("train", 0, [custom_scalar.pb(layout(self._targets)), text.text_pb("run", card)])
        # Neither a list of columns nor a group's name: with a list TensorBoard shows the first run's columns alone, and
        # with the name derived from the values, equal runs as one. Left out, it gathers the columns of all runs, and of
        # the metrics those written beside the hyperparameters.
        self._write("eval", 0, [hparams.session_start_pb(settings)])

    def end(self, step: int, feasible: bool) -> None:
        """Writes that the run ended, and how: the HParams dashboard filters by it.

        Args:
          step: the last step.
          feasible: whether every weight obeys its rule.
        """
        status = api_pb2.STATUS_SUCCESS if feasible else api_pb2.STATUS_FAILURE
        self._write("eval", step, [hparams.session_end_pb(status)])

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Writes an evaluation `{tag: value}`, and the sparsity that it was reached with.

        Both become metrics of the HParams dashboard, which reads no others than the evaluation's.
        """
        self.scalars("eval", step, {**values, **self._tagged(self.total_sparsity())})

    def scalars(self, folder: str, step: int, values: Mapping[str, float]) -> None:
        """Writes scalars `{tag: value}` of a step into `train` or `eval`."""
        self._write(folder, step, [Summary(value=[_scalar(tag, value) for tag, value in values.items()])])

    def measures(self, step: int, names: Sequence[str], measured: np.ndarray) -> dict[str, float]:
        """Names the projector's measures of the rules that hold at a step.

        Args:
          step: the step.
          names: what is measured of each target; in a row the bounds follow.
          measured: [targets, width], see `trainer.engine.projector.Projector.project`.

        Returns:
          `{tag: value}` for `scalars`.
        """
        values, nonzeros = {}, {}
        for target, row in zip(self._targets, measured, strict=True):
            if not target.holds(step):
                continue
            path = target.label
            if len(target.variables) == 1:
                # Measured in the compiled step already; counting again would copy the weights to the host.
                nonzeros[target.names[0]] = round((1.0 - float(row[names.index("sparsity")])) * target.size)
            for name, number in zip(names, row, strict=False):
                if name == "residual" and not isinstance(target.constraint, constraints.Intersection):
                    continue
                values[_TAGS.get(name, name + "/{path}").format(path=path)] = float(number)
            for i, field in enumerate(target.constraint.bounds()):
                values[bound_tag(target, field)] = float(row[len(names) + i])
            if len(target.variables) > 1:
                counted = {name: _nonzeros(self._variables[name]) for name in target.names}
                values |= {f"sparsity/{path}": 1.0 - count / self._size(path) for path, count in counted.items()}
                nonzeros |= counted
        return values | self._tagged(self.total_sparsity(nonzeros))

    def histograms(self, step: int) -> None:
        """Writes a histogram of each measured variable, of its finite weights: NaN and infinity have no bucket."""
        arrays = {f"weights/{path}": variable.numpy() for path, variable in self._variables.items()}
        values = [_histogram(tag, w[np.isfinite(w)]) for tag, w in arrays.items()]
        self._write("train", step, [Summary(value=values)])

    def rewind(self, step: int, anew: bool = False) -> None:
        """Drops what an earlier session wrote past a step, see `trainer.storage.event_files.rewind`.

        Args:
          step: the step that training goes on from.
          anew: whether what `begin` wrote is dropped too, because it is written again.
        """
        if self._directory is not None:
            with self._forgiven():
                event_files.rewind(self._directory, step, self._log, _OF_THE_BEGINNING if anew else ())

    def look(self) -> None:
        """Says if the event files are gone."""
        with self._forgiven():
            for writer in self._writers.values():
                writer.look()

    def close(self) -> None:
        """Closes the event files."""
        with self._forgiven():
            for writer in self._writers.values():
                writer.close()
        self._writers.clear()

    @contextlib.contextmanager
    def _forgiven(self) -> Iterator[None]:
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            if not self._failed:
                self._log(
                    f"warning: event files in {self._directory} cannot be written: {errors.reason(error)}; training "
                    "goes on, TensorBoard shows nothing of what follows."
                )
            # A file that lost a record in its middle is of no use from there on, so nothing more is tried.
            self._failed = True

    def total_sparsity(self, nonzeros: Mapping[str, int] | None = None) -> float | None:
        """Share of exact zeros in all measured variables, None if there are none.

        Args:
          nonzeros: path -> number of non-zeros, where that is known; the others are counted.
        """
        known = nonzeros or {}
        counts = [known[path] if path in known else _nonzeros(one) for path, one in self._variables.items()]
        size = sum(map(self._size, self._variables))
        return 1.0 - sum(counts) / size if size else None

    @staticmethod
    def _tagged(sparsity: float | None) -> dict[str, float]:
        return {} if sparsity is None else {_TOTAL_SPARSITY: sparsity}

    def _size(self, path: str) -> int:
        return math.prod(self._variables[path].shape)

    def _write(self, folder: str, step: int, protos: Sequence[Any]) -> None:
        if self._failed or self._directory is None:
            return
        # Laid end to end, serialised messages are one message with all their values.
        summary = b"".join(proto.SerializeToString() for proto in protos)
        with self._forgiven():
            if folder not in self._writers:
                self._writers[folder] = event_files.Writer(self._directory / folder)
            self._writers[folder].write(step, summary)


def show_text(directory: pathlib.Path, tag: str, step: int, content: str) -> None:
    """Adds a text, in letters of one width, to the event files of a run that is not under way.

    Raises:
      OSError, tf.errors.OpError: the system refused.
    """
    indented = "\n".join(f"    {line}" for line in content.splitlines())
    writer = event_files.Writer(directory / "eval")
    writer.write(step, text.text_pb(tag, indented).SerializeToString())
    writer.close()


def _nonzeros(variable: Any) -> int:
    return int(np.count_nonzero(variable.numpy()))


def _scalar(tag: str, value: float) -> Summary.Value:
    """What TensorBoard's own `scalar_pb` makes, without its general conversion of arrays: six times as fast."""
    return Summary.Value(tag=tag, metadata=_SCALAR, tensor=TensorProto(dtype=DT_FLOAT, float_val=[value]))


def _histogram(tag: str, values: np.ndarray) -> Summary.Value:
    """What TensorBoard's own `histogram_pb` makes, without its matrix of weights times buckets."""
    counts, edges = np.histogram(values, _BUCKETS)
    buckets = np.stack([edges[:-1], edges[1:], counts], axis=1)
    if not values.size:
        buckets[:] = 0.0
    elif values.min() == values.max():
        # All in the last bucket of no width, where NumPy would spread them over a width of one.
        buckets[:, :2] = values.flat[0]
        buckets[:, 2] = [0.0] * (_BUCKETS - 1) + [values.size]
    tensor = tensor_util.make_tensor_proto(buckets, dtype=np.float64)
    return Summary.Value(tag=tag, metadata=_HISTOGRAM, tensor=tensor)


def bound_tag(target: Target, field: str) -> str:
    """The tag of a hyperparameter's value, `bound/max_value/PATH`; of a penalty, which bounds nothing, `penalty/PATH`.

    It names the hyperparameter, because runs of different rules share one TensorBoard.
    """
    if not target.constraint.proximal:
        return f"bound/{field}/{target.label}"
    first = next(iter(target.constraint.bounds()))
    return f"penalty/{target.label}" if field == first else f"penalty/{target.label}/{field}"


def _bounded(target: Target) -> list[str]:
    """The measures that a target's hyperparameters bound, or `penalty`; a norm where there are none."""
    if target.constraint.proximal:
        return ["penalty"]
    sparse = {bool(re.fullmatch(_SPARSITY, field)) for field in target.constraint.bounds()} or {False}
    return [name for name, is_sparsity in (("norm", False), ("sparsity", True)) if is_sparsity in sparse]


def layout(targets: Sequence[Target]) -> layout_pb2.Layout:
    """Lays out the custom-scalars dashboard: each variable against its bound, then all of them, then the learning.

    TensorBoard merges the layouts of several runs category by category and drops equal charts, so a chart says nothing
    but its variable and its measure; runs whose rules bound another measure have a chart of their own.
    """

    def chart(title: str, *patterns: str) -> layout_pb2.Chart:
        return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=patterns))

    def against_bound(measure: str, label: str) -> layout_pb2.Chart:
        path = re.escape(label)
        patterns = {
            "norm": (f"^norm/{path}/(max|mean)$", f"^bound/(?!{_SPARSITY}/)[^/]+/{path}$"),
            "sparsity": (f"^sparsity/{path}$", f"^bound/([^/]*_)?sparsity/{path}$"),
            "penalty": (f"^sparsity/{path}$", f"^penalty/{path}(/[^/]+)?$"),
        }
        return chart(f"{measure}: {label}", *patterns[measure])

    charts = dict.fromkeys((measure, target.label) for target in targets for measure in _bounded(target))
    categories = {
        "against the bound": [against_bound(*key) for key in charts],
        "all variables": [
            chart("sparsity", "^sparsity/"),
            chart("distance from the set before projecting", "^distance/"),
            chart("share of groups on the boundary", "^active/"),
        ],
        "learning": [
            chart("loss", "^loss$", "^penalty$"),
            chart("accuracy", "^accuracy$"),
            chart("learning rate", "^learning_rate$"),
        ],
    }
    return layout_pb2.Layout(
        category=[layout_pb2.Category(title=title, chart=charts) for title, charts in categories.items()]
    )


def readable(settings: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Settings as a dashboard shows them: lists as on the command line, and nothing for what is not set."""
    shown = {}
    for name, value in settings.items():
        if isinstance(value, (list, tuple)):
            value = ",".join(map(str, value))
        if value is not None and value != "":
            shown[name] = value if isinstance(value, (bool, int, float)) else str(value)
    return shown
