"""What is learnt of a table's columns is what scikit-learn learns, and it is kept."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from trainer.data import preprocessing
from trainer.data.examples import TABLE, Examples, FileOptions, Raw

RNG = np.random.default_rng(0)


def table(size: int) -> dict[str, np.ndarray]:
    def gaps(values, share, missing):
        return np.where(RNG.random(size) < share, missing, values)

    return {
        "fare": RNG.exponential(30, size),
        "sex": RNG.choice(np.array(["male", "female"], object), size),
        "age": gaps(RNG.normal(30, 12, size), 0.2, np.nan),
        "class": RNG.integers(1, 4, size),
        "deck/side": gaps(RNG.choice(np.array(["A", "B", "Ü"], object), size), 0.3, ""),
        "code": gaps(RNG.integers(-1, 4, size).astype(float), 0.1, np.nan),
        "siblings": RNG.integers(0, 15, size),
    }


def learnt(columns: dict[str, np.ndarray]):
    train = Examples(len(next(iter(columns.values()))), columns)
    return preprocessing.learn(Raw("a.csv", TABLE, {"train": train}), FileOptions())


def test_features_are_those_of_scikit_learn():
    train, new = table(400), table(90)
    found = learnt(train)
    numbers = ("fare", "age", "siblings")
    imputer, scaler = SimpleImputer(strategy="median", add_indicator=True), StandardScaler()

    def rows(columns):
        return np.stack([columns[name] for name in numbers], axis=1)

    scaler.fit(imputer.fit_transform(rows(train))[:, :3])
    for columns in (train, new):
        filled = imputer.transform(rows(columns))
        expected = [scaler.transform(filled[:, :3]), filled[:, 3:]]
        # The first entry of a one-hot vector is for the unknown, and the others are sorted by frequency.
        for name in ("sex", "class", "deck/side", "code"):
            encoder = OneHotEncoder(sparse_output=False).fit(train[name].reshape(-1, 1))
            names = encoder.categories_[0]
            counts = np.array([np.sum(train[name] == one) if one == one else 0 for one in names])
            order = (
                np.lexsort((np.arange(len(names)), -counts)) if name in ("sex", "deck/side") else np.arange(len(names))
            )
            if name == "code":  # NaN is scikit-learn's last category, and the first one here.
                order = np.roll(order, 1)
            hot = encoder.transform(columns[name].reshape(-1, 1))[:, order]
            expected.append(np.hstack([np.zeros((len(hot), 1)), hot]))
        features = found(columns)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, np.hstack(expected), atol=2e-6)
    assert found.input_shape == (features.shape[1],)
    assert found.warnings == ()


def test_a_policy_of_lower_precision_does_not_reach_it():
    columns = table(60)
    columns["fare"] += 1000
    expected = learnt(columns)(columns)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        np.testing.assert_array_equal(learnt(columns)(columns), expected)
    finally:
        keras.config.set_dtype_policy(policy)


def test_new_data_may_hold_what_training_did_not():
    found = learnt({"n": RNG.normal(5, 2, 60), "t": np.array(["a", "b"] * 30), "c": np.arange(60) % 3})
    size = found.input_shape[0]
    assert size == 1 + 3 + 4
    rows = found({"t": ["b", "new", None], "c": [0, 7, np.nan], "n": [np.nan, 5, 1e9], "more": [1, 2, 3]})
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows[:, 1:4], [[0, 0, 1], [1, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(rows[:, 4:], [[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]])
    # A missing number is the median of the training part.
    median = found({"n": [5.0], "t": ["b"], "c": [0]})[0, 0]
    assert abs(rows[0, 0] - median) < 1


@pytest.mark.parametrize(
    ("values", "width"),
    [
        (np.arange(100) % 2, 1),  # two values are as good a number
        (np.arange(100) % 3, 4),
        (np.arange(100) % 10, 11),
        (np.arange(100) % 11, 1),
        (np.arange(20) % 3, 1),  # too few rows for each
        (np.arange(100) % 3 + 0.5, 1),
        (np.arange(100) % 3 + 2.0**25, 1),  # float32 cannot tell them apart
        (np.where(np.arange(100) % 4, np.arange(100) % 3, np.nan), 5),
        (np.array(["a", "a", "b"]), 2),  # a text needs two rows
        (np.array(["[UNK]"] * 3 + ["a"] * 2), 2),
        (np.array([f"c{i // 2}" for i in range(400)]), 101),
    ],
)
def test_what_is_a_category(values, width):
    assert learnt({"a": values}).input_shape == (width,)


def test_columns_that_teach_nothing_are_left_out_with_a_warning():
    found = learnt({"a": RNG.normal(size=20), "gone": np.full(20, np.nan), "name": np.arange(20).astype(str)})
    assert found.input_shape == (1,)
    gone, name = found.warnings
    assert "`gone` has no value" in gone
    assert "`name` holds another text in every row" in name
    with pytest.raises(ValueError, match=r"has no column to learn from: .*`gone`"):
        learnt({"gone": np.full(20, np.nan)})


def test_a_constant_column_is_0():
    np.testing.assert_array_equal(learnt({"a": np.full(20, 7.0)})({"a": [7.0, 9.0]}), 0)


def test_columns_may_be_called_like_anything_in_keras(tmp_path):
    names = [
        "numbers",
        "features",
        "columns",
        "columns_",
        "cast",
        "isnan",
        "where",
        "subtract",
        "column_1",
        " %ü",
        "a.b:c",
    ]
    columns = {name: RNG.normal(size=30) + place for place, name in enumerate(names)}
    columns |= {f"{name}_categories": np.arange(30) % 3 for name in ("a", "column_0")}
    found = learnt(columns)
    np.testing.assert_allclose(found(columns)[:, :11].mean(axis=0), 0, atol=1e-5)
    found.save(tmp_path)
    np.testing.assert_array_equal(preprocessing.load(tmp_path)(columns), found(columns))


def test_two_columns_of_one_name_in_keras_are_refused():
    with pytest.raises(ValueError, match="two columns that are called a_b"):
        learnt({"a/b": np.arange(5), "a_b": np.arange(5)})


def test_other_columns_than_those_learnt_from_are_refused():
    found = learnt({"width": np.arange(20), "t": np.array(["a", "b"] * 10)})
    for features, words in (
        (np.zeros((3, 2)), "expected as a dict of columns, not as ndarray"),
        ({"widht": [1], "t": ["a"]}, "`width` is missing; did you mean widht"),
        ({"width": ["a"], "t": ["a"]}, "`width` is expected to hold numbers"),
        ({"width": [1, 2], "t": ["a"]}, "different lengths"),
    ):
        with pytest.raises(ValueError, match=words):
            found(features)


FRESH = """
import sys, keras, numpy as np
columns = dict(np.load(sys.argv[2]))
model = keras.models.load_model(sys.argv[1])
columns = {k: v if v.dtype.kind == "U" else v.astype("float32") for k, v in columns.items()}
tensors = {k: keras.ops.convert_to_tensor(v.reshape(-1, 1)) for k, v in columns.items()}
assert not any(name.split(".")[0] in ("trainer", "constraints", "models") for name in sys.modules)
np.save(sys.argv[3], model(tensors))
"""


@pytest.mark.slow
def test_a_process_without_this_project_computes_the_same_bits(tmp_path):
    columns = table(300)
    found = learnt(columns)
    found.save(tmp_path)
    plain = {name.replace("/", "_"): v.astype(str) if v.dtype == object else v for name, v in columns.items()}
    np.savez(tmp_path / "a.npz", **plain)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    arguments = [str(tmp_path / name) for name in ("preprocessing.keras", "a.npz", "out.npy")]
    subprocess.run([sys.executable, "-I", "-c", FRESH, *arguments], check=True, cwd=tmp_path, env=environment)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), found(columns))
    back = preprocessing.load(tmp_path)
    assert (back.kind, back.input_shape) == (TABLE, found.input_shape)
    np.testing.assert_array_equal(back(columns), found(columns))
