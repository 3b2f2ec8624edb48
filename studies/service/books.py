"""Opens the place where a service records and charges: a ledger, or a database that its replicas share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.book import Book
from db.ledger import Ledger
from db.postgres import PostgresBook, is_postgres


@contextmanager
def opened(place: str) -> Iterator[Book]:
    """The book at a path or at the URL of a PostgreSQL database, for as long as the body runs. Raises StorageError."""
    if is_postgres(place):
        with PostgresBook(place) as book:
            yield book
    else:
        with Ledger.open(Path(place)) as ledger:
            try:
                yield ledger
            except BaseException:
                ledger.discard_if_empty()  # of a service that could not start
                raise
