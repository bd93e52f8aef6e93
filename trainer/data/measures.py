"""The Keras losses and metrics of a task, by their names in Keras."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import keras

from ..settings.checks import check_choice
from .inference import ALIASES

# What compares images or sequences, or measures nothing by itself.
_OTHERS = ("circle", "ctc", "dice", "loss", "mean", "mean_metric_wrapper", "metric", "sum", "tversky")
_OF_CLASSES = re.compile("crossentropy|hinge|kl_divergence")


def losses() -> dict[str, type[keras.losses.Loss]]:
    """The losses by name."""
    return _named(keras.losses, keras.losses.Loss)


def metrics_by_name() -> dict[str, type[keras.metrics.Metric]]:
    """The metrics by name."""
    return _named(keras.metrics, keras.metrics.Metric)


def loss(task: str, num_outputs: int, name: str | None, label_smoothing: float, from_logits: bool) -> keras.losses.Loss:
    """See `Task.loss`."""
    written = f"--loss={name}"
    if name is None:
        name = {
            "classification": "binary_crossentropy" if num_outputs == 1 else "sparse_categorical_crossentropy",
            "multilabel": "binary_crossentropy",
        }.get(task, "mean_squared_error")
        if label_smoothing and name.startswith("sparse_"):
            name = "categorical_crossentropy"
    known = losses()
    name = ALIASES.get(name, name)
    check_choice(written, name, known)
    _check_fits(written, name, task, num_outputs)
    taken = inspect.signature(known[name]).parameters
    options: dict[str, Any] = {}
    if label_smoothing:
        if "label_smoothing" not in taken or task in ("regression", "reconstruction"):
            raise ValueError(
                f"--label_smoothing={label_smoothing:g} means nothing to {task} with the loss {name}; it belongs to "
                "cross-entropies of classes. Leave it out."
            )
        options["label_smoothing"] = label_smoothing
    if "from_logits" in taken:
        options["from_logits"] = from_logits
    made = known[name](**options)
    one_hot = _one_hot(name, task, num_outputs)
    # Hinges take logits as they are; a loss that is told of logits does so itself.
    plain = "from_logits" in taken or "hinge" in name or not from_logits
    activation = None if plain else _activation(task, num_outputs)
    return made if one_hot is None and activation is None else AdaptedLoss(made, one_hot, activation)


def metrics(task: str, num_outputs: int, names: tuple[str, ...], from_logits: bool) -> list[keras.metrics.Metric]:
    """See `Task.metrics`."""
    own = {"classification": ("accuracy",), "multilabel": ("accuracy", "f1_score"), "regression": ("r2_score",)}
    return [_metric(task, num_outputs, name, from_logits) for name in names or own.get(task, ())]


def _metric(task: str, num_outputs: int, name: str, from_logits: bool) -> keras.metrics.Metric:
    written = f"--metrics={name}"
    shown, name = name, ALIASES.get(name, name)
    of_task = task in ("classification", "multilabel")
    if name == "accuracy" and of_task:
        name = "binary_accuracy" if num_outputs == 1 or task == "multilabel" else "sparse_categorical_accuracy"
    known = metrics_by_name()
    check_choice(written, name, known)
    _check_fits(written, name, task, num_outputs)
    if not of_task and re.search("accuracy|auc|f1|f_beta|positives|negatives|precision|recall", name):
        raise ValueError(f"{written} measures classes, but the task is {task}; take r2_score or mean_absolute_error.")
    options: dict[str, Any] = {"name": shown}
    if name in ("f1_score", "f_beta_score"):
        options |= {"average": "macro", "threshold": 0.5 if task == "multilabel" or num_outputs == 1 else None}
    elif name == "auc" and num_outputs > 1:
        options |= {"multi_label": True, "num_labels": num_outputs}
    made = known[name](**options)
    one_hot = _one_hot(name, task, num_outputs)
    activation = _activation(task, num_outputs) if of_task and from_logits and "hinge" not in name else None
    return made if one_hot is None and activation is None else AdaptedMetric(made, one_hot, activation)


@keras.saving.register_keras_serializable("constrained_training")
class AdaptedLoss(keras.losses.Loss):
    """A Keras loss of class numbers and logits, which itself takes one-hot labels or probabilities.

    Args:
      inner: the loss.
      one_hot: classes, 1 for a column of class numbers; None: labels stay as they are.
      activation: applied to the outputs; None: nothing is.
    """

    def __init__(self, inner: keras.losses.Loss, one_hot: int | None, activation: str | None, **settings: Any):
        super().__init__(**{"name": inner.name, "reduction": inner.reduction, **settings})
        self.inner = inner
        self.one_hot = one_hot
        self.activation = activation

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each example."""
        return self.inner.call(*_adapted(y_true, y_pred, self.one_hot, self.activation))

    def get_config(self) -> dict[str, Any]:
        """As Keras saves it."""
        return {**super().get_config(), **_config(self)}

    from_config = classmethod(lambda cls, config: cls(**_from_config(config)))


