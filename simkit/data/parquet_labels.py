"""Which columns of Parquet files hold the images and their classes, and what the classes are called."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from simkit.data.layout import ordered
from simkit.data.parquet_files import batches, opened
from simkit.errors import DataError

MOST_CLASSES = 2**15

LABEL = ":label="
"""Between a folder of Parquet files and the label column that is meant, as in `cifar100:label=fine_label`."""


@dataclass(frozen=True)
class Columns:
    """The names of the image and label columns, and the class names where they are known.

    text: the labels are stored as text, so `classes` are all values of any split, sorted.
    """

    image: str
    label: str
    classes: tuple[str, ...] | None
    text: bool = False

    def numbers(self, file: Path, labels: Any) -> list[int | None]:
        """The class numbers in an array of pyarrow, None where there is none. Raises DataError."""
        import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

        if self.text and self.classes is not None:
            number = {name: place for place, name in enumerate(self.classes)}
            return [None if name is None else number[str(name)] for name in labels.to_pylist()]
        try:
            numbers: list[int | None] = labels.cast(pa.int64()).to_pylist()
        except pa.ArrowException as error:
            raise DataError(
                f"{file}: column {self.label!r} holds {labels.type}, not class numbers from 0 ({error}); name the "
                f"column of the class numbers: {_option(file, 'COLUMN')}"
            ) from error
        return numbers

    @property
    def order(self) -> str:
        """Where the numbers of the classes come from, in words."""
        if not self.text:
            return f"as column {self.label!r} numbers them"
        return f"the text in column {self.label!r}, sorted {_sorting(self.classes or ())}"


def columns_of(file: Path, label: str | None) -> Columns:
    """The columns `image` and `label`, or the only ones with the types Image and ClassLabel in the schema.

    label: the label column that the user named. Raises DataError where it is not told which column is meant.
    """
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

    with opened(file) as parquet:
        schema = parquet.schema_arrow
    features = _features(schema.metadata or {})
    image, label = _image(file, schema.names, features), _label(file, schema.names, features, label)
    kind, held = schema.field(image).type, schema.field(label).type
    if not any(child.name == "bytes" for child in (kind.field(i) for i in range(kind.num_fields))):
        raise DataError(f"{file}: column {image!r} is {kind}; need a struct with the encoded image in `bytes`")
    names = features.get(label, {}).get("names")
    if pa.types.is_dictionary(held):
        held = held.value_type
    text = not names and (pa.types.is_string(held) or pa.types.is_large_string(held))
    return Columns(image, label, tuple(str(name) for name in names) if names else None, text)


def common_columns(files: Sequence[Path], every: Sequence[Path], label: str | None) -> Columns:
    """The columns of the `files` of a split, with the classes; `every`: the files of all splits.

    Raises DataError where a file names the classes unlike the first one.
    """
    first = columns_of(files[0], label)
    for file in files[1:]:
        with opened(file) as parquet:
            schema = parquet.schema_arrow
            check_columns(file, parquet, first.image, first.label)
        names = _features(schema.metadata or {}).get(first.label, {}).get("names")
        _check_same(file, tuple(map(str, names)) if names else None, files[0], first)
    return replace(first, classes=_text_classes(every, first.label)) if first.text else first


def numbered(every: Sequence[Path], label: str) -> tuple[str, ...]:
    """Class names for a schema that has none: the numbers up to the largest label of any split."""
    largest = max(_largest_label(file, label) for file in every)
    return tuple(str(number) for number in range(largest + 1))


def check_columns(file: Path, parquet: Any, *columns: str) -> None:
    """Raises DataError where a file lacks a column of the first one."""
    for column in columns:
        if column not in parquet.schema_arrow.names:
            raise DataError(f"{file}: has no column {column!r}, unlike the first file; store all of them alike")


def _check_same(file: Path, names: tuple[str, ...] | None, first: Path, columns: Columns) -> None:
    known = columns.classes
    if names == known:
        return
    if names is None or known is None:
        lacking, other = (file, first) if names is None else (first, file)
        raise DataError(f"{lacking}: names no classes, but {other.name} does; write all files of a set alike")
    at = next((k for k, pair in enumerate(zip(names, known, strict=False)) if pair[0] != pair[1]), None)
    here, there = f"{len(names)} classes", f"{len(known)}"
    if at is not None:
        here, there = f"class {at} is {names[at]!r}", repr(known[at])
    raise DataError(
        f"{file}: {here}, but in {first.name} {there}: the files number their classes differently; write all of them "
        "with the same class names in the same order"
    )


def _features(metadata: dict[bytes, bytes]) -> dict[str, dict[str, Any]]:
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # written by other software, so the columns must have the usual names


def _typed(names: Sequence[str], features: dict[str, dict[str, Any]], kind: str) -> list[str]:
    return [name for name in names if features.get(name, {}).get("_type") == kind]


def _image(file: Path, names: Sequence[str], features: dict[str, dict[str, Any]]) -> str:
    typed = ["image"] if "image" in names else _typed(names, features, "Image")
    if len(typed) != 1:
        raise DataError(f"{file}: has the columns {', '.join(names)}; name one of them 'image'")
    return typed[0]


def _label(file: Path, names: Sequence[str], features: dict[str, dict[str, Any]], given: str | None) -> str:
    if given is not None:
        if given not in names:
            raise DataError(f"{file}: has no column {given!r}, but {', '.join(names)}")
        return given
    typed = ["label"] if "label" in names else _typed(names, features, "ClassLabel")
    if len(typed) == 1:
        return typed[0]
    if typed:
        raise DataError(
            f"{file}: has the label columns {' and '.join(typed)}; say which one, as in {_option(file, typed[0])}"
        )
    raise DataError(
        f"{file}: has the columns {', '.join(names)}; say which one holds the labels, as in {_option(file, 'COLUMN')}"
    )


def _option(file: Path, column: str) -> str:
    folder = file.parent.parent if file.parent.name == "data" else file.parent
    return f"--data {folder}{LABEL}{column}"


def _sorting(classes: Sequence[str]) -> str:
    return "as numbers" if classes and all(name.isdecimal() for name in classes) else "as text"


def _text_classes(every: Sequence[Path], label: str) -> tuple[str, ...]:
    found: set[str] = set()
    for file in every:
        with opened(file) as parquet:
            check_columns(file, parquet, label)
            for group in range(parquet.num_row_groups):
                for _, batch in batches(file, parquet, group, [label]):
                    found.update(map(str, batch.column(label).drop_null().to_pylist()))
            if len(found) > MOST_CLASSES:
                raise DataError(f"{file}: column {label!r} holds more than {MOST_CLASSES:,} different texts")
    return ordered(found)


_INTEGERS = (
    "but labels are class numbers from 0 or text; store the column as int64 (astype('int64') in pandas) or as text"
)


def _largest_label(file: Path, column: str) -> int:
    largest = 0
    with opened(file) as parquet:
        check_columns(file, parquet, column)
        for group in range(parquet.num_row_groups):
            for _, batch in batches(file, parquet, group, [column]):
                labels = batch.column(column).drop_null().to_numpy(zero_copy_only=False)
                if not np.issubdtype(labels.dtype, np.integer):
                    raise DataError(f"{file}: column {column!r} is {batch.schema.field(0).type}, {_INTEGERS}")
                largest = max(largest, int(labels.max(initial=0)))
    if largest >= MOST_CLASSES:
        raise DataError(f"{file}: column {column!r} holds {largest}; classes are counted from 0")
    return largest
