"""Reads a ledger in a notebook, as data frames, by SQL and as arrays, even while a scan writes it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from types import TracebackType

import pandas as pd

from db import reads
from db.engine import reading
from db.records import FloatArray, TriggerRow

_MOST_ROWS = 40
"""Runs that a notebook shows, at most: the first and the last."""


class Reader:
    """Read-only access to a ledger, made by `db.open`.

    Every method reads one snapshot of what is committed at that moment and then closes the file, so that a scan which
    writes it is never blocked. `with` works but is not needed, since nothing stays open. A ledger of an older schema is
    read unchanged. Runs are named by their id, the column `run`. Every method raises StorageError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path):
            pass

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def __repr__(self) -> str:
        return f"db.open({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """The runs as a table, for a notebook; names of models and data are escaped."""
        found = reads.overview(self.path)
        runs = f"{len(found)} {'run' if len(found) == 1 else 'runs'}" if len(found) else "no run yet"
        table = found.to_html(index=False, na_rep="", border=0, max_rows=_MOST_ROWS) if len(found) else ""
        return f"<div><p><strong>{escape(str(self.path))}</strong>: {runs}</p>{table}</div>"

    def sql(self, statement: str, **values: reads.Value) -> pd.DataFrame:
        """The result of a SELECT; `:name` in it stands for the value given as `name`."""
        return reads.sql(self.path, statement, values)

    def runs(self) -> pd.DataFrame:
        """See `reads.runs`."""
        return reads.runs(self.path)

    def queries(self, run: int | None = None, limit: int | None = None) -> pd.DataFrame:
        """See `reads.queries`."""
        return reads.queries(self.path, run, limit)

    def steps(self, run: int) -> pd.DataFrame:
        """See `reads.steps`."""
        return reads.steps(self.path, run)

    def spend(self) -> pd.DataFrame:
        """See `reads.spend`."""
        return reads.spend(self.path)

    def verdicts(self) -> pd.DataFrame:
        """See `reads.verdicts`."""
        return reads.verdicts(self.path)

    def triggers(self, run: int) -> list[TriggerRow]:
        """See `reads.triggers`."""
        return reads.triggers(self.path, run)

    def curve(self, run: int) -> pd.DataFrame:
        """See `reads.curve`."""
        return reads.curve(self.path, run)

    def answers(self, run: int) -> FloatArray:
        """See `reads.answers`."""
        return reads.answers(self.path, run)
