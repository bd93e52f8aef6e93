"""Text and Parquet become named columns; what is wrong is said with the row that a spreadsheet shows."""

from __future__ import annotations

import builtins
import io

import pyarrow as pa
import pytest
from pyarrow import parquet

from trainer.data.readers import table_file


def columns(content: str | bytes, name: str = "a.csv", strings: tuple[str, ...] = ()):
    content = content.encode() if isinstance(content, str) else content
    return {key: value.to_pylist() for key, value in table_file.parse(name, content, strings).columns.items()}


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\n2,\n",
        "a;b\n1;x\n2;\n",
        "a\tb\r\n1\tx\r\n2\t\r\n",
        "\ufeffa , b\n\n1,x\n\n2,NA\n",
        '"a","b"\n1,"x"\n2,?',
    ],
)
def test_separators_blanks_and_missing_values(content):
    assert columns(content) == {"a": [1, 2], "b": ["x", None]}


def test_tabs_alone_separate_a_tsv_file():
    assert columns("a,b\tc\n1,5\tx\n", "a.TSV") == {"a,b": ["1,5"], "c": ["x"]}


def test_a_column_may_be_text_whatever_it_looks_like():
    assert columns("a,b\n007,1\n", strings=("a",)) == {"a": ["007"], "b": [1]}


def test_rows_are_counted_as_a_spreadsheet_does():
    found = table_file.parse("a.csv", b'a,b\n1,2\n\n"x\ny",3\n\n\n4,5\n')
    assert [found.row(index) for index in range(3)] == [2, 4, 7]


BAD = {
    "a,b\n1,2\n\n1,2,3\n": "names 2 columns in row 1, but row 4 has 3 fields",
    "a,b\n1,2\n1\n": "names 2 columns in row 1, but row 3 has 1 field;",
    'a,b\n"1,2\n3,4\n': "names 2 columns in row 1, but row 2 has 1 field;",
    "\n \n": "nothing but empty lines|has no rows",
    "5.1,3\n4,2\n": "has numbers in its first row, 5.1, 3, where the names",
    "a,b\n": "names the columns a, b but has no rows",
    "a,b,a\n1,2,3\n": "two columns of the name `a`",
    b"a,b\n1,2\n\n3,\xff\n": "is not UTF-8 text: row 4 holds the byte 0xff",
    "a,b\n1,2\n".encode("utf-16"): "UTF-16 or binary",
    b"a,b\n1,\x00\n": "UTF-16 or binary",
}


@pytest.mark.parametrize("content", BAD)
def test_bad_text_is_refused(content):
    with pytest.raises(ValueError, match=f"`a.csv`.*{BAD[content]}"):
        columns(content)


def written(**arrays) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(arrays), file)
    return file.getvalue()


def test_parquet():
    content = written(a=[1, None], b=["x", "y"])
    assert columns(content, "a.parquet") == {"a": [1, None], "b": ["x", "y"]}
    assert table_file.parse("a.parquet", content).row(1) == 2
    for bad, words in (
        (content[:-5], "is not Parquet, or it is damaged"),
        (b"a,b\n1,2\n", "is not Parquet, or it is damaged"),
        (written(a=pa.array([], pa.int8())), "has no rows"),
        (written(), "has no columns"),
        (written(a=pa.array([b"\xff"]).view(pa.string())), "is damaged .*UTF8"),
    ):
        with pytest.raises(ValueError, match=words):
            columns(bad, "a.parquet")


def test_what_to_install_is_said(monkeypatch):
    def without(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(f"No module named {name!r}")
        return original(name, *args, **kwargs)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"needs the package pyarrow .*pip install pyarrow"):
        columns("a,b\n1,2\n")
