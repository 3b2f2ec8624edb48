"""Names and paths of data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simkit.data import load
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


def test_a_folder_named_digits_can_be_reached_as_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    assert load("digits", "test").name == "digits/test"
    with pytest.raises(DataError, match="no test"):
        load("./digits", "test")
