"""Checks of a zip archive before any of its members is read."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from oracles.errors import ModelError, one_line

_ALLOWANCE = 2**24
"""Bytes that the members may unpack to beyond twice the file size, since small archives of code compress well."""


def members_of(path: Path, data: bytes) -> list[str]:
    """The names in a zip archive, the bytes of the file `path`; empty if it is none.

    Raises ModelError on a damaged archive or a zip bomb.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
    except zipfile.BadZipFile as error:
        if data.startswith(b"PK\x03\x04"):
            raise ModelError(f"{path} is a damaged or cut archive; copy or save it again") from error
        return []
    except Exception as error:  # zipfile raises errors of many types on damaged tables
        raise ModelError(f"{path} is a damaged archive: {one_line(error)}") from error
    unpacked, packed = sum(info.file_size for info in infos), len(data)
    if unpacked > 2 * packed + _ALLOWANCE:
        raise ModelError(f"{path} would unpack from {packed:,} to {unpacked:,} bytes, which no model does; not read")
    return [info.filename for info in infos]
