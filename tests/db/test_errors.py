"""Whatever is raised below becomes one line that names the file."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from db.errors import StorageError, StorageFull, translated


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (ValueError(), StorageError, "a.db: ValueError"),
        (ValueError("one\ntwo"), StorageError, "a.db: one"),
        (OSError(), StorageError, "a.db: OSError; choose a file"),
        (OSError(errno.EACCES, "Permission denied"), StorageError, "Permission denied; choose a file in a folder"),
        (
            OSError(errno.EIO, "Input/output error"),
            StorageFull,
            "failing .Input/output error.; 7 queries are not stored",
        ),
        (OSError(errno.ENOSPC, "No space left"), StorageFull, "free some space and try again"),
    ],
)
def test_an_error_becomes_one_line(raised: Exception, kind: type[StorageError], words: str) -> None:
    with pytest.raises(StorageError, match=words) as error, translated(Path("a.db"), 7):
        raise raised
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
