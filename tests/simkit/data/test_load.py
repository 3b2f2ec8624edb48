"""Names and paths of data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simkit.data import Split, load
from simkit.data.load import absolute, open_source
from simkit.errors import DataError


def test_an_unknown_split_is_refused() -> None:
    wrong: Any = "validation"
    with pytest.raises(DataError, match="no split 'validation'"):
        load("digits", wrong)


@pytest.mark.parametrize("name", ["missing", "missing.npz"])
def test_a_missing_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"{name}: no such data"):
        load(tmp_path / name, "test")


@pytest.mark.parametrize("name", ["images.zip", "images"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match="name `digits`"):
        load(tmp_path / name, "test")


def test_a_folder_of_two_kinds_is_refused(tmp_path: Path) -> None:
    for name in ("data/test-0.parquet", "cat/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="Parquet files and image files"):
        load(tmp_path, "test")


def test_a_size_is_for_image_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x_test=np.zeros((2, 4, 4), np.uint8), y_test=[0, 1])
    for data in ("digits", tmp_path / "x.npz"):
        with pytest.raises(DataError, match="image_size is for image files"):
            load(data, "test", image_size=(8, 8))


@pytest.mark.parametrize("data", ["digits", "array"])
def test_the_size_of_a_split_is_what_is_read(tmp_path: Path, data: str) -> None:
    if data == "array":
        np.savez(tmp_path / "x.npz", images=np.zeros((40, 4, 4), np.uint8), labels=np.arange(40) % 4)
        data = str(tmp_path / "x.npz")
    source = open_source(data)
    splits: tuple[Split, ...] = ("train", "test")
    assert [source.size(split) for split in splits] == [len(load(data, split)) for split in splits]


def test_a_folder_named_digits_can_be_reached_as_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    assert load("digits", "test").name == "digits/test"
    with pytest.raises(DataError, match="holds no images"):
        load("./digits", "test")


@pytest.mark.parametrize("name", ["images.npz", "images.h5", "test.html", "folder/test-0.parquet"])
def test_a_pointer_or_a_page_is_named_for_what_it_is(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    for data, says in ((b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"), (b"<html>", "a web page")):
        file.write_bytes(data)
        with pytest.raises(DataError, match=says):
            load(file.parent if "folder" in name else file, "test")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("set", "/zoos/set"),
        ("set:label=fine", "/zoos/set:label=fine"),
        ("/other/set:label=fine", "/other/set:label=fine"),
        ("digits", "digits"),
        ("torchvision:cifar10", "torchvision:cifar10"),
        ("", ""),
    ],
)
def test_a_path_is_made_absolute_and_keeps_its_column(data: str, expected: str) -> None:
    assert absolute(data, Path("/zoos")) == expected
