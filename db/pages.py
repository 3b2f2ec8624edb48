"""The calls of a run in pages: many checked calls of one codec at a time, which can be turned into arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from db.records import checksum

PAGE_QUERIES = 1 << 16
"""Number of queries after which a page ends: about 4 MB of answers and rows for 10 classes."""


@dataclass(frozen=True, eq=False)
class Page:
    """Calls of one run and one codec, in order.

    call, step (-1: external), first, queries, charged: int64 (calls,). purposes, rows: one packed text per call.
    answers: the bytes of all calls.
    """

    codec: str
    call: NDArray[np.int64]
    step: NDArray[np.int64]
    first: NDArray[np.int64]
    queries: NDArray[np.int64]
    charged: NDArray[np.int64]
    purposes: tuple[str, ...]
    rows: tuple[str, ...]
    answers: bytes

    def __len__(self) -> int:
        return int(self.queries.sum())


def pages(connection: Connection, run: int) -> Iterator[Page]:
    """All calls of `run`, one page at a time.

    Raises ValueError at a damaged call, which `reading` turns into a StorageError that names the file.
    """
    statement = (
        "SELECT c.codec, c.first, c.number, coalesce(s.number, -1), c.queries, c.charged,"
        " coalesce(s.purpose, 'external'), c.rows, c.answers, c.crc32"
        " FROM calls AS c LEFT JOIN steps AS s ON s.id = c.step_id WHERE c.run_id = ? ORDER BY c.number"
    )
    rows = connection.execution_options(yield_per=32).exec_driver_sql(statement, (run,))
    for (codec, _), calls in groupby(rows, key=lambda call: (call[0], call[1] // PAGE_QUERIES)):
        yield _page(run, codec, list(calls))


def _page(run: int, codec: str, calls: Sequence[Any]) -> Page:
    _, first, number, step, queries, charged, purposes, rows, answers, sums = zip(*calls, strict=True)
    for call, row, answer, crc32 in zip(number, rows, answers, sums, strict=True):
        if checksum(codec, row, answer) != crc32:
            raise ValueError(f"run {run}, call {call} is damaged; restore the file from a copy")
    counts = {"call": number, "step": step, "first": first, "queries": queries, "charged": charged}
    arrays = {name: np.array(values, dtype=np.int64) for name, values in counts.items()}
    return Page(codec, purposes=purposes, rows=rows, answers=b"".join(answers), **arrays)
