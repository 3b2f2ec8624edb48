"""Files that are whole or not there, and the one error of a place that cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

from db.errors import StorageError


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, where they are not there yet. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: no such folder can be made ({error.strerror}); name another one") from error


def write_atomically(path: Path, data: bytes) -> None:
    """`data` under `path`, whole or not at all, also after a power cut. Raises StorageError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror}); make room, or name another folder"
        ) from error
