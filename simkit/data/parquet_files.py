"""Opens Parquet files and reads rows of them, a few at a time, after their promises were compared with their size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from oracles.outside import DATA_BYTES, open_outside, reason
from simkit.data.source import IndexArray
from simkit.errors import DataError

_BATCH = 64
"""Rows in memory at once: a dictionary page may repeat one large value in all rows of a group."""

_ALLOWANCE, _RATIO, _MOST = 2**26, 100, 2**32
"""A group of rows may unpack to 64 MiB, or to 100 times the file and 4 GiB: encoded images hardly shrink."""


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """The `pyarrow.parquet.ParquetFile`. Raises DataError, also for one that promises more than its bytes can hold."""
    import pyarrow as pa  # type: ignore[import-untyped]  # slow to import, and only Parquet files need it
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        with open_outside(file, DATA_BYTES) as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            parquet = pq.ParquetFile(stream)
            _check_promises(file, parquet.metadata, size)
            yield parquet
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: cannot be read as Parquet: {reason(error)}") from error


def _check_promises(file: Path, metadata: Any, size: int) -> None:
    if metadata.num_rows > size:
        raise DataError(f"{file}: promises {metadata.num_rows:,} rows in {size:,} bytes; not read")
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        unpacked = sum(group.column(i).total_uncompressed_size for i in range(group.num_columns))
        if unpacked > min(_RATIO * size + _ALLOWANCE, _MOST):
            raise DataError(
                f"{file}: a group of {group.num_rows:,} rows would unpack from {size:,} to {unpacked:,} bytes; write "
                "it in smaller groups"
            )


def batches(file: Path, parquet: Any, group: int, columns: list[str]) -> Iterator[tuple[int, Any]]:
    """(first row, record batch) of one group, in order. Raises DataError, also where rows are missing."""
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

    start, promised = 0, parquet.metadata.row_group(group).num_rows
    try:
        for batch in parquet.iter_batches(_BATCH, row_groups=[group], columns=columns):
            yield start, batch
            start += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: columns {' and '.join(map(repr, columns))}: {reason(error)}") from error
    if start != promised:
        raise DataError(f"{file}: holds {start:,} rows of the {promised:,} of a group; save it again")


def chosen(batch: Any, start: int, rows: IndexArray) -> tuple[int, int, Any]:
    """Which of the sorted `rows` lie in a batch whose first row is `start`, from `low` up to `high`, and they alone."""
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

    low, high = (int(place) for place in np.searchsorted(rows, [start, start + batch.num_rows]))
    return low, high, batch.take(pa.array(rows[low:high] - start))
