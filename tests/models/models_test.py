"""Laws that hold for every model, and what each architecture is made of."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from tests.support.suites import fast

SMALL: dict[str, dict[str, Any]] = {
    "mobilenet": {"filters": (4, 8, 8)},
    "resnet": {"depth": 8},
    "textcnn": {"filters": (6, 6, 6), "dropout": 0.0},
}
WITH_DROPOUT = [name for name, build in models.REGISTRY.items() if "dropout" in inspect.signature(build).parameters]
OF_TEXT = ("gru", "lstm", "mlp", "textcnn", "transformer")
OF_ANY_SHAPE = ("autoencoder", "logistic", "mlp")
TEXT = models.Tokens(7, 50)
KIM = {"embedding_dim": 300, "filters": (100, 100, 100)}
Shape = tuple[int, ...] | models.Tokens
EVERY_MODEL_AND_SHAPE: list[tuple[str, Shape]] = [
    (name, shape)
    for name in models.REGISTRY
    for shape in ((8, 8, 1), (28, 28), (32, 32, 3), (9, 30, 2), (30,), (4, 3, 2, 2))
    if name in OF_ANY_SHAPE or len(shape) in (2, 3)
] + [(name, text) for name in OF_TEXT for text in (TEXT, models.Tokens(1, 2))]


def build(name: str, shape: Shape = (8, 8, 1), num_outputs: int = 10, **options: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    return models.REGISTRY[name](shape, num_outputs, **{**SMALL.get(name, {}), **options})


def images(count: int, shape: tuple[int, ...] = (8, 8, 1)) -> np.ndarray:
    return np.random.default_rng(count).random((count, *shape), dtype=np.float32)


def texts(count: int, text: models.Tokens = TEXT) -> np.ndarray:
    """Token ids, padded behind words of random number; the first text has none."""
    rng = np.random.default_rng(count)
    ids = rng.integers(1, text.vocabulary_size, (count, text.length), dtype=np.int32)
    lengths = rng.integers(0, text.length + 1, count)
    lengths[0] = 0
    return np.where(np.arange(text.length) < lengths[:, None], ids, 0).astype(np.int32)


def shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    return {variable.path: tuple(variable.shape) for variable in model.trainable_variables}


def test_registry_is_sorted_and_names_what_it_builds() -> None:
    assert list(models.REGISTRY) == sorted(models.REGISTRY)
    assert all(build(name).name == name for name in models.REGISTRY)


@pytest.mark.parametrize("name", models.REGISTRY)
def test_options_are_keywords_with_defaults_and_documented(name: str) -> None:
    parameters = list(inspect.signature(models.REGISTRY[name]).parameters.values())
    assert [parameter.name for parameter in parameters[:2]] == ["input_shape", "num_outputs"]
    for parameter in parameters[2:]:
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default is not parameter.empty
        if name != "gru":  # Its docstring points to that of lstm.
            assert f"{parameter.name}:" in (models.REGISTRY[name].__doc__ or "")


@pytest.mark.parametrize(("name", "shape"), EVERY_MODEL_AND_SHAPE)
@pytest.mark.parametrize("num_outputs", fast([1, 10], 10))
def test_logits_for_every_batch_size(name: str, shape: Shape, num_outputs: int) -> None:
    model = build(name, shape, num_outputs)
    text = isinstance(shape, models.Tokens)
    assert model.input_shape == ((None, shape.length) if text else (None, *shape))
    assert model.output_shape == (None, num_outputs)
    assert model.inputs[0].dtype == ("int32" if text else "float32")
    for count in (1, 5):
        logits = model(texts(count, shape) if text else images(count, shape)).numpy()
        assert logits.shape == (count, num_outputs)
        assert logits.dtype == np.float32
        assert np.isfinite(logits).all()


@pytest.mark.parametrize("name", models.REGISTRY)
def test_the_head_is_linear_and_nothing_is_constrained_or_regularised(name: str) -> None:
    model = build(name)
    head = model.get_layer("output")
    assert model.layers[-1] is head
    assert head.activation is keras.activations.linear
    for variable in model.trainable_variables:
        assert variable.constraint is None
        assert variable.regularizer is None


@pytest.mark.parametrize("name", models.REGISTRY)
def test_names_are_those_of_the_first_build(name: str) -> None:
    first, second = build(name), build(name)
    assert [v.path for v in first.trainable_variables] == [v.path for v in second.trainable_variables]
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
    assert len({variable.path for variable in first.trainable_variables}) == len(first.trainable_variables)


@pytest.mark.parametrize("name", models.REGISTRY)
def test_a_seed_decides_the_weights(name: str) -> None:
    first, second = build(name), build(name)
    for one, other in zip(first.trainable_variables, second.trainable_variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("name", models.REGISTRY)
def test_a_gradient_reaches_every_variable(name: str) -> None:
    model = build(name)
    labels = np.arange(16) % 10
    with tf.GradientTape() as tape:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, model(images(16), training=True))
    variables = model.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
        # The softmax of attention does not see a constant that is added to all keys.
        if not variable.path.endswith("key/bias"):
            assert np.any(np.asarray(gradient) != 0), variable.path


@pytest.mark.parametrize("name", fast(OF_TEXT, "textcnn"))
def test_a_gradient_reaches_every_variable_of_a_text(name: str) -> None:
    model = build(name, TEXT)
    labels = np.arange(16) % 10
    with tf.GradientTape() as tape:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, model(texts(16), training=True))
    variables = model.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all(), variable.path
        if not variable.path.endswith("key/bias"):
            assert np.any(np.asarray(tf.convert_to_tensor(gradient)) != 0), variable.path


# The deepest take as long as all others together, and are trained whole in experiment_test.py.
@pytest.mark.parametrize("name", fast(models.REGISTRY, "convnet", "logistic", "mlp"))
def test_compiled_training_step_equals_the_eager_one(name: str) -> None:
    model = build(name)
    features, labels = images(8), np.arange(8) % 10

    def step(features: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            logits = model(features, training=True)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels[: len(features)], logits)
        return loss, tape.gradient(loss, [v.value for v in model.trainable_variables])

    # Under determinism, which the program switches on, XLA has no gradient of max pooling.
    compiled = tf.function(step, jit_compile=name not in ("convnet", "lenet5"))
    for count in (8, 3):
        loss, gradients = step(tf.constant(features[:count]))
        compiled_loss, compiled_gradients = compiled(tf.constant(features[:count]))
        np.testing.assert_allclose(compiled_loss, loss, rtol=1e-4)
        for gradient, other in zip(gradients, compiled_gradients, strict=True):
            np.testing.assert_allclose(other, gradient, atol=1e-4 + 1e-3 * np.abs(gradient).max())


@pytest.mark.parametrize("name", models.REGISTRY)
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Any) -> None:
    options = {"dropout": 0.1} if name in WITH_DROPOUT else {}
    model = build(name, (8, 8, 1), 10, **options)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert shapes(loaded) == shapes(model)
    np.testing.assert_array_equal(loaded(images(4)), model(images(4)))


@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_dropout_is_random_in_training_only(name: str) -> None:
    model = build(name, dropout=0.5)
    features = images(4)
    np.testing.assert_array_equal(model(features), model(features))
    assert np.any(np.asarray(model(features, training=True)) != np.asarray(model(features, training=True)))
    plain = build(name)
    # Batch normalization is another function in training.
    inference = plain(features, training=name == "mobilenet")
    np.testing.assert_array_equal(plain(features, training=True), inference)


@pytest.mark.parametrize("name", models.REGISTRY)
def test_logits_are_float32_in_mixed_precision(name: str) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        logits = build(name)(images(2))
    finally:
        keras.config.set_dtype_policy("float32")
    assert logits.dtype == tf.float32


@pytest.mark.parametrize("name", models.REGISTRY)
def test_batch_statistics_are_those_of_all_replicas(name: str) -> None:
    norms = [layer for layer in build(name).layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert bool(norms) == (name in ("mobilenet", "resnet"))
    assert all(norm.synchronized for norm in norms)


@pytest.mark.parametrize(
    ("name", "shape", "num_outputs", "options", "expected"),
    [
        ("mlp", (28, 28, 1), 10, {}, 784 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10),
        ("mlp", (30,), 1, {"hidden_units": (128,)}, 30 * 128 + 128 + 128 + 1),
        ("mlp", (8, 8, 1), 10, {"hidden_units": ()}, 64 * 10 + 10),
        ("logistic", (30,), 1, {}, 31),
        ("convnet", (28, 28, 1), 10, {"filters": (32,)}, 9 * 32 + 32 + 13 * 13 * 32 * 10 + 10),
        ("convnet", (28, 28, 1), 10, {}, 9 * 32 + 32 + 9 * 32 * 64 + 64 + 5 * 5 * 64 * 10 + 10),
        ("convnet", (8, 8, 1), 10, {}, 9 * 32 + 32 + 9 * 32 * 64 + 64 + 64 * 10 + 10),
        ("lstm", (28, 28, 1), 10, {}, 4 * (28 * 64 + 64 * 64 + 64) + 64 * 10 + 10),
        ("lstm", (50, 3), 2, {"hidden_units": (8, 4)}, 4 * (3 * 8 + 64 + 8) + 4 * (8 * 4 + 16 + 4) + 4 * 2 + 2),
        ("gru", (32, 32, 3), 10, {}, 3 * (96 * 64 + 64 * 64 + 2 * 64) + 64 * 10 + 10),
        ("lenet5", (28, 28, 1), 10, {}, 431_080),
        ("lenet5", (28, 28), 10, {}, 431_080),
        ("autoencoder", (28, 28), 784, {}, 784 * 196 + 196 + 196 * 784 + 784),
        ("autoencoder", (6,), 6, {"hidden_units": (4, 2)}, 6 * 4 + 4 + 4 * 2 + 2 + 2 * 4 + 4 + 4 * 6 + 6),
        ("textcnn", models.Tokens(20, 1000), 6, KIM, 300_000 + 100 * (12 * 300 + 3) + 300 * 6 + 6),
        ("mlp", models.Tokens(20, 1000), 2, {"hidden_units": (8,)}, 128 * 1000 + 128 * 8 + 8 + 8 * 2 + 2),
        ("gru", models.Tokens(20, 50), 2, {"embedding_dim": 5}, 50 * 5 + 3 * 64 * (5 + 64 + 2) + 64 * 2 + 2),
        # Two numbers per norm channel; a block is 9 weights for each channel, then a matrix.
        (
            "mobilenet",
            (32, 32, 3),
            10,
            {"filters": (8, 16, 32)},
            9 * 3 * 8 + 9 * 8 + 8 * 16 + 9 * 16 + 16 * 32 + 2 * (8 + 8 + 16 + 16 + 32) + 330,
        ),
        # conv 9 * 3 * 16; stages of 6, 1 + 5 and 1 + 5 convolutions and two shortcuts; two numbers per norm channel.
        (
            "resnet",
            (32, 32, 3),
            10,
            {"depth": 20},
            9 * (3 * 16 + 6 * 256 + 16 * 32 + 5 * 1024 + 32 * 64 + 5 * 4096)
            + (16 * 32 + 32 * 64)
            + 2 * (7 * 16 + 7 * 32 + 7 * 64)
            + 650,
        ),
    ],
)
def test_parameter_counts(
    name: str, shape: tuple[int, ...], num_outputs: int, options: dict[str, Any], expected: int
) -> None:
    variables = build(name, shape, num_outputs, **options).trainable_variables
    assert sum(np.prod(variable.shape) for variable in variables) == expected


def test_resnet_20_has_the_papers_size() -> None:
    count = sum(np.prod(v.shape) for v in build("resnet", (32, 32, 3), depth=20).trainable_variables)
    assert round(count / 1e6, 2) == 0.27


def test_paths_that_patterns_are_written_against() -> None:
    assert list(shapes(build("mlp"))) == [
        f"{layer}/{kind}" for layer in ("hidden_1", "hidden_2", "output") for kind in ("kernel", "bias")
    ]
    assert shapes(build("lstm"))["lstm_1/lstm_cell/recurrent_kernel"] == (64, 256)
    assert shapes(build("gru"))["gru_1/gru_cell/kernel"] == (8, 192)
    assert shapes(build("convnet", hidden_units=(7,)))["hidden_1/kernel"] == (64, 7)
    assert shapes(build("resnet"))["stage_2_block_1_shortcut/kernel"] == (1, 1, 16, 32)
    transformer = shapes(build("transformer"))
    assert transformer["patch_embedding/kernel"] == (2, 2, 1, 64)
    assert transformer["block_2_attention/query/kernel"] == (64, 4, 16)
    assert transformer["block_1_mlp_1/kernel"] == (64, 256)


def test_paths_of_the_newer_models() -> None:
    autoencoder = shapes(build("autoencoder", (6,), 6, hidden_units=(4, 2)))
    assert [path for path in autoencoder if path.endswith("kernel")] == [
        f"{name}/kernel" for name in ("encoder_1", "encoder_2", "decoder_1", "output")
    ]
    assert shapes(build("lenet5", (28, 28, 1)))["conv_2/kernel"] == (5, 5, 20, 50)
    mobilenet = shapes(build("mobilenet"))
    assert mobilenet["block_1_depthwise/kernel"] == (3, 3, 4, 1)
    assert mobilenet["block_2_pointwise/kernel"] == (1, 1, 8, 8)
    textcnn = shapes(build("textcnn", TEXT))
    assert textcnn["embedding/embeddings"] == (50, 128)
    assert textcnn["conv_3/kernel"] == (5, 128, 6)
    assert shapes(build("transformer", TEXT))["patch_embedding/kernel"] == (128, 64)


def test_lenet5_is_that_of_caffe() -> None:
    kinds = ["Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dense"]
    layers = build("lenet5", (28, 28, 1)).layers[1:]
    assert [type(layer).__name__ for layer in layers] == kinds
    linear, relu = keras.activations.linear, keras.activations.relu
    activations = [layer.activation for layer in layers if hasattr(layer, "activation")]
    assert activations == [linear, linear, relu, linear]


def test_mobilenet_halves_small_images_twice() -> None:
    model = build("mobilenet", (28, 28, 1), filters=(32, 64, 128, 128, 256, 256))
    sides = [model.get_layer(f"block_{i}_depthwise").output.shape[1] for i in range(1, 6)]
    assert sides == [28, 14, 14, 7, 7]
    narrow = shapes(build("mobilenet", filters=(3, 10), width_multiplier=0.25))
    assert narrow["conv/kernel"][-1] == 1
    assert narrow["block_1_pointwise/kernel"][-1] == 2


@pytest.mark.parametrize("name", fast(["gru", "lstm"], "lstm"))
def test_recurrent_networks_pass_over_padding(name: str) -> None:
    model = build(name, TEXT)
    ids = texts(5)
    longer = np.concatenate([ids, np.zeros((5, 3), np.int32)], axis=1)
    # A text without words, the first, would stop cuDNN.
    assert model.get_layer(f"{name}_1").use_cudnn is False
    assert build(name).get_layer(f"{name}_1").use_cudnn == "auto"
    other = build(name, models.Tokens(10, 50))
    np.testing.assert_allclose(other(longer), model(ids), atol=1e-6)


def test_the_words_of_a_text_have_an_order_in_the_transformer_and_none_in_the_mlp() -> None:
    ids = np.arange(1, 8, dtype=np.int32)[np.newaxis]
    mlp, transformer = build("mlp", TEXT), build("transformer", TEXT)
    np.testing.assert_allclose(mlp(ids), mlp(ids[:, ::-1]), atol=1e-6)
    assert np.abs(transformer(ids) - transformer(ids[:, ::-1])).max() > 1e-4


@pytest.mark.parametrize("name", fast(OF_TEXT, "gru"))
def test_a_model_of_text_saved_and_loaded_is_the_same(name: str, tmp_path: Any) -> None:
    model = build(name, TEXT)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(texts(4)), model(texts(4)))


def test_a_sequence_of_numbers_is_read_like_a_text() -> None:
    image = images(2, (5, 4, 3))
    model, other = build("textcnn", (5, 4, 3)), build("textcnn", (5, 12))
    np.testing.assert_array_equal(model(image), other(image.reshape(2, 5, 12)))


def test_one_convolution_is_the_textbook_network() -> None:
    layers = build("convnet", (28, 28, 1), filters=(32,)).layers[1:]
    kinds = ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]
    assert [type(layer).__name__ for layer in layers] == kinds
    assert (layers[0].kernel_size, layers[0].padding, layers[0].activation) == ((3, 3), "valid", keras.activations.relu)


def test_an_image_is_read_row_by_row() -> None:
    image = images(2, (5, 4, 3))
    model, other = build("lstm", (5, 4, 3)), build("lstm", (5, 12))
    np.testing.assert_array_equal(model(image), other(image.reshape(2, 5, 12)))


def test_patches_are_squares_of_the_image() -> None:
    model = build("transformer", (8, 12, 2), patch_size=4)
    embedding = model.get_layer("patch_embedding")
    position = embedding.bias.numpy()
    image = np.zeros((1, 8, 12, 2), np.float32)
    image[0, 4:8, 8:12] = images(1, (4, 4, 2))[0]
    embedded = keras.Model(model.inputs, embedding.output)([image]).numpy()[0] - position
    expected = np.einsum("yxd,yxdw->w", image[0, 4:8, 8:12], embedding.kernel.numpy())
    np.testing.assert_allclose(embedded[1, 2], expected, atol=1e-5)
    embedded[1, 2] = 0
    np.testing.assert_allclose(embedded, 0, atol=1e-6)
    assert np.std(position) > 0.01


@pytest.mark.parametrize(("side", "patch"), [(8, 2), (28, 4), (32, 4), (224, 14), (7, 1), (1, 1)])
def test_patch_size_fits_the_image(side: int, patch: int) -> None:
    assert shapes(build("transformer", (side, side, 1), depth=1))["patch_embedding/kernel"][:2] == (patch, patch)


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("mlp", (8, 8), {"hidden_units": (0,)}, r"hidden_units=\(0,\) must be a list of positive integers"),
        ("mlp", (8, 8), {"hidden_units": 300}, "hidden_units=300 must be a list"),
        ("mlp", (8, 8), {"hidden_units": "30"}, "hidden_units='30' must be a list"),
        ("mlp", (8, 8), {"hidden_units": (True,)}, "must be a list of positive integers"),
        ("mlp", (8, 8), {"hidden_units": (2.5,)}, "must be a list of positive integers"),
        ("mlp", (8, 8), {"dropout": 1.0}, r"dropout=1.0 must be a number in \[0, 1\)"),
        ("mlp", (8, 8), {"dropout": float("nan")}, r"dropout=nan must be a number in \[0, 1\)"),
        ("mlp", (8, 8), {"dropout": -0.1}, "dropout=-0.1 must be"),
        ("mlp", (0, 8), {}, r"input_shape=\(0, 8\) must be positive integers"),
        ("mlp", (None, 8), {}, "must be positive integers"),
        ("convnet", (30,), {}, r"takes images .*not features of shape \(30,\); choose image data, or one of the"),
        ("convnet", (4, 4, 4, 1), {}, r"not features of shape \(4, 4, 4, 1\)"),
        ("convnet", (8, 8, 1), {"filters": (4, 4, 4)}, "can be halved 2 times"),
        ("convnet", (1, 9, 1), {}, "can be halved 0 times"),
        ("convnet", (8, 8, 1), {"filters": ()}, "at least 1 layer"),
        ("convnet", (8, 8, 1), {"dropout": 2}, "dropout=2 must"),
        ("lstm", (30,), {}, r"`lstm` takes sequences .*shape \(30,\); choose such data, or one of the models `mlp`"),
        ("gru", (2, 2, 2, 2), {}, "`gru` takes sequences"),
        ("gru", (8, 8), {"hidden_units": ()}, "at least 1 layer"),
        ("resnet", (8, 8, 1), {"depth": 21}, r"depth=21 must be 6n \+ 2 .*nearest: 20 and 26"),
        ("resnet", (8, 8, 1), {"depth": 19}, "nearest: 14 and 20"),
        ("resnet", (8, 8, 1), {"depth": 2}, "nearest: 8"),
        ("resnet", (8, 8, 1), {"depth": 0}, "depth=0 must be a positive integer"),
        ("resnet", (8, 8, 1), {"filters": (16,)}, "must be three positive integers"),
        ("resnet", (30,), {}, "`resnet` takes images"),
        ("transformer", (8, 8, 1), {"patch_size": 3}, "does not divide the image of 8x8 pixels; choose one of 1, 2, 4"),
        ("transformer", (8, 12, 1), {"patch_size": 8}, "choose one of 1, 2, 4"),
        ("transformer", (8, 8, 1), {"width": 10}, "width=10 is not divisible by num_heads=4; it is by 1, 2, 5, 10"),
        ("transformer", (8, 8, 1), {"num_heads": 0}, "num_heads=0 must be a positive integer"),
        ("transformer", (8, 8, 1), {"depth": -1}, "depth=-1 must be a positive integer"),
        ("transformer", (30,), {}, "`transformer` takes images"),
        ("lenet5", (8, 8, 1), {"filters": (4, 4, 4)}, "can be halved 2 times"),
        ("lenet5", (30,), {}, "`lenet5` takes images"),
        ("mobilenet", (8, 8, 1), {"width_multiplier": 0}, "width_multiplier=0 must be a positive number"),
        ("mobilenet", (8, 8, 1), {"width_multiplier": float("inf")}, "width_multiplier=inf must be"),
        ("mobilenet", (8, 8, 1), {"filters": ()}, "at least 1 layer"),
        ("mobilenet", (30,), {}, "`mobilenet` takes images"),
        ("autoencoder", (8, 8), {"hidden_units": ()}, "at least 1 layer"),
        ("textcnn", (30,), {}, "`textcnn` takes sequences"),
        ("textcnn", TEXT, {"filters": (3,)}, r"filters=\(3,\) and kernel_sizes=\(3, 4, 5\) must be equally many"),
        ("textcnn", TEXT, {"kernel_sizes": (0,)}, "must be a list of positive integers"),
        ("textcnn", TEXT, {"embedding_dim": 0}, "embedding_dim=0 must be a positive integer"),
        ("mlp", (8, 8), {"embedding_dim": 5}, r"embedding_dim=5 is for text, .*shape \(8, 8\) are numbers"),
        ("transformer", TEXT, {"patch_size": 1}, "patch_size=1 is for images"),
        *((name, TEXT, {}, f"`{name}` takes .*, not text") for name in models.REGISTRY if name not in OF_TEXT),
    ],
)
def test_bad_options_and_shapes_are_named(name: str, shape: Shape, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.REGISTRY[name](shape, 10, **options)


@pytest.mark.parametrize("num_outputs", [0, -1, 2.0, True])
def test_bad_number_of_outputs(num_outputs: Any) -> None:
    with pytest.raises(ValueError, match=r"num_outputs=.* must be a positive integer"):
        models.REGISTRY["mlp"]((8, 8), num_outputs)


@pytest.mark.parametrize(("length", "size"), [(0, 5), (5, 0), (5.0, 5), (5, True), (10**7, 5)])
def test_bad_sizes_of_texts(length: Any, size: Any) -> None:
    with pytest.raises(ValueError, match=r"(length|vocabulary_size)=.* (must be a positive integer|is too much)"):
        models.Tokens(length, size)
