"""Files that no run can be trained on, and settings that do not fit a file: what makes them, flags, and words to say.

`make(folder)` writes the files and returns the data set's path; flags follow, and then the words of the refusal.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import numpy as np
import pyarrow.parquet

from tests.support import any_data, media

Case = tuple[Callable[[pathlib.Path], pathlib.Path], list[str], list[str]]


def written(name: str, content: str | bytes) -> Callable[[pathlib.Path], pathlib.Path]:
    """Makes a file of this content."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)
        return folder / name

    return make


def changed(**arrays: np.ndarray) -> Callable[[pathlib.Path], pathlib.Path]:
    """Makes an archive of three classes with other arrays."""
    return lambda folder: any_data.archive(folder, **arrays)


def parquet(**columns: list) -> Callable[[pathlib.Path], pathlib.Path]:
    """Makes a Parquet file of these columns."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / "t.parquet")
        return folder / "t.parquet"

    return make


def cut_short(folder: pathlib.Path) -> pathlib.Path:
    """An archive without its second half."""
    path = any_data.archive(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def damaged_image(folder: pathlib.Path) -> pathlib.Path:
    """A folder with an image that is none."""
    root = any_data.images(folder)
    (root / "dark" / "10.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    return root


def not_utf8(folder: pathlib.Path) -> pathlib.Path:
    """A folder with a text that is Latin-1."""
    root = any_data.texts(folder)
    (root / "sport" / "3.txt").write_bytes("caf\xe9".encode("latin-1"))
    return root


def one_class(folder: pathlib.Path) -> pathlib.Path:
    """A folder of images of one class."""
    return media.images(folder / "pictures", {"cat": 20})


def sizes(folder: pathlib.Path) -> pathlib.Path:
    """A folder of images of two sizes."""
    root = any_data.images(folder)
    media.write_image(root / "dark" / "large.png", media.pixels(1, (16, 8, 3)))
    return root


def empty_folder(folder: pathlib.Path) -> pathlib.Path:
    """A folder with nothing in it."""
    (folder / "nothing").mkdir()
    return folder / "nothing"


ROWS = "size,kind,price\n" + "".join(f"{i % 7},{'ab'[i % 2]},{i * 1.5}\n" for i in range(80))
NAN = np.where(np.arange(450).reshape(90, 5) == 7, np.nan, 1.0).astype(np.float32)
OBJECTS = np.array([{"run": "me"}] * 90, object)

CASES: dict[str, Case] = {
    "no such file": (lambda folder: folder / "nowhere.npz", [], ["nowhere.npz", "check the path"]),
    "an empty file": (written("empty.csv", ""), ["--label=price"], ["empty.csv", "is empty"]),
    "an empty archive": (written("empty.npz", b""), [], ["empty.npz", "is empty"]),
    "an empty folder": (empty_folder, [], ["nothing", "is an empty folder", "a folder for each class"]),
    "no label": (written("t.csv", ROWS), [], ["t.csv", "--label", "size, kind, price"]),
    "no such label": (written("t.csv", ROWS), ["--label=pric"], ["pric", "price"]),
    "no such column": (written("t.csv", ROWS), ["--label=price", "--drop=sice"], ["sice", "size"]),
    "rows of another length": (written("t.csv", ROWS + "1,2\n"), ["--label=price"], ["t.csv", "row 82 has 2 fields"]),
    "a label that is missing": (written("t.csv", ROWS + "1,a,\n"), ["--label=price"], ["t.csv", "`price`", "row 82"]),
    "names without rows": (written("t.csv", "size,price\n"), ["--label=price"], ["t.csv", "has no rows"]),
    "rows without names": (written("t.csv", "1,2\n3,4\n"), ["--label=2"], ["t.csv", "numbers in its first row"]),
    "two columns of one name": (written("t.csv", "a,a,b\n1,2,3\n"), ["--label=b"], ["two columns of the name `a`"]),
    "mixed types": (written("t.csv", ROWS + "old,a,1\n"), ["--label=price"], ["`size`", "`old` in row 82"]),
    "an infinite number": (written("t.csv", ROWS + "inf,a,1\n"), ["--label=price"], ["`size` holds inf in row 82"]),
    "numbers with signs": (written("t.csv", "a,b\n5%,1\n7%,2\n"), ["--label=b"], ["`5%` in row 2", "--drop=a"]),
    "dates": (written("t.csv", "a,b\n2020-01-01,1\n2020-01-02,2\n"), ["--label=b"], ["date32", "--drop=a"]),
    "names of examples as label": (
        written("t.csv", "a,b\n5,ann\n3,bob\n"),
        ["--label=b"],
        ["another text in every row"],
    ),
    "no Parquet": (written("t.parquet", ROWS), ["--label=price"], ["t.parquet", "is not Parquet"]),
    "a nested column": (parquet(a=[[1], [2]], b=[0, 1]), ["--label=b"], ["t.parquet", "`a` holds list", "--drop=a"]),
    "no column to learn from": (parquet(b=[0, 1]), ["--label=b"], ["t.parquet", "no column left to learn from"]),
    "no archive": (written("x.npz", "hello"), [], ["x.npz", "not an .npz archive"]),
    "a file of another kind": (written("x.json", "{}"), [], ["x.json", "no kind that can be read", ".parquet"]),
    "no array of this name": (written("x.npz", b"PK\x05\x06" + bytes(18)), [], ["x.npz", "x_train"]),
    "nan": (changed(x_train=NAN), [], ["numbers.npz", "x_train holds nan in row 1"]),
    "pickled objects": (changed(y_train=OBJECTS), [], ["numbers.npz", "y_train", "never unpickled"]),
    "arrays of different lengths": (changed(y_train=np.arange(50)), [], ["90 rows", "50"]),
    "an archive that is cut short": (cut_short, [], ["numbers.npz", "cut short"]),
    "a class that training does not know": (
        *(changed(x_test=np.zeros((3, 5), np.float32), y_test=np.array([0, 1, 7])), []),
        ["part `test`", "label `7`", "0, 1, 2"],
    ),
    "a single class": (changed(y_train=np.zeros(90, int)), [], ["every label is `0`", "nothing to tell apart"]),
    "a damaged image": (damaged_image, ["--model=convnet"], ["1 image", "dark/10.png", "--skip_damaged"]),
    "images of two sizes": (sizes, ["--model=convnet"], ["large.png", "16x8", "--image_size"]),
    "images of one class": (one_class, [], ["one class", "cat"]),
    "text that is not UTF-8": (not_utf8, ["--model=textcnn"], ["sport/3.txt", "not UTF-8", "save it as UTF-8"]),
    "a table that is not UTF-8": (written("t.csv", b"size,price\n\xe9,1\n"), ["--label=price"], ["t.csv", "UTF-8"]),
    "a shape that does not fit": (any_data.archive, ["--model=convnet"], ["convnet", "(5,)"]),
    "texts for images": (any_data.texts, ["--model=convnet"], ["convnet"]),
    "an option of tables": (any_data.archive, ["--label=price"], ["--label=price", "numbers.npz", "leave it out"]),
    "an option of images": (written("t.csv", ROWS), ["--label=price", "--image_size=8,8"], ["--image_size=8,8"]),
    "an option of files": (lambda folder: pathlib.Path("digits"), ["--label=price"], ["--label=price", "`digits`"]),
    "augmented rows": (any_data.archive, ["--augment=flip"], ["--augment=flip", "(5,)"]),
    "augmented texts": (any_data.texts, ["--augment=flip"], ["--augment=flip", "is text"]),
    "no such change": (any_data.images, ["--model=convnet", "--augment=spin"], ["spin", "flip"]),
    "a slice": (any_data.archive, ["--train_split=train[:50%]"], ["--train_split=train[:50%]", "numbers.npz"]),
    "no such part": (any_data.archive, ["--validation_split=test"], ["Unknown split `test`", "train"]),
    "a task of other labels": (any_data.archive, ["--task=multilabel"], ["--task=multilabel", "zeros and ones"]),
    "no such loss": (any_data.archive, ["--loss=cross"], ["--loss=cross", "huber"]),
    "no such metric": (any_data.archive, ["--metrics=acuracy"], ["--metrics=acuracy", "did you mean accuracy"]),
    "a loss of another task": (
        *(written("t.csv", ROWS), ["--label=price", "--loss=binary_crossentropy"]),
        ["--loss=binary_crossentropy", "the task is regression"],
    ),
    "smoothed numbers": (
        *(written("t.csv", ROWS), ["--label=price", "--label_smoothing=0.1"]),
        ["--label_smoothing=0.1", "regression"],
    ),
    "a weight of no class": (any_data.archive, ["--class_weight=cat:2"], ["--class_weight=cat:2", "0, 1, 2"]),
    "weights of numbers": (
        *(written("t.csv", ROWS), ["--label=price", "--class_weight=balanced"]),
        ["--class_weight", "regression"],
    ),
    "no network": (any_data.archive, ["--model=nowhere.keras"], ["--model=nowhere.keras"]),
    "no weights": (any_data.archive, ["--init_from=nowhere"], ["--init_from=nowhere"]),
    "a folder of data sets": (any_data.archive, ["--data_dir=x"], ["data_dir=x", "leave it out"]),
}
# One of each kind of reader and of settings; the others are as real.
FAST = ("no such file", "no such label", "a damaged image", "text that is not UTF-8", "pickled objects", "no such loss")
