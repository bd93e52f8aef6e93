"""What is found out at the end of a run: the verdict on its rules, the test, and which weights `model.keras` holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from ..data.source import Source
from ..reporting import certificate
from ..reporting.console import print_line
from ..reporting.quantities import number
from ..reporting.tensorboard import Summaries
from ..runtime import replicas
from ..storage import event_files, run_directory
from .best import Best, at_best
from .model_file import ModelFile
from .run import Run


class Ending:
    """Judges a run that has reached its last step.

    Args:
      run: what was trained.
      directory: where it is kept; None: nowhere.
      best: which evaluation was the best.
      summaries: TensorBoard's files.
      model_file: `model.keras`; None: there is none.
      judged: evaluates the present weights on a source; the first argument says what for.
    """

    def __init__(
        self,
        run: Run,
        directory: run_directory.RunDirectory | None,
        best: Best,
        summaries: Summaries,
        model_file: ModelFile | None,
        judged: Callable[[str, Source], dict[str, float]],
    ):
        self._run = run
        self._directory = directory
        self._best = best
        self._summaries = summaries
        self._model_file = model_file
        self._judged = judged

    def document(self, step: int) -> dict[str, Any]:
        """The content of `certificate.json`; writes `model.keras`."""
        run = self._run
        evaluation = None if run.test_source is None else self._judged("test", run.test_source)
        return {
            **certificate.certify(run.targets, step),
            "sparsity": self._summaries.total_sparsity(),
            "splits": run.splits,
            "evaluation": evaluation and _numbers(evaluation),
            "best": self._described_best(step, evaluation),
            "model": self._write_model(step),
            "replicas": {
                "count": run.strategy.num_replicas_in_sync,
                # Each replica has its own means of a batch normalization, as in `fit`.
                "identical": replicas.copies_equal(run.model.trainable_variables),
            },
        }

    def _described_best(self, step: int, evaluation: dict[str, float] | None) -> dict[str, Any] | None:
        """What the certificate says of the best weights, judged on the test split where there is one."""
        if not self._best.known or self._run.validation_source is None:
            return None
        of_best = evaluation
        if evaluation is not None and self._directory is not None:
            of_best = evaluation if self._best.step == step else self._test_of_best()
            tested = {f"{event_files.TEST}{name}": value for name, value in evaluation.items()}
            tested |= {f"{event_files.TEST}best/{name}": value for name, value in (of_best or {}).items()}
            self._summaries.scalars("eval", step, tested)
        return {
            "monitor": self._best.name,
            self._best.name: number(self._best.value),
            "loss": number(self._best.loss),
            "step": self._best.step,
            "test": of_best and _numbers(of_best),
        }

    def _test_of_best(self) -> dict[str, float] | None:
        """Evaluates the best checkpoint on the test split, and leaves the weights as they are."""
        assert self._run.test_source is not None
        try:
            assert self._directory is not None
            with at_best(self._run.model, self._directory.checkpoints):
                return self._judged("test of the best", self._run.test_source)
        except ValueError as error:
            print_line(f"warning: the best checkpoint is not judged on the test split: {error}")
            return None

    def _write_model(self, step: int) -> dict[str, Any] | None:
        """Writes the best weights as `model.keras`, or the last where the best break a rule; says which."""
        file = self._model_file
        if file is None:
            return None
        best = self._best.step if self._best.known and self._run.validation_source is not None else step
        if best != step:
            # They were the best under the bounds of their time, and need not obey those of the end.
            assert self._directory is not None
            with contextlib.suppress(ValueError), at_best(self._run.model, self._directory.checkpoints):
                if certificate.certify(self._run.targets, step)["feasible"]:
                    return _model_entry("best", best) if file.write() else None
        return _model_entry("best" if best == step else "last", step) if file.write() else None


def _model_entry(weights: str, step: int) -> dict[str, Any]:
    return {"file": run_directory.MODEL, "weights": weights, "step": step}


def _numbers(evaluation: dict[str, float]) -> dict[str, float | None]:
    return {name: number(value) for name, value in evaluation.items()}
