"""Layers that move numbers to other places: Flatten, Reshape, Permute, RepeatVector."""

from __future__ import annotations

from typing import Any

import numpy as np

from .channels import Blocked, agreed
from .kind import Keep, Kind, Made, last, only


class Flatten(Kind):
    """`keras.layers.Flatten`: a channel becomes one unit for each place."""

    def forward(self, x: Any, *rest: Any, **options: Any) -> Made:
        channels, values = only(x, rest, options)
        last(self.layer)
        if None in x.shape[1:]:
            raise Blocked("the number of places is unknown")
        places = int(np.prod(x.shape[1:-1]))
        return [(np.tile(channels, places), np.tile(values, places))]


class Reshape(Kind):
    """`keras.layers.Reshape`, where the new last axis holds whole multiples of the channels, or divides them evenly."""

    def forward(self, x: Any, *rest: Any, **options: Any) -> Made:
        channels, values = only(x, rest, options)
        new = self.layer.compute_output_shape(x.shape)[-1]
        old = len(channels)
        if new is None or (new % old and old % new):
            raise Blocked(f"it makes {new} channels of {old}, so that a channel moves between them")
        if new >= old:
            made, self.values = np.tile(channels, new // old), np.tile(values, new // old)
        else:
            rows = channels.reshape(-1, new)
            for row in rows[1:]:
                self.flow.channels.join(rows[0], row)
            made, self.values = rows[0], agreed(values.reshape(-1, new))
        # Several calls reshape to one shape, so that they lose the same channels.
        self.read(made)
        self.target = self.source
        return [(made, self.values)]

    def sizes(self, keep: Keep) -> dict[str, Any]:
        return {"target_shape": (*self.layer.target_shape[:-1], int(keep(self.target).sum()))}


class Permute(Kind):
    """`keras.layers.Permute` that leaves the last axis in its place."""

    def forward(self, x: Any, *rest: Any, **options: Any) -> Made:
        channels, values = only(x, rest, options)
        if self.layer.dims[-1] != len(x.shape) - 1:
            raise Blocked("it moves the axis of channels")
        return [(channels, values)]
