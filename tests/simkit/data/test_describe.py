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
    found = describe(tmp_path)
    assert (found.kind, found.train, found.test, found.read) == ("a folder of images", 4, 4, 4)
    assert (found.image_shape, found.classes, found.per_class) == ((3, 4, 5), ("a", "b", "c"), (1, 3, 0))
    assert (found.labelled, found.problems, found.remarks) == (True, (), ())
    assert describe(tmp_path, limit=2).read == 2
    assert json.loads(json.dumps(found.to_json()))["test"] == 4


def test_loose_images_have_nothing_to_train_on(tmp_path: Path) -> None:
    save(tmp_path / "1.png", picture(1))
    found = describe(tmp_path, image_size=(8, 9))
    assert (found.train, found.test, found.labelled, found.classes) == (None, 1, False, ())
    assert found.image_shape == (3, 8, 9)
    assert "training needs labels" in found.remarks[0]


def test_what_keeps_a_scan_from_it_is_told(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture(1))
    save(tmp_path / "b.png", picture(2, 9, 9))
    found = describe(tmp_path)
    assert (found.test, found.read, found.image_shape) == (2, 0, None)
    assert "image_size" in found.problems[0]
    only_train = tmp_path / "more"
    save_classes(only_train / "train", {"a": 2})
    assert "add a folder test" in describe(only_train).problems[0]


def test_no_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data"):
        describe(tmp_path / "none")


def test_the_digits_too() -> None:
    found = describe("digits", limit=20)
    assert (found.train, found.test, found.read, len(found.classes)) == (1297, 500, 20, 10)
