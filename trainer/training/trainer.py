"""`Trainer`: a Keras model whose weights obey rules, trained, evaluated and certified."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from ..data.parts import Dataset, Split
from ..data.source import Source
from ..engine.evaluation import Evaluation, predict
from ..engine.objective import Compiled, Objective
from ..engine.optimizer_state import OptimizerState
from ..engine.projector import Projector
from ..engine.run_state import RunState
from ..engine.train_step import Steps
from ..reporting.certificate import Certificate, certify
from ..rules import matching
from ..runtime import errors, signals
from ..runtime.keras_internals import learning_rate, of_strategy
from ..settings.rule import Rule
from ..settings.run import RunSettings
from ..settings.timeline import Timeline
from . import exporting, identity, inputs, mask_source, serving, user_model
from .callbacks import Callbacks
from .placement import has_own_loss, in_scope, placed
from .run import Run
from .session import Session
from .targets import check_built, checked_rules


class Trainer:
    """Trains a Keras model, and after each step moves its weights to the nearest point that obeys the rules.

        trainer = Trainer(model, Rule(MaxNorm(2.0)), optimizer="adam", loss="mse", run_dir="runs/mine")
        trainer.fit(x, y, epochs=20, batch_size=128, validation_split=0.1)
        print(trainer.certify())

    Words and their order are those of `model.compile` and `model.fit`. A model that is compiled already may leave
    optimizer, loss and metrics out. With `run_dir` a run leaves TensorBoard's files, checkpoints and a certificate
    there, and the same program goes on where an earlier process stopped, to the same bits; without it nothing is
    written.

    Args:
      model: a Keras model of any kind, or a function that builds one. With several replicas it has to be a function, or
        a model made in the scope of a `tf.distribute` strategy.
      rules: what weights obey, see `trainer.Rule`; later rules may not take what earlier ones have.
      optimizer: as in `compile`, or a function that makes one; the gradients of all replicas are summed before it sees
        them. One that was made outside the scope of the model's strategy is made again there. On CPUs, several replicas
        need a function or a name, because the first optimizer starts TensorFlow, and its number of devices is then
        fixed.
      loss: as in `compile`.
      metrics: as in `compile`.
      loss_weights: as in `compile`.
      weighted_metrics: as in `compile`.
      run_dir: folder of the run; None: nothing is written.
      num_replicas: replicas that a model made by a function is mirrored on; None: every GPU, else one CPU.
      settings: all of the run's settings at once, `run_dir` among them, in place of single ones.
      **more: any other field of `trainer.RunSettings`, such as `seed`, `clip_norm`, `jit`, `checkpoint_every`,
        `on_nonfinite` or `overwrite`.

    Attributes:
      model: the model.
      optimizer: its optimizer.

    Raises:
      ValueError: a setting out of its range, or both in `settings` and by itself; a model made outside the scope of
        several replicas; or no loss.
      TypeError: an unknown setting, or a model, rule or optimizer that is none.
    """

    def __init__(
        self,
        model: keras.Model | Callable[[], keras.Model],
        rules: Rule | Sequence[Rule] = (),
        *,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        run_dir: Any = None,
        num_replicas: int | None = None,
        settings: RunSettings | None = None,
        **more: Any,
    ):
        given = [
            name
            for name, value in {"run_dir": run_dir, "num_replicas": num_replicas, **more}.items()
            if value is not None
        ]
        if settings is not None and given:
            raise ValueError(f"settings hold every setting, so {given[0]} belongs there; leave one of the two out.")
        with errors.in_words_of_python():
            self._settings = settings or RunSettings.for_python(run_dir=run_dir, num_replicas=num_replicas, **more)
        self._rules = checked_rules(rules)
        self.model, self._strategy = placed(model, self._settings)
        compiled = any(value is not None for value in (optimizer, loss, metrics, weighted_metrics))
        if compiled or not self.model.compiled:
            if loss is None and not has_own_loss(self.model):
                raise ValueError(
                    f"the model `{self.model.name}` has no loss; pass one, such as loss='mse', or compile the model."
                )
            with self._strategy.scope():
                if callable(optimizer) and not isinstance(optimizer, keras.optimizers.Optimizer):
                    optimizer = optimizer()
                self.model.compile(
                    optimizer="rmsprop" if optimizer is None else of_strategy(optimizer, self._strategy),
                    loss=loss,
                    loss_weights=loss_weights,
                    metrics=in_scope(metrics, self._strategy),
                    weighted_metrics=in_scope(weighted_metrics, self._strategy),
                )
        self.optimizer: keras.optimizers.Optimizer = self.model.optimizer
        self._run: Run | None = None

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        *,
        steps: int | None = None,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> keras.callbacks.History:
        """Trains; called again without a run directory it goes on from there.

        Args:
          x: arrays (NumPy, tensors, or lists, dictionaries and tuples of them), a `tf.data.Dataset` of x, (x, y) or
            (x, y, sample_weight), or what `trainer.load_data` returns: then its validation part chooses the best
            weights, and with a run directory its test part is judged at the end.
          y: labels, of the same kinds; nothing where x is a data set.
          batch_size: examples in a step, over all replicas (default: 32). For a data set it batches single examples;
            without it the data set is batched already. Examples that do not fill a batch sit the epoch out.
          epochs: passes over the examples.
          verbose: 0 for silence; else a line every epoch, and one that moves on a terminal.
          callbacks: Keras callbacks. Hooks about batches are called once for each chunk of steps.
          validation_split: share of the arrays, their last, that is held out.
          validation_data: (x, y), (x, y, sample_weight) or a data set.
          shuffle: whether each epoch has its own order, which follows from `seed`.
          class_weight: class -> what the loss of its examples is multiplied by.
          sample_weight: what the loss of each example is multiplied by.
          steps: optimizer steps in place of `epochs`.
          steps_per_epoch: steps after which an epoch ends, for data sets without a known length.
          validation_steps: batches of a validation data set without end.
          validation_batch_size: examples in a batch of an evaluation (default: 256 a replica).
          validation_freq: epochs between two evaluations.

        Returns:
          Keras's History: an entry for each epoch of the run, those before it was continued among them.

        Raises:
          ValueError: data, model, rules and run directory do not fit together; nothing was written.
          TypeError: data of a kind that is not known.
          KeyboardInterrupt: a signal came; with a run directory, all was saved first.
        """
        with errors.in_words_of_python():
            given = inputs.given(
                x,
                y,
                self._strategy,
                batch_size=batch_size,
                validation_split=validation_split,
                validation_data=validation_data,
                shuffle=shuffle,
                class_weight=class_weight,
                sample_weight=sample_weight,
                steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size,
                seed=self._settings.seed,
            )
            self._build(given.train)
            settings = dataclasses.replace(self._settings, validation_freq=validation_freq)
            if settings.jit == "auto" and not given.train.indexed:
                # Timing XLA takes batches, which a generator may hand out once only.
                settings = dataclasses.replace(settings, jit="off")
            per_epoch = steps_per_epoch or given.train.steps_per_epoch
            if steps is None and per_epoch is None:
                raise ValueError(
                    "the data set's length is not known; say how many steps an epoch has: steps_per_epoch."
                )
            count = inputs.whole("epochs", epochs) * (per_epoch or 1) if steps is None else inputs.whole("steps", steps)
            done = self._run.step if self._run is not None and settings.run_dir is None else 0
            total = done + count
            timeline = Timeline(total, per_epoch or total)
            objective = Compiled(self.model, self._strategy, given.train.spec, given.reconstructs)
            given.check_classes(self.model.loss, objective.output_shape)
            around = {}
            if isinstance(x, Dataset):
                around = {"serving": serving.of(x, user_model.gives_logits(self.model))}
            run = self.prepare(
                train_source=given.train,
                validation_source=given.validation,
                test_source=None if settings.run_dir is None else given.test,
                timeline=timeline,
                objective=objective,
                settings=settings,
                **identity.of_trainer(self.model, self._rules, settings, timeline, given, steps),
                **given.told,
                **around,
            )
        history = keras.callbacks.History()
        history.set_model(self.model)
        quiet = verbose in (0, "0", False)
        session = Session(run, run.directory(), Callbacks(self.model, callbacks or ()), verbose=not quiet)
        try:
            with errors.in_words_of_python():
                session.begin()
                with _heard(run) as interrupt:
                    document = session.run(interrupt)
        finally:
            session.close()
        history.history = session.history.columns()
        history.epoch = list(range(len(session.history.steps)))
        self.model.history = history
        if document is None:
            raise KeyboardInterrupt(f"{interrupt.name}: training stopped; the same program continues the run")
        return history

    def prepare(
        self,
        *,
        train_source: Source,
        timeline: Timeline,
        objective: Objective,
        validation_source: Source | None = None,
        test_source: Source | None = None,
        regularizer: keras.regularizers.Regularizer | None = None,
        settings: RunSettings | None = None,
        **described: Any,
    ) -> Run:
        """Puts a run together without beginning it; what `fit` and the command line share.

        Args:
          train_source: batches to learn from.
          timeline: the length of the run.
          objective: what is minimised and measured.
          validation_source: examples to choose the best weights on.
          test_source: examples to judge the finished run on.
          regularizer: a penalty on every variable under a rule.
          settings: in place of those the trainer was made with.
          **described: `title`, `identity`, `shown`, `splits`, `data_line` and the like of the `Run`.

        Raises:
          ValueError: a rule that fits nothing, or a schedule that does not fit the run.
        """
        settings = settings or self._settings
        check_built(self.model)
        variables = self.model.trainable_variables
        with self._strategy.scope():
            targets = matching.match(self._rules, self.model, timeline)
            for target in targets if regularizer is not None else ():
                for variable in target.variables:
                    variable.regularizer = regularizer
            if not self.optimizer.built:
                self.optimizer.build(variables)
            mask_source.initialize_masks(targets, self._rules, self.model)
        state = OptimizerState(self.optimizer, variables)
        steps = Steps(
            strategy=self._strategy,
            objective=objective,
            optimizer=self.optimizer,
            projector=Projector(targets, timeline.total_steps, state, learning_rate(self.optimizer)),
            train_source=train_source,
            eval_source=validation_source,
            clip_norm=settings.clip_norm,
            jit=settings.jit == "on",
            max_nonfinite=settings.nonfinite_in_a_row,
        )
        steps.project_fully()
        run = Run(
            settings=settings,
            timeline=timeline,
            strategy=self._strategy,
            model=self.model,
            optimizer=self.optimizer,
            targets=targets,
            steps=steps,
            train_source=train_source,
            validation_source=validation_source,
            test_source=test_source,
            state=RunState(steps.num_totals, objective.metric_copies),
            **described,
        )
        if settings.jit == "on" and (obstacle := run.jit_autotune(run.step).obstacle()) is not None:
            raise ValueError(f"--jit=on: XLA cannot compile this model ({obstacle}); use --jit=off or --jit=auto.")
        self._run = run
        return run

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics of examples, as `model.evaluate` gives them.

        Args:
          x: as in `fit`, or a part of what `trainer.load_data` returns, such as `data.test`.
          y: as in `fit`.
          batch_size: examples in a batch (default: 256 a replica).
          verbose: as in `fit`; nothing is printed but progress that takes seconds.
          sample_weight: as in `fit`.
          steps: batches of a data set without end.
          return_dict: a dictionary in place of a list of numbers.

        Raises:
          ValueError: the data do not fit the model.
        """
        del verbose
        with errors.in_words_of_python():
            source = inputs.evaluated(x, y, sample_weight, batch_size, steps, self._strategy)
            self._build(source)
            reconstructs = isinstance(x, Split) and x.stream is None and x.labels is None
            objective = Compiled(self.model, self._strategy, source.spec, reconstructs)
            result = Evaluation(self._strategy, objective).evaluate(source)
        if return_dict:
            return result
        values = list(result.values())
        return values[0] if len(values) == 1 else values

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto", steps: int | None = None) -> Any:
        """The model's outputs, as `model.predict` gives them: NumPy arrays in the structure of the outputs.

        Args:
          x: as in `fit`.
          batch_size: as in `evaluate`.
          verbose: as in `evaluate`.
          steps: as in `evaluate`.
        """
        del verbose
        with errors.in_words_of_python():
            source = inputs.evaluated(x, None, None, batch_size, steps, self._strategy)
            self._build(source)
            return predict(self._strategy, self.model, source)

    def certify(self) -> Certificate:
        """Checks every weight against its rule, in float64; print it for the table that the command line prints.

        Before `fit` nothing has been projected yet, and schedules stand at their first step.

        Raises:
          ValueError: the model is not built, or a rule fits nothing.
        """
        if self._run is not None:
            return certify(self._run.targets, self._run.step)
        check_built(self.model)
        return certify(matching.match(self._rules, self.model, Timeline(1, 1)), 0)

    def export(self, path: Any, formats: str | Sequence[str] = "keras", **more: Any) -> dict[str, Any]:
        """Writes the trained model as files, each checked by reloading it in a process without this project.

        Args:
          path: folder of the files.
          formats: names of formats, as `--formats` of `python -m trainer.export` takes them.
          **more: `target`, `compact`, `low_rank`, `benchmark` and `overwrite`, as that command has them.

        Returns:
          What was found in each file; `export.json` in the folder says the same.

        Raises:
          ValueError: nothing was trained yet, something lies in the way, or a file does not hold; it is not kept.
        """
        with errors.in_words_of_python():
            if self._run is None:
                raise ValueError("there is nothing to export yet; call fit first.")
            return exporting.export(self._run, path, self._run.step, exporting.Wishes(formats=formats, **more))

    def _build(self, source: Source) -> None:
        """Builds a model that knows its shapes only from data."""
        if self.model.built and self.model.variables:
            return
        features = tf.nest.map_structure(
            lambda spec: tf.zeros([size or 1 for size in spec.shape], spec.dtype), source.spec[0]
        )
        try:
            with self._strategy.scope():
                self.model(features)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"the model `{self.model.name}` cannot be built on the data: {reason}") from error


@contextlib.contextmanager
def _heard(run: Run) -> Iterator[signals.Interrupt]:
    """Listens to signals where the run can be saved and Python lets it: elsewhere they do what they always do."""
    if run.settings.run_dir is None or threading.current_thread() is not threading.main_thread():
        yield signals.Interrupt()
        return
    with signals.listen(run.steps.halt, leaving=False) as interrupt:
        yield interrupt
