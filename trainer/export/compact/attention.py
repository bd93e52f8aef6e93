"""MultiHeadAttention: heads that add nothing, or a constant, go."""

from __future__ import annotations

from typing import Any

import numpy as np

from .channels import Blocked, Fact
from .kind import Keep, Kind, Made, numpy, plain, sliced


class MultiHeadAttention(Kind):
    """`keras.layers.MultiHeadAttention`; the sizes of queries, keys and values within a head stay.

    The weights of attention sum to 1, so that a head whose values are one constant adds a constant, as long as nothing
    is masked: where everything is masked, Keras makes the weights 0.
    """

    def forward(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        *rest: Any,
        return_attention_scores: bool = False,
        **options: Any,
    ) -> Made:
        layer = self.layer
        shape = layer.get_config()["output_shape"]
        plain(layer)
        if layer.get_config().get("use_gate"):
            raise Blocked("its gate multiplies the heads")
        if shape is not None and len(shape) != 1:
            raise Blocked("its output has several axes")
        if any(argument is not None for argument in rest):
            raise Blocked("its masks are given by place, not by name")
        facts = {"query": query, "key": value if key is None else key, "value": value}
        if not all(isinstance(fact, Fact) for fact in facts.values()):
            raise Blocked("it is called on something else than tensors")
        known = {name: fact.known for name, fact in facts.items()}
        into = numpy(layer.output_dense.kernel)
        if not len(self.source):
            self._start(known, into)
        for name, (channels, values) in known.items():
            self.flow.channels.join(self._sources[name], channels)
            self._reads[name].values.append(values)
        masks = [option for name, option in options.items() if "mask" in name]
        masked = bool(layer.get_config().get("sliding_window")) or any(x is not None and x is not False for x in masks)
        constants = self._constants(known["value"][1], masked)
        self._vectors.append(constants)
        # A head that makes different constants in two calls cannot be folded into the one bias of both.
        foldable = ~np.isnan(constants).any(axis=1) & (constants == self._vectors[0]).all(axis=1)
        heads = np.where(foldable, 0.0, np.nan)
        self._writes.values.append(heads)
        live = (into[np.isnan(heads)] != 0).any(axis=(0, 1))
        bias = numpy(layer.output_dense.bias).astype(np.float64) if layer.use_bias else 0.0
        sums = np.einsum("hd,hdo->o", np.nan_to_num(constants), into.astype(np.float64)) + bias
        self.values = np.where(live, np.nan, sums)
        made: Made = [(self.target, self.values)]
        if return_attention_scores:
            nothing = np.full(len(self.heads), np.nan)
            self.flow.pin(
                Fact((), self.heads, nothing), f"`{self.name}`: it returns the scores of all heads", blocks=True
            )
            made.append((None, None))
        return made

    def _start(self, known: dict[str, tuple[np.ndarray, np.ndarray]], into: np.ndarray) -> None:
        layer = self.layer
        self.source = known["query"][0]
        self.heads = self.new(layer.num_heads)
        self.target = self.new(into.shape[-1])
        self._sources = {name: channels for name, (channels, _) in known.items()}
        self._dense = {"query": layer.query_dense, "key": layer.key_dense, "value": layer.value_dense}
        why = f"`{self.name}`: it has no bias to fold a constant into"
        self._reads = {
            name: self.use(self._sources[name], self.heads, (numpy(dense.kernel) != 0).any(axis=2), layer.use_bias, why)
            for name, dense in self._dense.items()
        }
        self._writes = self.use(self.heads, self.target, (into != 0).any(axis=1))
        self._vectors: list[np.ndarray] = []

    def _constants(self, values: np.ndarray, masked: bool) -> np.ndarray:
        """For each head the vector [value_dim] that it makes of every input; NaN where there is none to fold."""
        dense = self.layer.value_dense
        kernel = numpy(dense.kernel)
        usable = self._reads["value"].usable(values)
        vectors = np.einsum("c,chd->hd", np.where(usable, values, 0.0), kernel.astype(np.float64))
        if self.layer.use_bias:
            vectors = vectors + numpy(dense.bias)
        live = (kernel[~usable] != 0).any(axis=(0, 2))
        unfoldable = live | ((vectors != 0).any(axis=1) & (masked or not self.layer.use_bias))
        return np.where(unfoldable[:, None], np.nan, vectors)

    def own(self) -> list[np.ndarray]:
        return [*self._sources.values(), self.heads, self.target] if len(self.target) else []

    def sizes(self, keep: Keep) -> dict[str, Any]:
        return {"num_heads": int(keep(self.heads).sum()), "output_shape": (int(keep(self.target).sum()),)}

    def arrays(self, keep: Keep) -> list[np.ndarray]:
        new = []
        for name, dense in self._dense.items():
            kernel = numpy(dense.kernel)
            new.append(sliced(kernel, (self._sources[name], self.heads, None), keep))
            if self.layer.use_bias:
                constant = self._reads[name].constant()
                gone = ~keep(self._sources[name]) & self._reads[name].usable(constant)
                folded = np.einsum("c,chd->hd", np.where(gone, constant, 0.0), kernel.astype(np.float64))
                bias = (numpy(dense.bias) + folded).astype(kernel.dtype)
                new.append(sliced(bias, (self.heads, None), keep))
        into = numpy(self.layer.output_dense.kernel)
        new.append(sliced(into, (self.heads, None, self.target), keep))
        if self.layer.use_bias:
            gone = ~keep(self.heads) & ~np.isnan(self._vectors[0]).any(axis=1)
            vectors = np.where(gone[:, None], self._vectors[0], 0.0)
            bias = numpy(self.layer.output_dense.bias) + np.einsum("hd,hdo->o", vectors, into.astype(np.float64))
            new.append(sliced(bias.astype(into.dtype), (self.target,), keep))
        return new

    def report(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        return [("heads", self.heads, self._writes.constant()), ("units", self.target, self.values)]
