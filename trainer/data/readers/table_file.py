"""Parses CSV, tab-separated text and Parquet into named columns, with pyarrow."""

from __future__ import annotations

import codecs
import collections
import csv
import dataclasses
import io
import itertools
import pathlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

# Besides what pyarrow takes for a missing value, such as an empty field, NA and NaN.
MISSING = ("?", "None")
PARQUET = ".parquet"
_FIRST_LINE = re.compile(r"(?:[ \t]*[\r\n]+)*([^\r\n]*)")


@dataclasses.dataclass(frozen=True, eq=False)
class TableFile:
    """The columns of a file.

    Attributes:
      path: the file, for messages.
      columns: the values of every column, by its name, in the order of the file.
      text: the content where it is text; empty for Parquet.
      delimiter: what separates the fields of such text.
    """

    path: str
    columns: dict[str, pyarrow.ChunkedArray] = dataclasses.field(repr=False)
    text: str = dataclasses.field(default="", repr=False)
    delimiter: str = ","

    def row(self, index: int) -> int:
        """The row of an example as a spreadsheet counts it: the header is row 1. Parquet has no header."""
        if not self.text:
            return index + 1
        filled = (number for number, fields in _rows(self.text, self.delimiter) if fields)
        return next(itertools.islice(filled, index + 1, None), index + 2)


def parse(path: str, content: bytes, strings: tuple[str, ...] = ()) -> TableFile:
    """Parses a file.

    Args:
      path: the file, whose suffix says what it is.
      content: its bytes.
      strings: columns that hold text, whatever it looks like.

    Raises:
      ValueError: pyarrow is not installed; the content is damaged, not UTF-8 or ragged; there are no rows; two columns
        have one name, or a column has none.
    """
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(
            f"Reading `{path}` needs the package pyarrow ({error}); install it with `pip install pyarrow`."
        ) from None
    source = pyarrow.BufferReader(content)
    if pathlib.PurePath(path).suffix.lower() == PARQUET:
        try:
            table = pyarrow.parquet.read_table(source)
            table.validate(full=True)
            names = table.column_names
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ValueError(f"`{path}` is not Parquet, or it is damaged ({_line(error)}); write it again.") from None
        return TableFile(path, _named(path, names, table))

    text = _decoded(path, content)
    separators = "\t" if path.lower().endswith(".tsv") else ",;\t"
    header = _FIRST_LINE.match(text)
    delimiter = next((one for one in separators if header and one in header[1]), separators[0])
    names = next((fields for _, fields in _rows(text, delimiter) if fields), []) if strings else []
    convert = pyarrow.csv.ConvertOptions(
        null_values=[*pyarrow.csv.ConvertOptions().null_values, *MISSING],
        strings_can_be_null=True,
        column_types={name: pyarrow.string() for name in names if name.strip() in strings},
    )
    try:
        table = pyarrow.csv.read_csv(
            source,
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=convert,
        )
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(_fault(path, text, delimiter, error)) from None
    names = [name.strip() for name in table.column_names]
    if all(map(_is_number, names)):
        raise ValueError(
            f"`{path}` has numbers in its first row, {', '.join(names[:3])}, where the names of its columns are "
            "expected; add a row of names above."
        )
    return TableFile(path, _named(path, names, table), text, delimiter)


def _decoded(path: str, content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise ValueError(f"`{path}` is not UTF-8 text (UTF-16 or binary); save it as CSV in UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"`{path}` is not UTF-8 text: row {row} holds the byte {content[error.start]:#x}; save it as UTF-8."
        ) from None


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The fields of each row, with its number from 1, as far as the text can be parsed."""
    try:
        yield from enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), start=1)
    except csv.Error:
        return


def _fault(path: str, text: str, delimiter: str, error: Exception) -> str:
    """What is wrong with text that pyarrow cannot parse."""
    filled = [(number, fields) for number, fields in _rows(text, delimiter) if fields]
    if not filled:
        return f"`{path}` holds nothing but empty lines; give a table whose first row names the columns."
    expected = len(filled[0][1])
    for number, fields in filled:
        if len(fields) != expected:
            return (
                f"`{path}` names {expected} columns in row {filled[0][0]}, but row {number} has {len(fields)} "
                f"field{'s' * (len(fields) != 1)}; expected equally many. A field that holds a separator needs quotes."
            )
    return f"`{path}` cannot be parsed ({_line(error)}); save it as CSV again."


def _named(path: str, names: list[str], table: pyarrow.Table) -> dict[str, Any]:
    if not table.num_columns:
        raise ValueError(f"`{path}` has no columns; give a table of at least two.")
    if not table.num_rows:
        raise ValueError(f"`{path}` names the columns {', '.join(names)} but has no rows; give a table with examples.")
    if len(set(names)) < len(names):
        ((twice, _),) = collections.Counter(names).most_common(1)
        raise ValueError(f"`{path}` has two columns of the name `{twice}`; rename one of them.")
    return dict(zip(names, table.columns, strict=True))


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
