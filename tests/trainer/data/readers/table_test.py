"""A table's columns are read by their roles, or refused in a sentence that says what to mend."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from trainer.data.examples import TABLE, TEXT, FileOptions
from trainer.data.readers import table


def read(folder, content: str, label=("y",), **options):
    path = folder / "a.csv"
    path.write_text(content)
    return table.read(str(path), FileOptions(label=label, **options))


def read_arrays(folder, label=("y",), **arrays):
    parquet.write_table(pa.table(arrays), folder / "a.parquet")
    return table.read(str(folder / "a.parquet"), FileOptions(label=label))


def test_columns_by_their_roles(tmp_path):
    found = read(tmp_path, "a,b,w,id,y\n1,x,1,9,0\n,,2,8,1\n5,x,.5,8,0\n", weight="w", drop=("id",))
    part = found.parts["train"]
    assert (found.kind, list(part.features), part.num_examples) == (TABLE, ["a", "b"], 3)
    np.testing.assert_array_equal(part.features["a"], [1, np.nan, 5])
    assert part.features["b"].tolist() == ["x", "", "x"]
    assert (part.labels.tolist(), part.labels.dtype) == ([0, 1, 0], np.int64)
    assert (part.weights.tolist(), part.weights.dtype) == ([1, 2, 0.5], np.float32)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["cat", "dog", "cat"], ["cat", "dog", "cat"]),
        ([1.5, 2.5, -1], [1.5, 2.5, -1]),
        ([True, False, True], [1, 0, 1]),
        ([3, 1, 3], [3, 1, 3]),
    ],
)
def test_labels_stay_what_they_are(tmp_path, values, expected):
    arrays = {"a": [5, 3, 4], "y": values}
    labels = read_arrays(tmp_path, **arrays).parts["train"].labels
    assert labels.tolist() == expected
    assert labels.dtype.kind == np.array(expected).dtype.kind


def test_several_labels(tmp_path):
    labels = read(tmp_path, "a,y,z\n5,1,0.5\n3,0,1\n", label=("z", "y")).parts["train"].labels
    assert labels.tolist() == [[0.5, 1], [1, 0]]
    assert read(tmp_path, "a,y,z\n5,1,0\n3,0,1\n", label=("y", "z")).parts["train"].labels.dtype == np.int64


def test_text(tmp_path):
    found = read(tmp_path, 'a,y,z\n12,1,0\n,0,1\n"x\ny",0,1\n', text="a", text_length=5)
    assert found.kind == TEXT
    assert found.parts["train"].features.tolist() == ["12", "", "x\ny"]


def test_every_type_of_number_and_text(tmp_path):
    found = read_arrays(
        tmp_path,
        small=pa.array([1, 2, None], pa.int8()),
        large=pa.array([1, 2, 2**63], pa.uint64()),
        half=pa.array([1, 2, 3], pa.float16()),
        money=pa.array([decimal.Decimal("1.5")] * 3),
        flag=[True, None, False],
        none=pa.nulls(3),
        category=pa.array(["x", None, "x"]).dictionary_encode(),
        long=pa.array(["x", "y", "x"], pa.large_string()),
        y=[0, 1, 1],
    )
    features = found.parts["train"].features
    kinds = {name: values.dtype.kind for name, values in features.items()}
    assert kinds == dict.fromkeys(("small", "large", "half", "money", "flag", "none"), "f") | {
        "category": "O",
        "long": "O",
    }
    np.testing.assert_array_equal(features["flag"], [1, np.nan, 0])
    assert features["category"].tolist() == ["x", "", "x"]


def test_numbers_of_rows_are_left_out_or_warned_of(tmp_path):
    rows = "".join(f"{i},{i + 7},{i * i % 5},{i % 2}\n" for i in range(20))
    found = read(tmp_path, f",id,a,y\n{rows}")
    assert list(found.parts["train"].features) == ["id", "a"]
    assert [("left out" in line, "--drop=id" in line) for line in found.warnings] == [(True, False), (False, True)]


def test_a_mixture_is_taken_as_text_with_a_warning(tmp_path):
    found = read(tmp_path, "a,y\n1,0\n2,1\nA/5,0\n")
    (warning,) = found.warnings
    assert "`A/5` in row 4" in warning
    found = read(tmp_path, "a,y\n1,0\n2,0\n4,0\n" + "5,x\n7,2\n" * 9)
    assert "`x` in row 5" in found.warnings[0]
    assert read(tmp_path, 'a,y\n"x, y",0\n"5, z",1\n').warnings == ()


BAD = {
    "no label": ("a,y\n1,2\n", {"label": ()}, "needs --label, .*its columns are a, y"),
    "a label that is not there": ("a,price\n1,2\n", {"label": ("prise",)}, "did you mean price.*columns are a, price"),
    "a weight that is not there": ("a,y\n1,2\n", {"weight": "w"}, "--weight=w: .*no such column"),
    "a drop that is not there": ("a,y\n1,2\n", {"drop": ("b",)}, "--drop=b: .*no such column"),
    "a text that is not there": ("a,y\n1,2\n", {"text": "b"}, "--text=b: .*no such column"),
    "two roles": ("a,y\n1,2\n", {"weight": "y"}, "`y` is both --label and --weight"),
    "nothing left": ("a,y\n1,2\n", {"drop": ("a",)}, "no column left to learn from"),
    "options of images": ("a,y\n1,2\n", {"image_size": (8, 8)}, "--image_size=8,8 does not apply"),
    "options of text": ("a,y\n1,2\n", {"text_length": 8}, "--text_length=8 does not apply .* without --text"),
    "a missing label": ("a,y\n1,2\n\n3,\n", {}, "label `y` is missing in row 4; fill it in"),
    "missing labels": ("a,y\n1,a\n3,\n3,NA\n", {}, "label `y` is missing in row 3 and in 1 more"),
    "an id as label": ("a,y\n1,ann\n3,bob\n", {}, "`y` is another text in every row"),
    "labels of text": ("a,y,z\n1,b,1\n3,c,2\n", {"label": ("y", "z")}, "`y` holds text, and of several"),
    "infinity": ("a,y\n1,0\n\n-inf,1\n", {}, "`a` holds -inf in row 4"),
    "too large": ("a,y\n1,0\n1e39,1\n", {}, r"`a` holds 1e\+39 in row 3"),
    "mixed": ("a,y\n" + "1,0\n" * 20 + "n/k,1\n", {}, "`a` holds numbers in most rows and `n/k` in row 22"),
    "decimal commas": ("a;y\n3,5;0\n-2,5;1\n", {}, "`a` holds numbers with signs or commas, `3,5` in row 2"),
    "prices": ('a,y\n5,"$1,200"\n3,$70\n', {}, r"`y` holds numbers with signs or commas, `\$1,200` in row 2"),
    "shares": ("a,y\n5%,0\n7%,1\n", {}, "`5%` in row 2; write them as .*--drop=a"),
    "dates": ("a,y\n2020-01-01,0\n", {}, r"`a` holds date32\[day\].*--drop=a"),
    "times": ("a,y\n2020-01-01 10:00:00,0\n", {}, "`a` holds timestamp.*--drop=a"),
    "dates as label": ("a,y\n5,2020-01-01\n", {}, "`y` holds date32.*; replace it by numbers"),
    "no name": ("a,,y\n5,7,1\n3,8,0\n", {}, "no name for column 2"),
    "weights": ("a,y,w\n1,0,1\n2,1,-1\n", {"weight": "w"}, "`w` holds the weight -1 in row 3"),
    "missing weights": ("a,y,w\n1,0,1\n\n2,1,\n", {"weight": "w"}, "`w` holds the weight nan in row 4"),
    "weights of text": ("a,y,w\n1,0,b\n", {"weight": "w"}, "`w` holds text"),
    "ragged": ("a,y\n1,2,3\n", {}, "row 2 has 3 fields"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_refused(tmp_path, case):
    content, options, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        read(tmp_path, content, **options)


@pytest.mark.parametrize(
    "values",
    [[[1], [2]], [{"b": 1}] * 2, [b"x", b"y"], [datetime.timedelta(1)] * 2, [datetime.datetime(2020, 1, 1)] * 2],
)
def test_types_that_cannot_be_learnt_from_are_refused_by_name(tmp_path, values):
    with pytest.raises(ValueError, match=r"`a` holds .*neither numbers nor text; leave it out with --drop=a"):
        read_arrays(tmp_path, a=values, b=[5, 3], y=[0, 1])


def test_text_of_numbers_in_parquet_is_refused(tmp_path):
    parquet.write_table(pa.table({"a": [5, 3], "y": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="--text=a: the column holds int64, not text"):
        table.read(str(tmp_path / "a.parquet"), FileOptions(label=("y",), text="a"))


def test_the_fingerprint_follows_the_content(tmp_path):
    prints = [read(tmp_path, f"a,y\n1,{y}\n").fingerprint for y in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
