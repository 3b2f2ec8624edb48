"""The label column of Parquet files: which one is meant, what its classes are called, and that all files agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from simkit.data import load
from simkit.data.describe import describe
from simkit.errors import DataError
from tests.simkit.data.test_parquet import PIXELS, png, write

COARSE, FINE = ["pet", "bird"], ["cat", "dog", "owl"]


def labelled(file: Path, columns: dict[str, list[Any]], names: dict[str, list[str]]) -> None:
    """A file with one image per row and these label columns; those in `names` are ClassLabel columns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = len(next(iter(columns.values())))
    cells = [{"bytes": png(PIXELS[row]), "path": None} for row in range(rows)]
    image = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"img": image, **{name: pa.array(held) for name, held in columns.items()}})
    features: dict[str, Any] = {"img": {"_type": "Image"}}
    features |= {name: {"_type": "ClassLabel", "names": known} for name, known in names.items()}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, file)


@pytest.fixture
def two_columns(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        columns = {"fine": [2, 0, 1], "coarse": [1, 0, 0]}
        labelled(tmp_path / f"{split}.parquet", columns, {"fine": FINE, "coarse": COARSE})
    return tmp_path


@pytest.mark.parametrize(("column", "labels", "classes"), [("fine", [2, 0, 1], FINE), ("coarse", [1, 0, 0], COARSE)])
def test_the_column_that_is_named_is_read(
    two_columns: Path, column: str, labels: list[int], classes: list[str]
) -> None:
    images = load(f"{two_columns}:label={column}", "test")
    assert (images.labels.tolist(), images.classes) == (labels, tuple(classes))
    assert load(Path(f"{two_columns}:label={column}"), "test").sha256() == images.sha256()
    assert describe(f"{two_columns}:label={column}").order == f"as column '{column}' numbers them"


def test_two_label_columns_are_both_named_with_the_option(two_columns: Path) -> None:
    with pytest.raises(DataError, match="label columns fine and coarse; say which one") as raised:
        load(two_columns, "test")
    option = str(raised.value).partition("--data ")[2]
    assert load(option, "test").classes == tuple(FINE), "the advice works as it is printed"


def test_the_option_names_the_folder_also_for_files_below_it(tmp_path: Path) -> None:
    labelled(tmp_path / "data" / "test.parquet", {"a": [0, 1], "b": [1, 0]}, {})
    with pytest.raises(DataError, match=f"columns img, a, b; .* --data {tmp_path}:label=COLUMN"):
        load(tmp_path, "test")
    assert load(f"{tmp_path}:label=b", "test").labels.tolist() == [1, 0]


def test_a_column_named_label_needs_no_choice(tmp_path: Path) -> None:
    columns, names = {"label": [0, 1], "coarse": [1, 0]}, {"label": ["a", "b"], "coarse": COARSE}
    labelled(tmp_path / "test.parquet", columns, names)
    assert load(tmp_path, "test").classes == ("a", "b")
    assert load(f"{tmp_path}:label=coarse", "test").classes == tuple(COARSE)


def test_a_folder_of_that_very_name_is_no_choice_of_a_column(tmp_path: Path) -> None:
    write(tmp_path / "x:label=y" / "test.parquet", [png(PIXELS[0])], [0])
    assert load(tmp_path / "x:label=y", "test").labels.tolist() == [0]


@pytest.mark.parametrize(
    ("column", "says"), [("none", "no column 'none', but img, fine, coarse"), ("", "no column ''")]
)
def test_a_column_that_is_not_there_is_refused(two_columns: Path, column: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load(f"{two_columns}:label={column}", "test")


@pytest.mark.parametrize("data", ["digits", "torchvision:cifar10"])
def test_a_column_of_anything_else_is_refused(data: str) -> None:
    with pytest.raises(DataError, match="whose labels have no column; leave out :label=fine"):
        load(f"{data}:label=fine", "test")


def test_text_is_read_as_class_names_sorted_over_all_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [png(PIXELS[0])] * 3, ["owl", "cat", "dog"])
    write(tmp_path / "test.parquet", [png(PIXELS[0])] * 2, ["owl", "cat"])
    images = load(tmp_path, "test")
    assert (images.labels.tolist(), images.classes) == ([2, 0], ("cat", "dog", "owl"))
    assert describe(tmp_path).order == "the text in column 'label', sorted as text"


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_of_numbers_is_sorted_as_numbers(tmp_path: Path, kind: pa.DataType) -> None:
    labelled(tmp_path / "test.parquet", {"label": pa.array(["10", "9", "1"], kind)}, {})
    images = load(tmp_path, "test")
    assert (images.labels.tolist(), images.classes) == ([2, 1, 0], ("1", "9", "10"))
    assert describe(tmp_path).order == "the text in column 'label', sorted as numbers"


STORED = "but labels are class numbers from 0 or text; store the column as int64"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (pa.array([0.0, 1.0]), f"'label' is double, {STORED}"),
        (pa.array([0.0, 1.0], pa.float32()), f"'label' is float, {STORED}"),
        (pa.array([True, False]), f"'label' is bool, {STORED}"),
        (pa.array([0.5, 1.0]), "'label' holds double, not class numbers from 0"),
    ],
    ids=["double", "float", "bool", "halves"],
)
def test_labels_of_another_type_say_what_to_store(labels: pa.Array, said: str, tmp_path: Path) -> None:
    labelled(tmp_path / "test.parquet", {"label": labels}, {})
    with pytest.raises(DataError) as caught:
        load(tmp_path, "test")
    assert said in str(caught.value)


def test_a_missing_number_is_told_what_to_do(tmp_path: Path) -> None:
    labelled(tmp_path / "test.parquet", {"label": [0, None]}, {})
    with pytest.raises(DataError, match=r"row 1: is None, which means .*; name another split, or leave such rows out"):
        load(tmp_path, "test")


def test_a_missing_text_is_a_row_without_a_class(tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", [png(PIXELS[0])] * 3, ["owl", None, "cat"])
    with pytest.raises(DataError, match="column 'label', row 1: is None"):
        load(tmp_path, "test")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["cat", "owl", "dog"], "class 1 is 'owl', but in train-0.parquet 'dog'"),
        (["cat", "dog", "eel"], "class 2 is 'eel', but in train-0.parquet 'owl'"),
        (["cat", "dog"], "2 classes, but in train-0.parquet 3"),
        (None, "names no classes, but train-0.parquet does"),
    ],
)
def test_files_that_name_their_classes_differently_are_refused(
    tmp_path: Path, names: list[str] | None, says: str
) -> None:
    write(tmp_path / "train-0.parquet", [png(PIXELS[0])] * 2, [0, 1], FINE)
    write(tmp_path / "train-1.parquet", [png(PIXELS[0])] * 2, [0, 1], FINE)
    assert load(tmp_path, "train").classes == tuple(FINE)
    write(tmp_path / "train-1.parquet", [png(PIXELS[0])] * 2, [0, 1], names)
    with pytest.raises(DataError, match=says) as raised:
        load(tmp_path, "train", limit=1)
    assert str(tmp_path / "train-1.parquet") in str(raised.value)


def test_names_in_a_later_file_only_are_refused_too(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", [png(PIXELS[0])], [0])
    write(tmp_path / "train-1.parquet", [png(PIXELS[0])], [0], FINE)
    with pytest.raises(DataError, match=r"train-0\.parquet: names no classes, but train-1\.parquet does"):
        load(tmp_path, "train")
