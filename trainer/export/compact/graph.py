"""A Keras model as a list of calls, and the way back. The only file here that reads Keras's private names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras


@dataclasses.dataclass(eq=False)
class Tensor:
    """A tensor of the graph; `shape` starts with the batch axis, None where a size is unknown."""

    shape: tuple[int | None, ...]


@dataclasses.dataclass(eq=False)
class Call:
    """One call of a layer or operation; `args` and `kwargs` hold a `Tensor` where the call got one."""

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Tensor]

    def tensors(self) -> list[Tensor]:
        """The tensors that the call takes, in the order of its arguments."""
        return [x for x in keras.tree.flatten((self.args, self.kwargs)) if isinstance(x, Tensor)]


@dataclasses.dataclass(eq=False)
class Graph:
    """A model in the order of its calls, with nested models expanded.

    Attributes:
      name: of the model.
      inputs: each input with the layer that makes it.
      input_structure, output_structure: lists or dictionaries of `Tensor`, as the model takes and returns them.
      calls: every call after those it depends on.
      names: by the id of a layer, a name that no other layer of the graph has.
    """

    name: str
    inputs: list[tuple[Tensor, keras.layers.InputLayer]]
    input_structure: Any
    output_structure: Any
    calls: list[Call]
    names: dict[int, str]

    def outputs(self) -> list[Tensor]:
        """The outputs of the model as a flat list."""
        return keras.tree.flatten(self.output_structure)

    def tied(self) -> set[int]:
        """Ids of layers that share a weight with another layer, such as one that two wrappers hold."""
        owners: dict[int, set[int]] = {}
        for layer in self.layers():
            for variable in layer.variables:
                owners.setdefault(id(variable), set()).add(id(layer))
        return {layer for several in owners.values() if len(several) > 1 for layer in several}

    def layers(self) -> list[keras.layers.Layer]:
        """Each layer once, in the order of first calls."""
        found = {id(call.operation): call.operation for call in self.calls}
        return [operation for operation in found.values() if isinstance(operation, keras.layers.Layer)]


def flatten(model: keras.Model) -> Graph:
    """The calls of a functional or sequential model.

    Raises:
      TypeError: the model is not functional.
      ValueError: the model is sequential and not built.
    """
    if isinstance(model, keras.Sequential) and not model.built:
        raise ValueError(f"Model `{model.name}` is not built; give it an Input, or call it on data once.")
    functional = _functional(model)
    if functional is None:
        raise TypeError(
            f"Model `{model.name}` is a {type(model).__name__}, whose layers cannot be listed; expected a functional "
            "or Sequential model."
        )
    known = {id(x): Tensor(tuple(x.shape)) for x in functional.inputs}
    layers = [(known[id(x)], x._keras_history.operation) for x in functional.inputs]
    calls: list[Call] = []
    prefixes: dict[int, str] = {}
    _expand(functional, known, calls, "", prefixes)
    operations = {id(call.operation): call.operation for call in calls}
    names = {id(layer): layer.name for _, layer in layers}
    # What may be handed on as it is, and so cannot be renamed, comes first.
    for key, operation in sorted(operations.items(), key=lambda item: is_stock(item[1])):
        names[key] = _free(operation.name, prefixes[key], names.values())

    def replaced(structure: Any) -> Any:
        return keras.tree.map_structure(lambda x: known[id(x)], structure)

    return Graph(model.name, layers, replaced(functional.input), replaced(functional.output), calls, names)


def rebuild(graph: Graph, made: Mapping[int, Callable[..., Any]]) -> keras.Model:
    """A functional model of the same calls, in which `made` stands for operations by their id."""
    tensors: dict[Tensor, Any] = {}
    for token, layer in graph.inputs:
        tensors[token] = keras.layers.InputLayer.from_config(layer.get_config()).output

    def replaced(structure: Any) -> Any:
        return keras.tree.map_structure(lambda x: tensors[x] if isinstance(x, Tensor) else x, structure)

    for call in graph.calls:
        operation = made.get(id(call.operation)) or _renamed(call.operation, graph.names[id(call.operation)])
        outputs = operation(*replaced(call.args), **replaced(call.kwargs))
        tensors.update(zip(call.outputs, keras.tree.flatten(outputs), strict=True))
    return keras.Model(replaced(graph.input_structure), replaced(graph.output_structure), name=graph.name)


def is_stock(operation: Any) -> bool:
    """Whether the configuration of a layer of Keras tells everything but its weights; that of a vocabulary does not."""
    kind = type(operation)
    return (
        kind.__module__.startswith("keras.src.layers.")
        and ".preprocessing." not in kind.__module__
        and kind is not keras.layers.Lambda
    )


def _renamed(operation: Any, name: str) -> Any:
    """The operation itself, or another of the name. Keras wants different names within a model."""
    if operation.name == name:
        return operation
    if isinstance(operation, keras.layers.Layer):
        raise ValueError(
            f"Two layers within nested models are named `{operation.name}` and there is no rule to make them again; "
            "give them different names."
        )
    return type(operation).from_config({**operation.get_config(), "name": name})


def _functional(model: Any) -> Any | None:
    """The functional model behind a model; None for a model with a `call` of its own."""
    if type(model) is keras.Sequential:
        return model._functional
    plain = next((kind for kind in type(model).__mro__ if kind.__module__ == "keras.src.models.functional"), None)
    return model if plain is not None and type(model).call is vars(plain)["call"] else None


def _expand(model: Any, known: dict[int, Tensor], calls: list[Call], prefix: str, prefixes: dict[int, str]) -> None:
    """Appends the calls of a functional model; `known` maps its tensors by their id and is extended."""
    depths = model._nodes_by_depth
    for node in (node for depth in sorted(depths, reverse=True) for node in depths[depth]):
        if node.is_input or not node.operation:
            continue
        operation = node.operation
        inner = _functional(operation) if isinstance(operation, keras.Model) else None
        # The layers inside do not record what such an argument says to all of them.
        options = node.arguments.kwargs
        if options.get("training") or any(x is not None for x in keras.tree.flatten(options.get("mask"))):
            inner = None
        inputs = _inner_inputs(inner, node) if inner is not None else None
        if inner is not None and inputs is not None:
            # Each call of a nested model gets tensors of its own.
            below = {id(own): known[id(given)] for own, given in zip(inner.inputs, inputs, strict=True)}
            _expand(inner, below, calls, f"{prefix}{operation.name}_", prefixes)
            known.update(zip(map(id, node.outputs), (below[id(x)] for x in inner.outputs), strict=True))
            continue
        prefixes.setdefault(id(operation), prefix)
        args, kwargs = node.arguments.fill_in(known)
        outputs = [Tensor(tuple(x.shape)) for x in node.outputs]
        known.update(zip(map(id, node.outputs), outputs, strict=True))
        calls.append(Call(operation, tuple(args), dict(kwargs), outputs))


def _inner_inputs(inner: Any, node: Any) -> list[Any] | None:
    """What a nested model is called on, in the order of its inputs; None where Keras would convert it first."""
    given = node.arguments.args[0] if node.arguments.args else node.arguments.kwargs.get("inputs")
    try:
        keras.tree.assert_same_structure(given, inner.input)
    except (TypeError, ValueError):
        return None
    flat = keras.tree.flatten(given)
    same = all(
        keras.backend.is_keras_tensor(x) and x.dtype == own.dtype and len(x.shape) == len(own.shape)
        for x, own in zip(flat, inner.inputs, strict=True)
    )
    return flat if same else None


def _free(name: str, prefix: str, taken: Iterable[str]) -> str:
    """The name itself, or one with the models around it, or one with a number, whichever is free first."""
    used = set(taken)
    candidates = [name, prefix + name]
    return next((one for one in candidates if one not in used), None) or next(
        one for i in range(1, len(used) + 2) if (one := f"{prefix}{name}_{i}") not in used
    )
