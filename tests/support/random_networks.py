"""Small random networks of stock Keras layers with units, rows, heads and scales set to zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

layers = keras.layers
_ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid", "gelu", "elu", "softplus", "silu", "softmax")


class Networks:
    """Makes models from one random generator; every choice below is one of a few that Keras accepts."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def model(self, steps: int = 7) -> keras.Model:
        """A functional model with one or two inputs and one or two outputs."""
        inputs = [self._input()]
        if self._maybe(0.2):
            inputs.append(self._input())
        ends = [self._run(x, steps) for x in inputs]
        ends = [self._vector(x) for x in ends]
        x = layers.Concatenate()(ends) if len(ends) > 1 else ends[0]
        outputs = [layers.Dense(3)(x)]
        if self._maybe(0.3):
            outputs.append(layers.Dense(2, activation="tanh")(layers.Dense(4, activation="relu")(x)))
        model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0])
        self.zero(model)
        return model

    def data(self, model: keras.Model, number: int = 5) -> Any:
        """Random inputs of the model."""
        made = [
            self.random.integers(0, 6, (number, *x.shape[1:])).astype("int32")
            if "int" in x.dtype
            else self.random.normal(size=(number, *x.shape[1:])).astype("float32")
            for x in model.inputs
        ]
        return made if len(made) > 1 else made[0]

    def zero(self, model: keras.Model) -> None:
        """Sets random weights, some of them to zero by whole units and rows."""
        for weight in model.weights:
            weight.assign(self._weight(weight.path.split("/")[-1], tuple(weight.shape)))

    def _weight(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        draw = self.random.normal(size=shape) * 0.5
        if name == "moving_variance":
            return np.abs(draw) + 0.3
        if name in ("gamma", "scale", "beta", "bias", "moving_mean", "alpha"):
            return np.where(self.random.random(shape) < 0.5, 0.0, draw) if self._maybe(0.8) else np.zeros(shape)
        for axis in range(max(0, len(shape) - 3), len(shape)):
            if self._maybe(0.7):
                rows = self.random.random(shape[axis]) < 0.4
                draw = np.moveaxis(draw, axis, 0)
                draw[rows] = 0.0
                draw = np.moveaxis(draw, 0, axis)
        if "kernel" in name and shape[-1] % 12 == 0:
            # The same unit in each gate.
            draw[..., self.random.integers(4) :: 4] = 0.0
        return draw

    def _maybe(self, probability: float) -> bool:
        return bool(self.random.random() < probability)

    def _one(self, choices: Any) -> Any:
        return choices[self.random.integers(len(choices))]

    def _input(self) -> Any:
        if self._maybe(0.15):
            return keras.Input((5,), dtype="int32")
        return keras.Input(self._one([(6,), (5, 4), (6, 6, 3), (6, 6, 4)]))

    def _run(self, x: Any, steps: int) -> Any:
        if "int" in x.dtype:
            x = layers.Embedding(6, self._width(), mask_zero=self._maybe(0.3))(x)
        for _ in range(steps):
            x = self._step(x)
        return x

    def _width(self) -> int:
        return int(self._one([4, 6, 8]))

    def _step(self, x: Any) -> Any:
        kinds = {2: self._of_vector, 3: self._of_sequence, 4: self._of_image}[len(x.shape)]
        return self._one(self._of_any() if self._maybe(0.5) else kinds())(x)

    def _vector(self, x: Any) -> Any:
        if len(x.shape) == 2:
            return x
        if self._maybe(0.5):
            return layers.Flatten()(x)
        return (layers.GlobalAveragePooling1D if len(x.shape) == 3 else layers.GlobalMaxPooling2D)()(x)

    def _act(self) -> Any:
        return self._one(_ACTIVATIONS)

    def _of_any(self) -> list[Callable[[Any], Any]]:
        return [
            lambda x: layers.Dense(self._width(), activation=self._act(), use_bias=self._maybe(0.6))(x),
            lambda x: layers.BatchNormalization(scale=self._maybe(0.8), center=self._maybe(0.8))(x),
            lambda x: self._one(
                [
                    layers.ReLU(max_value=1.5),
                    layers.LeakyReLU(),
                    layers.ELU(),
                    layers.PReLU(),
                    layers.Activation("tanh"),
                ]
            )(x),
            lambda x: self._one(
                [layers.Dropout(0.5), layers.GaussianNoise(0.1), layers.Rescaling(0.5, 0.25), layers.Identity()]
            )(x),
            self._residual,
            self._residual,
            lambda x: layers.Concatenate()([x, layers.Dense(self._width(), activation="relu")(x)]),
            # Keras 3.15 turns round the sizes under an ellipsis.
            lambda x: (
                layers.EinsumDense("...x,xy->...y", 4, bias_axes=self._one([None, "y"]))(x)
                if len(x.shape) < 4 or x.shape[1] == x.shape[2]
                else x
            ),
            lambda x: self._one([layers.LayerNormalization(), layers.RMSNormalization(), layers.UnitNormalization()])(
                x
            ),
            self._nested,
            self._shared,
            self._strange,
            lambda x: x + layers.Dense(x.shape[-1])(x),
        ]

    def _of_vector(self) -> list[Callable[[Any], Any]]:
        return [
            lambda x: layers.RepeatVector(3)(x),
            lambda x: layers.Reshape((x.shape[-1] // 2, 2))(x) if x.shape[-1] % 2 == 0 else x,
            lambda x: layers.Dense(self._width(), activation="relu")(x),
        ]

    def _of_sequence(self) -> list[Callable[[Any], Any]]:
        def recurrent(x: Any) -> Any:
            cell = self._one([layers.SimpleRNN, layers.LSTM, layers.GRU, layers.LSTM])
            options: dict[str, Any] = {"return_sequences": self._maybe(0.6), "use_bias": self._maybe(0.7)}
            if cell is layers.GRU:
                options["reset_after"] = self._maybe(0.5)
            made = cell(4, **options)
            if self._maybe(0.3):
                made = layers.Bidirectional(made, merge_mode=self._one(["concat", "sum", "mul", "ave"]))
            return made(x)

        def states(x: Any) -> Any:
            _, *state = layers.LSTM(4, return_state=True)(x)
            return layers.LSTM(4, return_sequences=True)(x, initial_state=state)

        def attention(x: Any) -> Any:
            made = layers.MultiHeadAttention(4, 3, value_dim=2, use_bias=self._maybe(0.7))
            return made(x, x, use_causal_mask=self._maybe(0.3))

        return [
            recurrent,
            recurrent,
            states,
            attention,
            attention,
            lambda x: layers.Conv1D(
                self._width(),
                self._one([1, 2]) if x.shape[1] > 1 else 1,
                padding=self._one(["same", "causal", "valid"]),
                activation=self._act(),
            )(x),
            lambda x: layers.TimeDistributed(layers.Dense(self._width(), activation="relu"))(x),
            lambda x: self._one([layers.MaxPooling1D, layers.AveragePooling1D])(2, padding="same")(x),
            lambda x: layers.ZeroPadding1D(1)(x),
            lambda x: layers.Flatten()(x),
            lambda x: layers.GlobalAveragePooling1D()(x),
            lambda x: layers.Permute((2, 1))(x),
            lambda x: layers.SeparableConv1D(self._width(), 1, depth_multiplier=2)(x),
        ]

    def _of_image(self) -> list[Callable[[Any], Any]]:
        def convolution(x: Any) -> Any:
            groups = 2 if x.shape[-1] % 2 == 0 and self._maybe(0.4) else 1
            size = self._one([1, 2, 3])
            return layers.Conv2D(
                self._width(),
                size,
                padding="same" if min(x.shape[1:3]) < 3 else self._one(["same", "valid"]),
                groups=groups,
                use_bias=self._maybe(0.6),
                activation=self._act(),
            )(x)

        def gated(x: Any) -> Any:
            y = layers.GlobalAveragePooling2D(keepdims=True)(x)
            y = layers.Dense(4, activation="relu")(y)
            return layers.Multiply()([x, layers.Dense(x.shape[-1], activation="sigmoid")(y)])

        return [
            convolution,
            convolution,
            convolution,
            gated,
            lambda x: layers.DepthwiseConv2D(
                2, depth_multiplier=self._one([1, 2]), padding=self._one(["same"]), activation="relu"
            )(x),
            lambda x: layers.DepthwiseConv2D(1, use_bias=self._maybe(0.5))(x),
            lambda x: layers.SeparableConv2D(self._width(), 2, padding="same", use_bias=self._maybe(0.5))(x),
            lambda x: (
                layers.Conv2DTranspose(self._width(), 2, strides=self._one([1, 2]), use_bias=self._maybe(0.5))(x)
                if x.shape[1] < 9
                else x
            ),
            lambda x: self._one([layers.MaxPooling2D, layers.AveragePooling2D])(2, padding="same")(x),
            lambda x: layers.ZeroPadding2D(1)(x),
            lambda x: layers.Cropping2D(((1, 0), (0, 0)))(x) if x.shape[1] > 1 else x,
            lambda x: layers.UpSampling2D(2)(x) if x.shape[1] < 7 else x,
            lambda x: layers.Reshape((-1, x.shape[-1]))(x),
            lambda x: layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x),
            lambda x: layers.Permute((2, 1, 3))(x),
            lambda x: layers.TimeDistributed(layers.Conv1D(self._width(), 1, activation="relu"))(x),
            lambda x: layers.GroupNormalization(1)(x),
            lambda x: layers.EinsumDense("bhwc,cd->bhwd", (*x.shape[1:3], 4), bias_axes=self._one(["hwd", "d"]))(x),
            lambda x: layers.Flatten()(x),
        ]

    def _residual(self, x: Any) -> Any:
        y = layers.Dense(self._width(), activation="relu")(x)
        y = layers.Dense(x.shape[-1])(y)
        merge = self._one([layers.Add, layers.Add, layers.Subtract, layers.Multiply, layers.Maximum, layers.Average])
        x = layers.Dense(x.shape[-1], use_bias=self._maybe(0.5))(x) if self._maybe(0.5) else x
        return merge()([x, y])

    def _nested(self, x: Any) -> Any:
        inputs = keras.Input(x.shape[1:])
        y = layers.Dense(self._width(), activation="relu", name="inside")(inputs)
        if self._maybe(0.5):
            inner = keras.Sequential([keras.Input(x.shape[1:]), layers.Dense(4, name="inside"), layers.ReLU()])
        else:
            inner = keras.Model(inputs, layers.Dense(x.shape[-1])(y))
        made = inner(x)
        return inner(made) if made.shape == x.shape and self._maybe(0.5) else made

    def _shared(self, x: Any) -> Any:
        shared = layers.Dense(x.shape[-1], activation="relu")
        return shared(shared(x)) if self._maybe(0.5) else layers.Concatenate()([shared(x), shared(layers.ReLU()(x))])

    def _strange(self, x: Any) -> Any:
        return layers.Lambda(lambda y: y * 2.0 + keras.ops.roll(y, 1, axis=-1))(x) if self._maybe(0.3) else x
