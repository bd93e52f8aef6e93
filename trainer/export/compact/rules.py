"""Which rule follows channels through which layer."""

from __future__ import annotations

from typing import Any

import keras

from . import attention, convolution, elementwise, linear, merging, recurrent, reshaping, wrappers
from .flow import Flow
from .kind import Kind, Unknown

# Exactly these classes: a subclass may compute anything. A name that this Keras lacks is passed over.
_NAMES: dict[type[Kind], tuple[str, ...]] = {
    linear.Dense: ("Dense",),
    linear.EinsumDense: ("EinsumDense",),
    linear.Embedding: ("Embedding",),
    convolution.Convolution: ("Conv1D", "Conv2D", "Conv3D"),
    convolution.Transposed: ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    convolution.Depthwise: ("DepthwiseConv1D", "DepthwiseConv2D"),
    convolution.Separable: ("SeparableConv1D", "SeparableConv2D"),
    elementwise.Same: (
        *("Identity", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout"),
        *("GaussianDropout", "GaussianNoise", "ActivityRegularization", "RepeatVector"),
        *("MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D"),
        *("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D"),
        *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D"),
        *("AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D"),
        *("AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D"),
        *("Cropping1D", "Cropping2D", "Cropping3D", "UpSampling1D", "UpSampling2D", "UpSampling3D"),
    ),
    elementwise.ZeroPadding: ("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"),
    elementwise.Activation: ("Activation",),
    elementwise.Function: ("ReLU", "LeakyReLU", "ELU"),
    elementwise.PReLU: ("PReLU",),
    elementwise.Rescaling: ("Rescaling",),
    elementwise.BatchNormalization: ("BatchNormalization",),
    merging.Add: ("Add",),
    merging.Subtract: ("Subtract",),
    merging.Average: ("Average",),
    merging.Maximum: ("Maximum",),
    merging.Minimum: ("Minimum",),
    merging.Multiply: ("Multiply",),
    merging.Concatenate: ("Concatenate",),
    reshaping.Flatten: ("Flatten",),
    reshaping.Reshape: ("Reshape",),
    reshaping.Permute: ("Permute",),
    recurrent.Recurrent: ("SimpleRNN", "LSTM", "GRU"),
    recurrent.Bidirectional: ("Bidirectional",),
    attention.MultiHeadAttention: ("MultiHeadAttention",),
}
RULES: dict[Any, type[Kind]] = {
    getattr(keras.layers, name): kind for kind, names in _NAMES.items() for name in names if hasattr(keras.layers, name)
}
# `x + y` in a functional model is an operation, which is no layer.
_OPERATIONS: dict[str, type[Kind]] = {
    "Add": merging.Add,
    "Subtract": merging.Subtract,
    "Multiply": merging.Multiply,
    "Maximum": merging.Maximum,
    "Minimum": merging.Minimum,
    **dict.fromkeys(
        (
            *("Relu", "Relu6", "Sigmoid", "Silu", "Softplus", "Softsign", "LeakyRelu", "HardSigmoid", "HardSilu"),
            *("Elu", "Selu", "Celu", "Gelu", "Tanh", "Abs", "Negative", "Square"),
        ),
        elementwise.Function,
    ),
}
_REASONS = {
    **dict.fromkeys(
        ("LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization"),
        "it normalises over channels, so that each depends on all",
    ),
    "Softmax": "it divides by a sum over channels",
    "Masking": "it looks at all channels to find the steps to skip",
    "Normalization": "it holds statistics for each channel of the data",
    "Dot": "it multiplies channels with each other",
}


def kind_of(operation: Any, name: str, flow: Flow) -> Kind:
    """The rule for a layer or operation."""
    if id(operation) in flow.tied:
        return Unknown(operation, name, flow, "it shares weights with another layer")
    if type(operation) is keras.layers.TimeDistributed:
        return wrappers.TimeDistributed(operation, name, flow, kind_of(operation.layer, name, flow))
    if type(operation) in RULES:
        return RULES[type(operation)](operation, name, flow)
    own = type(operation).__name__
    if type(operation).__module__.startswith("keras.src.ops.") and own in _OPERATIONS:
        return _OPERATIONS[own](operation, name, flow)
    stock = type(operation).__module__.startswith("keras.")
    return Unknown(operation, name, flow, _REASONS.get(own) if stock else None)
