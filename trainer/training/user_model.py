"""`--model=FILE.keras`: a network that was built elsewhere, with its weights, checked against the data and the task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from ..packages import models
from ..runtime.keras_internals import every_layer, producer
from ..settings import user_files
from . import keras_files

FLAG = "--model"
_ADVICE = "choose data that fit the network, or a network that fits the data"

# Layers that hand probabilities on as probabilities.
_PASSING: tuple[str, ...] = ("Average", "Dropout", "Flatten", "Identity", "Permute", "Reshape")
_PASSING += ("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D")
_ENDINGS = {"softmax": "softmax", "sigmoid": "sigmoid", "hardsigmoid": "sigmoid"}


def load(
    path: str, input_shape: Sequence[int] | models.Tokens, num_outputs: int, task_name: str
) -> tuple[keras.Model, bool]:
    """Loads a network to train on, in the scope of the present strategy.

    Constraints that its layers carry are taken off, because the command's rules say what weights obey; see `notes`.

    Args:
      path: the file, as the user wrote it.
      input_shape: of one example; `models.Tokens` for text.
      num_outputs: numbers that the task needs for each example; 1 for two classes, which may have an output each.
      task_name: classification, multilabel, regression or reconstruction.

    Returns:
      The model, not compiled, and whether its outputs are logits: False where they are probabilities already, after a
      softmax or sigmoid.

    Raises:
      ValueError: the file is refused by `keras_files.read`, or does not fit the data or the task.
    """
    where = f"{FLAG}={user_files.shown(path)}"
    model = keras_files.read(path, FLAG)
    if not model.built or not isinstance(model.outputs, list):
        raise ValueError(f"{where} was saved before it was built; give it a keras.Input and save it again.")
    if not model.trainable_variables:
        raise ValueError(f"{where} has no trainable weights; set trainable = True and save it again.")
    _check_input(model, input_shape, where)
    ending = _check_output(model, num_outputs, task_name, where)
    for layer in every_layer(model):
        for name in [name for name in vars(layer) if name.endswith("constraint")]:
            setattr(layer, name, None)
    for variable in model.variables:
        variable.constraint = None
    return model, ending == "logits"


def notes(path: str) -> tuple[str, ...]:
    """What the user should know of a file that `load` takes, a sentence each."""
    where = f"{FLAG}={user_files.shown(path)}"
    told = []
    objects = list(keras_files.objects(keras_files.config(path, FLAG)))
    constrained = [
        str(entry["config"].get("name"))
        for entry in objects
        if isinstance(entry["config"], dict)
        and any(name.endswith("constraint") and value for name, value in entry["config"].items())
    ]
    if constrained:
        told.append(
            f"{where}: the constraints of {', '.join(dict.fromkeys(constrained))} are taken off, because --constraint "
            "and --rules say what weights obey."
        )
    scales = [entry["config"].get("scale") for entry in objects if entry["class_name"] == "Rescaling"]
    if any(isinstance(scale, float) and scale < 0.1 for scale in scales):
        told.append(
            f"{where} rescales what it reads; images come to it in [0, 1] already, so a layer Rescaling(1 / 255) would "
            "make them nearly black."
        )
    return tuple(told)


def fingerprint(path: str) -> str:
    """Changes whenever the file does; part of a run's identity."""
    return keras_files.fingerprint(path, FLAG)