@keras.saving.register_keras_serializable("constrained_training")
class AdaptedMetric(keras.metrics.Metric):
    """A Keras metric of class numbers and logits, which itself takes one-hot labels or probabilities.

    Args:
      inner: the metric.
      one_hot: as for `AdaptedLoss`.
      activation: as for `AdaptedLoss`.
    """

    def __init__(self, inner: keras.metrics.Metric, one_hot: int | None, activation: str | None, **settings: Any):
        super().__init__(**{"name": inner.name, **settings})
        self.inner = inner
        self.one_hot = one_hot
        self.activation = activation

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch in."""
        y_true, y_pred = _adapted(y_true, y_pred, self.one_hot, self.activation)
        self.inner.update_state(y_true, y_pred, sample_weight=sample_weight)

    def result(self) -> Any:
        """The value over all batches."""
        return self.inner.result()

    def reset_state(self) -> None:
        """Begins anew."""
        self.inner.reset_state()

    def get_config(self) -> dict[str, Any]:
        """As Keras saves it."""
        return {**super().get_config(), **_config(self)}

    from_config = classmethod(lambda cls, config: cls(**_from_config(config)))


def _adapted(y_true: Any, y_pred: Any, one_hot: int | None, activation: str | None) -> tuple[Any, Any]:
    if one_hot == 1:
        y_true = keras.ops.reshape(y_true, (-1, 1))
    elif one_hot is not None:
        y_true = keras.ops.one_hot(keras.ops.cast(y_true, "int32"), one_hot)
    if activation is not None:
        y_pred = getattr(keras.ops, activation)(y_pred)
    return y_true, y_pred


def _config(adapted: Any) -> dict[str, Any]:
    inner = keras.saving.serialize_keras_object(adapted.inner)
    return {"inner": inner, "one_hot": adapted.one_hot, "activation": adapted.activation}


def _from_config(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "inner": keras.saving.deserialize_keras_object(config["inner"])}


def _activation(task: str, num_outputs: int) -> str | None:
    if task not in ("classification", "multilabel"):
        return None
    return "sigmoid" if task == "multilabel" or num_outputs == 1 else "softmax"


def _one_hot(name: str, task: str, num_outputs: int) -> int | None:
    return num_outputs if task == "classification" and not name.startswith("sparse_") else None


def _check_fits(written: str, name: str, task: str, num_outputs: int) -> None:
    """Raises ValueError for a measure of another task."""
    if "categorical" in name and (task not in ("classification", "multilabel") or num_outputs == 1):
        remedy = f"choose binary_{name.split('_')[-1]}" if task == "classification" else "choose another"
        raise ValueError(
            f"{written} compares several classes, but the task has {num_outputs} outputs of {task}; {remedy}."
        )
    if name.startswith("sparse_") and task == "multilabel":
        raise ValueError(f"{written} takes one class for each example, but the task is multilabel; choose another.")
    if task == "regression" and _OF_CLASSES.search(name):
        raise ValueError(f"{written} measures classes, but the task is regression; choose mean_squared_error or huber.")


def _named(module: Any, base: type) -> dict[str, Any]:
    found: dict[str, Callable[..., Any]] = {}
    for kind in vars(module).values():
        if inspect.isclass(kind) and issubclass(kind, base):
            name = re.sub(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()
            needed = [p for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
            if name not in _OTHERS and all(p.kind is p.VAR_KEYWORD for p in needed):
                found[name] = kind
    return dict(sorted(found.items()))
