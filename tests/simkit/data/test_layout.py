"""Which files a folder holds, of which class and split: by names alone, no file is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simkit.data.layout import find_files, holds_images
from simkit.data.source import Split
from simkit.errors import DataError


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.touch()
    return folder


def _classes(folder: Path, names: Sequence[str], each: int = 4) -> Path:
    return _touch(folder, *(f"{name}/{i}.png" for name in names for i in range(each)))


def test_classes_are_sorted_by_name(tmp_path: Path) -> None:
    actual = find_files(_classes(tmp_path, ["dog", "Ant", "cat"]), "test")
    assert actual.classes == ("Ant", "cat", "dog")
    assert [actual.classes[label] for label in actual.labels] == [file.parent.name for file in actual.files]


def test_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    assert find_files(_classes(tmp_path / "a", ["10", "9", "0"]), "test").classes == ("0", "9", "10")
    assert find_files(_classes(tmp_path / "b", ["10", "9", "x"]), "test").classes == ("10", "9", "x")


def test_a_quarter_of_each_class_is_held_out_for_ever(tmp_path: Path) -> None:
    _classes(tmp_path, ["a", "b"], each=20)
    train, test = find_files(tmp_path, "train"), find_files(tmp_path, "test")
    assert np.bincount(train.labels).tolist() == [15, 15]
    assert np.bincount(test.labels).tolist() == [5, 5]
    assert len({*train.files, *test.files}) == 40
    assert find_files(tmp_path, "test").files == test.files


@pytest.mark.parametrize("held_out", ["test", "val", "validation"])
def test_splits_are_folders_too(tmp_path: Path, held_out: str) -> None:
    _classes(tmp_path / "train", ["a", "c"])
    _classes(tmp_path / held_out, ["b", "c"], each=1)
    train, test = find_files(tmp_path, "train"), find_files(tmp_path, "test")
    assert train.classes == test.classes == ("a", "b", "c"), "of all splits together"
    assert (train.labels.tolist(), test.labels.tolist()) == ([0] * 4 + [2] * 4, [1, 2])
    assert {file.relative_to(tmp_path).parts[0] for file in test.files} == {held_out}


def test_one_split_is_enough_for_what_needs_only_that(tmp_path: Path) -> None:
    _classes(tmp_path / "test", ["a", "b"], each=1)
    assert len(find_files(tmp_path, "test").files) == 2
    with pytest.raises(DataError, match="holds test; add a folder train"):
        find_files(tmp_path, "train")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert find_files(_classes(tmp_path, ["bus", "train"]), "test").classes == ("bus", "train")


def test_loose_images_have_no_labels(tmp_path: Path) -> None:
    _touch(tmp_path / "flat", "b.png", "a.JPG", "notes.txt", ".hidden.png")
    actual = find_files(tmp_path / "flat", "test")
    assert [file.name for file in actual.files] == ["a.JPG", "b.png"]
    assert (actual.labels.tolist(), actual.classes) == ([-1, -1], ())
    _touch(tmp_path / "split", "test/1.png", "train/1.png")
    assert find_files(tmp_path / "split", "test").labels.tolist() == [-1]
    for folder in (tmp_path / "flat", tmp_path / "split"):
        with pytest.raises(DataError, match="training needs labels"):
            find_files(folder, "train")


def test_the_order_of_classes_can_be_said(tmp_path: Path) -> None:
    _classes(tmp_path, ["cat", "ant"])
    (tmp_path / "classes.txt").write_text("dog\ncat\nant\n\n", encoding="utf-8")
    actual = find_files(tmp_path, "test")
    assert actual.classes == ("dog", "cat", "ant")
    assert [actual.classes[label] for label in actual.labels] == [file.parent.name for file in actual.files]
    (tmp_path / "classes.txt").write_text("cat\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"ant: no such class in classes\.txt"):
        find_files(tmp_path, "test")


@pytest.mark.parametrize("text", [b"cat\n\nant\n", b"cat\ncat\n", b"\xff\xfe\x00"])
def test_an_order_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    (_classes(tmp_path, ["cat"]) / "classes.txt").write_bytes(text)
    with pytest.raises(DataError, match=r"classes\.txt: "):
        find_files(tmp_path, "test")


def test_an_empty_class_keeps_its_number(tmp_path: Path) -> None:
    _touch(_classes(tmp_path, ["a", "c"]), "b/readme.txt", ".git/x.png")
    actual = find_files(tmp_path, "train")
    assert actual.classes == ("a", "b", "c")
    assert set(actual.labels.tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["a/1.png", "2.png"], "holds images such as 2.png beside the folder a"),
        (["a/", "b/"], "holds no images; it takes .png"),
        (["readme.txt"], "holds no images"),
        (["a/b/c/1.png"], "holds the folder b"),
        (["train/a/1.png", "test/a/", "extra/1.png"], "holds the folder a"),
        (["test/a/", "test/b/"], "holds no images"),
        (["a/1.png", "b/1.png", "b/2.png"], "cannot split 3 images .* give each class two"),
    ],
)
def test_it_refuses_in_one_line(tmp_path: Path, names: list[str], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        find_files(_touch(tmp_path, *names), "test")
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: cannot be read: No such file"):
        find_files(tmp_path / "gone", "test")


def test_loops_of_links_end(tmp_path: Path) -> None:
    _classes(tmp_path, ["a"])
    (tmp_path / "a" / "self.png").symlink_to("self.png")
    actual = find_files(tmp_path, "train").files + find_files(tmp_path, "test").files
    assert sum(file.name == "self.png" for file in actual) == 1, "opening it will say what is wrong"
    (tmp_path / "up").symlink_to(tmp_path)
    with pytest.raises(DataError, match="up: holds the folder a"):
        find_files(tmp_path, "test")
    only = tmp_path / "only"
    only.mkdir()
    (only / "up").symlink_to(only)
    assert not holds_images(only)


def test_no_file_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _classes(tmp_path, ["a", "b"], each=50)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was looked at")

    monkeypatch.setattr(os, "stat", refuse)
    assert len(find_files(tmp_path, "train").files) == 75


@given(st.lists(st.integers(2, 9), min_size=1, max_size=5))
def test_every_image_is_in_one_split(tmp_path_factory: pytest.TempPathFactory, counts: list[int]) -> None:
    folder = tmp_path_factory.mktemp("set")
    for number, count in enumerate(counts):
        _classes(folder, [str(number)], each=count)
    splits: tuple[Split, ...] = ("train", "test")
    parts = [find_files(folder, split) for split in splits]
    assert len({file for part in parts for file in part.files}) == sum(counts) == sum(len(p.files) for p in parts)
