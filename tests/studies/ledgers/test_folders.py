"""Which files of a folder are read as ledgers."""

from __future__ import annotations

from pathlib import Path

import pytest

from db.errors import StorageError
from studies.ledgers.folders import ledgers_in


def test_databases_of_a_folder_and_below_in_order(tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    for name in ("zoo/b.db", "c.db", "a.db", "a.db.lock", "a.html"):
        (tmp_path / name).touch()
    assert ledgers_in(tmp_path) == [tmp_path / "a.db", tmp_path / "c.db", tmp_path / "zoo" / "b.db"]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="none: no folder of ledgers; name the folder"):
        ledgers_in(tmp_path / "none")
