"""Checks of a zip archive before any of its members is read."""

from __future__ import annotations

import zipfile
from pathlib import Path

from oracles.errors import ModelError, one_line

_ALLOWANCE = 2**24
"""Bytes that the members may unpack to beyond twice the file size, since small archives of code compress well."""


def members_of(path: Path) -> list[str]:
    """The names in a zip archive, empty if the file is none. Raises ModelError on a damaged archive or a zip bomb."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except zipfile.BadZipFile as error:
        if _begins_as_zip(path):
            raise ModelError(f"{path} is a damaged or cut archive; copy or save it again") from error
        return []
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # zipfile raises errors of many types on damaged tables
        raise ModelError(f"{path} is a damaged archive: {one_line(error)}") from error
    unpacked, packed = sum(info.file_size for info in infos), path.stat().st_size
    if unpacked > 2 * packed + _ALLOWANCE:
        raise ModelError(f"{path} would unpack from {packed:,} to {unpacked:,} bytes, which no model does; not read")
    return [info.filename for info in infos]


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"
