"""TimeDistributed: the layer inside sees one step, and channels are the same for all steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from .channels import Blocked, Fact
from .kind import Keep, Kind, Made, Unknown, clone, only


class TimeDistributed(Kind):
    """`keras.layers.TimeDistributed` around a layer that there is a rule for."""

    def __init__(self, layer: Any, name: str, flow: Any, inner: Kind) -> None:
        super().__init__(layer, name, flow)
        self._inner = inner

    def forward(self, x: Any, *rest: Any, **options: Any) -> Made:
        if isinstance(self._inner, Unknown):
            self._inner.forward()
        channels, values = only(x, rest, options)
        made = self._inner.forward(Fact((x.shape[0], *x.shape[2:]), channels, values))
        if len(made) != 1:
            raise Blocked("the layer inside makes several tensors")
        return made

    def own(self) -> list[np.ndarray]:
        return self._inner.own()

    def unbalanced(self, keep: Keep) -> Iterable[np.ndarray]:
        self.balance = self._inner.balance
        return self._inner.unbalanced(keep)

    def report(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        return self._inner.report()

    def made(self, keep: Keep) -> tuple[keras.layers.Layer, list[np.ndarray]]:
        inner, arrays = self._inner.made(keep)
        config = keras.saving.serialize_keras_object(inner)
        config["config"]["name"] = self._inner.layer.name
        return clone(self.layer, name=self.name, layer=config), arrays