def _check_input(model: keras.Model, input_shape: Sequence[int] | models.Tokens, where: str) -> None:
    if len(model.inputs) != 1:
        names = ", ".join(tensor.name for tensor in model.inputs)
        raise ValueError(f"{where} has {len(model.inputs)} inputs ({names}), and the data have one; {_ADVICE}.")
    (tensor,) = model.inputs
    batch, *sizes = tensor.shape
    if batch is not None:
        raise ValueError(f"{where} takes batches of {batch} alone; save it with a batch axis of any size (None).")
    kind = keras.backend.standardize_dtype(tensor.dtype)
    if isinstance(input_shape, models.Tokens):
        embeddings = [layer for layer in every_layer(model) if isinstance(layer, keras.layers.Embedding)]
        data = f"the data are texts of {input_shape.length} token ids"
        # Keras casts ids that a float input hands to an embedding back to whole numbers.
        if not (kind.startswith(("int", "uint")) or (kind.startswith("float") and embeddings)):
            raise ValueError(f"{where} reads {kind} of shape {tuple(sizes)}, and {data}; {_ADVICE}.")
        known = max((layer.input_dim for layer in embeddings), default=input_shape.vocabulary_size)
        if known < input_shape.vocabulary_size:
            raise ValueError(
                f"{where} knows {known:,} token ids, and the data have {input_shape.vocabulary_size:,}; use "
                f"--vocabulary_size={known}, or another file."
            )
        shape: tuple[int, ...] = (input_shape.length,)
    else:
        shape = tuple(input_shape)
        data = f"an example of the data is float32 of shape {shape}"
        if not kind.startswith(("float", "bfloat")):
            raw = "to begin with a run, whose model.keras takes raw examples, name its directory by --init_from"
            advice = raw if kind in ("uint8", "string") else _ADVICE
            raise ValueError(f"{where} reads {kind} of shape {tuple(sizes)}, and {data}; {advice}.")
    if not any(_fits(sizes, candidate) for candidate in _ranks(shape, sizes)):
        raise ValueError(f"{where} reads {kind} of shape {tuple(sizes)}, and {data}; {_ADVICE}.")


def _ranks(shape: tuple[int, ...], sizes: Sequence[int | None]) -> Iterator[tuple[int, ...]]:
    """The shape, and what Keras's functional models make of it: a last axis of 1 comes and goes."""
    yield shape
    if shape and shape[-1] == 1:
        yield shape[:-1]
    if sizes and sizes[-1] == 1:
        yield (*shape, 1)


def _fits(sizes: Sequence[int | None], shape: Sequence[int]) -> bool:
    return len(sizes) == len(shape) and all(size in (None, given) for size, given in zip(sizes, shape, strict=True))


def gives_logits(model: keras.Model) -> bool:
    """Whether a model ends in logits; False for probabilities, and for a model whose layers are not known."""
    try:
        return _ending(model.outputs[0]) == "logits"
    except (AttributeError, IndexError, TypeError):
        return False


def _check_output(model: keras.Model, num_outputs: int, task_name: str, where: str) -> str:
    """What the network's outputs are: "logits", "softmax" or "sigmoid"."""
    if len(model.outputs) != 1:
        raise ValueError(f"{where} has {len(model.outputs)} outputs, and the task {task_name} takes one; {_ADVICE}.")
    shape = tuple(model.outputs[0].shape[1:])
    two_classes = task_name == "classification" and num_outputs == 1
    if shape != (num_outputs,) and not (two_classes and shape == (2,)):
        flat = " (end the network in a Flatten layer)" if len(shape) > 1 else ""
        raise ValueError(
            f"{where} has outputs of shape {shape}, and {task_name} of these data takes ({num_outputs},)"
            f"{' or (2,)' if two_classes else flat}; {_ADVICE}."
        )
    num_outputs = shape[0]
    ending = _ending(model.outputs[0])
    if ending == "softmax" and (num_outputs == 1 or task_name == "multilabel"):
        reason = "which is 1 for every example" if num_outputs == 1 else "where labels exclude each other"
        raise ValueError(f"{where} ends in a softmax over {num_outputs} outputs, {reason}; end it in a sigmoid.")
    if ending == "sigmoid" and num_outputs > 1 and task_name == "classification":
        raise ValueError(
            f"{where} ends in a sigmoid for each of {num_outputs} classes, which do not exclude each other; end it in "
            "a softmax, or say --task=multilabel."
        )
    return ending


def _ending(tensor: Any) -> str:
    """What made an output: "softmax", "sigmoid" or "logits", looked for through nested models and reshaping layers."""
    operation, inputs, place = producer(tensor)
    if isinstance(operation, keras.Model):
        return _ending(operation.outputs[place])
    activation = getattr(operation, "activation", None)
    kind = type(operation).__name__
    linear = isinstance(operation, keras.layers.Activation) and activation is keras.activations.linear
    if inputs and (kind in _PASSING or linear):
        endings = {_ending(one) for one in inputs}
        return endings.pop() if len(endings) == 1 else "logits"
    name = kind if activation is None else getattr(activation, "__name__", type(activation).__name__)
    return _ENDINGS.get(name.lower().replace("_", ""), "logits")
