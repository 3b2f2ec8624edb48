"""Creates folders and writes files atomically, with one kind of error for a path that cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

from db.errors import StorageError


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents if they do not exist. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: the folder cannot be created ({error.strerror}); name another one") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` completely or not at all, even after a power cut. Raises StorageError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror}); free some space, or name another folder"
        ) from error
