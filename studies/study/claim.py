"""The ledger of one scan of a study: claimed by one process, and resumed if possible, else started anew."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from db import reads
from db.ledger import Ledger
from studies.scan.ledger_run import opened


@dataclass(frozen=True, eq=False)
class Claim:
    """An open ledger that no other process can open. broken: a note on interrupted runs that could not be resumed."""

    ledger: Ledger
    broken: str = ""


@contextmanager
def claimed(folder: Path, stem: str, *, goes_on: bool) -> Iterator[Claim]:
    """The ledger `STEM.db`, or `STEM-2.db` and so on where those before hold an interrupted run.

    goes_on: whether such a run can be resumed. Raises StorageBusy while another process has the ledger, StorageError.
    """
    broken: list[str] = []
    for attempt in itertools.count(1):
        path = folder / (f"{stem}.db" if attempt == 1 else f"{stem}-{attempt}.db")
        with opened(path) as ledger:
            spent = None if goes_on else _spent_in_vain(ledger.path)
            if spent is None:
                yield Claim(ledger, "; ".join(broken))
                return
            broken.append(f"started anew: {path.name} was interrupted after {spent:,} queries")


def _spent_in_vain(path: Path) -> int | None:
    """The queries of unfinished runs; None where there are none."""
    runs = reads.runs(path)
    unfinished = runs[runs["state"] == "open"]
    return int(unfinished["spent"].sum()) if len(unfinished) else None
