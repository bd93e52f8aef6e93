"""What every kind of layer shares: following channels forward, and being made again with fewer of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from .channels import Blocked, Fact
from .flow import Flow, Use
from .graph import is_stock

# The channels and values of each output, and what is framed; None where nothing can be said.
Made = list[tuple[Any, ...]]
Keep = Callable[[np.ndarray], np.ndarray]


class Kind:
    """One layer of the model.

    Attributes:
      layer, name, flow: the layer, its name in the new model, and what is known of the model.
      source, target: channels that it reads and makes; empty before its first call.
      values: what it makes in its last call.
      noun: what `target` counts.
      balance: the reason why `unbalanced` channels stay.
    """

    noun = "units"
    balance = ""
    # Whether a blocking layer makes as many channels as it reads, each mostly of the same one.
    aligned = False

    def __init__(self, layer: Any, name: str, flow: Flow) -> None:
        self.layer = layer
        self.name = name
        self.flow = flow
        self.source = self.target = np.zeros(0, dtype=np.int64)
        self.values = np.zeros(0)

    def forward(self, *args: Any, **kwargs: Any) -> Made:
        """Returns the channels and values of each output, for arguments that hold a `Fact` for each tensor.

        Raises:
          Blocked: channels cannot be followed through this layer.
        """
        raise NotImplementedError

    def own(self) -> list[np.ndarray]:
        """Axes of the layer that must not become empty."""
        return [channels for channels in (self.source, self.target) if len(channels)]

    def unbalanced(self, keep: Keep) -> Iterable[np.ndarray]:
        """Channels that stay because of others that stay."""
        return ()

    def sizes(self, keep: Keep) -> dict[str, Any]:
        """Entries of the layer's configuration that change."""
        return {}

    def arrays(self, keep: Keep) -> list[np.ndarray]:
        """The weights of the new layer in the layer's order."""
        return []

    def made(self, keep: Keep) -> tuple[keras.layers.Layer, list[np.ndarray]]:
        """The layer with the channels that stay, and its weights."""
        return clone(self.layer, name=self.name, **self.sizes(keep)), self.arrays(keep)

    def report(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """What the layer has: a noun, the channels and their values."""
        return [(self.noun, self.target, self.values)] if getattr(self.layer, "weights", None) else []

    def new(self, number: int) -> np.ndarray:
        """Channels of its own."""
        return self.flow.channels.new(number)

    def read(self, channels: np.ndarray) -> bool:
        """Notes what the layer reads; True in its first call. Later calls read through the same weights."""
        if not len(self.source):
            self.source = channels
            return True
        self.flow.channels.join(self.source, channels)
        return False

    def use(self, *args: Any, **kwargs: Any) -> Use:
        """Adds a way in which the layer reads channels."""
        use = Use(*args, **kwargs)
        self.flow.uses.append(use)
        return use


class Unknown(Kind):
    """A layer or operation that there is no rule for."""

    def __init__(self, layer: Any, name: str, flow: Flow, reason: str | None = None) -> None:
        super().__init__(layer, name, flow)
        self.aligned = "Normalization" in type(layer).__name__
        self._reason = reason or f"there is no rule for {type(layer).__name__}"

    def forward(self, *args: Any, **kwargs: Any) -> Made:
        raise Blocked(self._reason)


def only(x: Any, rest: tuple[Any, ...], options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The channels and values of the one tensor that a layer takes beside masks."""
    others = keras.tree.flatten([rest, [value for key, value in options.items() if not key.endswith("mask")]])
    if not isinstance(x, Fact) or any(isinstance(other, Fact) for other in others):
        raise Blocked("it is called on something else than one tensor")
    return x.known


def last(layer: Any) -> None:
    """Checks that channels are the last axis."""
    if getattr(layer, "data_format", None) == "channels_first":
        raise Blocked("its channels are not the last axis (channels_first)")


def plain(layer: Any) -> None:
    """Checks that the layer's weights are the ones it computes with."""
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        raise Blocked("its weights are quantised or have a LoRA part")


def numpy(variable: Any) -> np.ndarray:
    """A weight as an array."""
    return keras.ops.convert_to_numpy(variable)


def sliced(array: np.ndarray, axes: Iterable[np.ndarray | None], keep: Keep) -> np.ndarray:
    """The part of an array whose channels stay; `axes` names the channels of each axis, None for other axes."""
    for axis, channels in enumerate(axes):
        if channels is not None:
            array = np.compress(keep(channels), array, axis=axis)
    return array


def clone(layer: Any, /, **changes: Any) -> keras.layers.Layer:
    """A stock layer made again, without the initialisers, regularizers and constraints of other packages.

    The weights are trained, so that these have done their work, and a process without the package loads the model.
    """
    config = {key: value for key, value in layer.get_config().items() if not _foreign(key, value)}
    return type(layer).from_config({**config, **changes})


def copied(layer: keras.layers.Layer, name: str) -> keras.layers.Layer | None:
    """The layer made again; None where its configuration does not tell everything, so that it is used itself."""
    if not is_stock(layer):
        return None
    try:
        return clone(layer, name=name)
    except (TypeError, ValueError):
        # A wrapper around a layer of another package.
        return None


def _foreign(key: str, value: Any) -> bool:
    if not key.endswith(("_initializer", "_constraint", "_regularizer")) or not isinstance(value, dict):
        return False
    return value.get("registered_name") is not None or not str(value.get("module")).startswith("keras.")
