"""Writes TensorBoard event files; the only file that does.

Everything of one step goes into one event, written from the host: summary operations inside a replica would record one
replica's values under polluted tags.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.histogram import summary_v2 as histogram
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.scalar import summary_v2 as scalar
from tensorboard.plugins.text import summary_v2 as text

from trainer.projector import MEASURES
from trainer.rules import Target

_TAGS = {"norm_mean": "norm/{path}/mean", "norm_max": "norm/{path}/max"}


class Summaries:
    """The event files of one run, `train/` and `eval/`.

    Args:
      directory: the run directory.
      targets: the measured variables, in the order of the projector's rows.
    """

    def __init__(self, directory: pathlib.Path, targets: Sequence[Target]):
        self._directory = directory
        self._targets = targets
        self._sizes = np.array([np.prod(target.variable.shape, dtype=np.float64) for target in targets])
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def begin(self, settings: Mapping[str, Any], card: str) -> None:
        """Writes what does not change: the dashboard's layout, the hyperparameters and the card of the run.

        Args:
          settings: flag -> value, for the HParams dashboard.
          card: Markdown.
        """
        values = {
            name: value if isinstance(value, (bool, int, float)) else str(value) for name, value in settings.items()
        }
        metrics = [hparams.Metric("accuracy"), hparams.Metric("loss")]
        self._write("train", 0, [custom_scalar.pb(layout(self._targets)), text.text_pb("run", card)])
        columns = [hparams.HParam(name) for name in sorted(values)]
        self._write("eval", 0, [hparams.hparams_config_pb(columns, metrics), hparams.hparams_pb(values)])

    def scalars(self, folder: str, step: int, values: Mapping[str, float]) -> None:
        """Writes scalars `{tag: value}` of a step into `train` or `eval`."""
        self._write(folder, step, [scalar.scalar_pb(tag, value) for tag, value in values.items()])

    def measures(self, measured: np.ndarray) -> dict[str, float]:
        """Names the projector's measures.

        Args:
          measured: [targets, width], see `trainer.projector.Projector.project`.

        Returns:
          `{tag: value}` for `scalars`.
        """
        values = {}
        for target, row in zip(self._targets, measured, strict=True):
            path = target.variable.path
            for name, number in zip(MEASURES, row, strict=False):
                values[_TAGS.get(name, name + "/{path}").format(path=path)] = float(number)
            for i, field in enumerate(target.constraint.bounds()):
                values[f"bound/{path}" if i == 0 else f"bound/{path}/{field}"] = float(row[len(MEASURES) + i])
        if self._targets:
            values["sparsity/total"] = float(measured[:, 0] @ self._sizes / self._sizes.sum())
        return values

    def histograms(self, step: int) -> None:
        """Writes a histogram of each measured variable."""
        self._write(
            "train",
            step,
            [histogram.histogram_pb(t.variable.path, np.asarray(t.variable).ravel()) for t in self._targets],
        )

    def flush(self) -> None:
        """Hands everything written so far to the system."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Closes the event files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _write(self, folder: str, step: int, protos: Sequence[Any]) -> None:
        if folder not in self._writers:
            self._writers[folder] = tf.summary.create_file_writer(str(self._directory / folder))
        # Laid end to end, serialised messages are one message with all their values.
        event = b"".join(proto.SerializeToString() for proto in protos)
        with self._writers[folder].as_default():
            tf.summary.experimental.write_raw_pb(event, step=step)


def layout(targets: Sequence[Target]) -> layout_pb2.Layout:
    """Lays out the custom-scalars dashboard: each norm against its bound, each sparsity, each distance."""

    def chart(title: str, *tags: str) -> layout_pb2.Chart:
        patterns = [f"^{re.escape(tag)}$" for tag in tags]
        return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=patterns))

    paths = [target.variable.path for target in targets]
    categories = {
        "norm against bound": [chart(path, f"norm/{path}/max", f"norm/{path}/mean", f"bound/{path}") for path in paths],
        "sparsity": [chart("sparsity", "sparsity/total", *(f"sparsity/{path}" for path in paths))],
        "before the projection": [
            chart("distance", *(f"distance/{path}" for path in paths)),
            chart("active", *(f"active/{path}" for path in paths)),
        ],
    }
    return layout_pb2.Layout(
        category=[layout_pb2.Category(title=title, chart=charts) for title, charts in categories.items()]
    )


def rewind(directory: pathlib.Path, step: int) -> None:
    """Drops what the event files hold past a step, so that a continued run shows one value a step and tag.

    Args:
      directory: the run directory.
      step: the step that training goes on from.
    """
    for file in sorted(directory.glob("*/events.out.tfevents.*")):
        kept = file.with_name(f"{file.name}.new")
        with tf.io.TFRecordWriter(str(kept)) as writer:
            try:
                for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
                    if Event.FromString(record).step <= step:
                        writer.write(record)
            except tf.errors.DataLossError:
                # The process died while it wrote: what stands before the torn record is whole.
                pass
        kept.replace(file)
