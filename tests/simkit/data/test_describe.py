"""A source looked at before anything is paid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simkit.data.describe import describe
from simkit.errors import DataError
from tests.simkit.data.pictures import picture, save, save_classes


def test_a_folder_is_told_as_it_is_read(tmp_path: Path) -> None:
    save_classes(tmp_path / "test", {"b": 3, "a": 1})
    save_classes(tmp_path / "train", {"a": 2, "c": 2})
    actual = describe(tmp_path)
    assert (actual.kind, actual.train, actual.test, actual.read) == ("a folder of images", 4, 4, 4)
    assert (actual.image_shape, actual.classes, actual.per_class) == ((3, 4, 5), ("a", "b", "c"), (1, 3, 0))
    assert (actual.labelled, actual.problems, actual.remarks) == (True, (), ())
    assert describe(tmp_path, limit=2).read == 2
    assert json.loads(json.dumps(actual.to_json()))["test"] == 4


def test_loose_images_have_nothing_to_train_on(tmp_path: Path) -> None:
    save(tmp_path / "1.png", picture(1))
    actual = describe(tmp_path, image_size=(8, 9))
    assert (actual.train, actual.test, actual.labelled, actual.classes) == (None, 1, False, ())
    assert actual.image_shape == (3, 8, 9)
    assert "training needs labels" in actual.remarks[0]


def test_what_keeps_a_scan_from_it_is_told(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture(1))
    save(tmp_path / "b.png", picture(2, 9, 9))
    actual = describe(tmp_path)
    assert (actual.test, actual.read, actual.image_shape) == (2, 0, None)
    assert "image_size" in actual.problems[0]
    only_train = tmp_path / "more"
    save_classes(only_train / "train", {"a": 2})
    assert "add a folder test" in describe(only_train).problems[0]


def test_no_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data"):
        describe(tmp_path / "none")


def test_the_digits_too() -> None:
    actual = describe("digits", limit=20)
    assert (actual.train, actual.test, actual.read, len(actual.classes)) == (1297, 500, 20, 10)


def test_the_order_of_the_classes_is_told(tmp_path: Path) -> None:
    save_classes(tmp_path / "text" / "test", {"cat": 4, "ant": 4})
    save_classes(tmp_path / "numbers" / "test", {"2": 4, "10": 4})
    assert describe(tmp_path / "text").order == "sorted as text; classes.txt sets another order"
    assert describe(tmp_path / "numbers").order.startswith("sorted as numbers, where others (ImageFolder) sort as text")
    (tmp_path / "numbers" / "classes.txt").write_text("10\n2")
    assert describe(tmp_path / "numbers").order == "as classes.txt lists them"
    assert describe("digits").order == "as the source numbers them"
