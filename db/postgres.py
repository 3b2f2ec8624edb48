"""A book that the replicas of a service share, in PostgreSQL: one transaction stores an answer and charges it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, RowMapping, create_engine, func, inspect, literal, make_url, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from db.errors import StorageError
from db.postgres_tables import SCHEMA, alarms, callers, calls, is_known, pictures, prepare, refusals, runs
from db.records import CallLike, FloatArray, RunInfo, StoredCall, check_call, pack_rows, unpack_rows
from db.service_reads import Caller
from db.service_records import ALARM_COLUMNS, Alarm, AlarmLike, Beside, StoredDelivery, image_sha256, pack_picture
from db.service_rows import REASONS_OF_RATE, check_beside
from db.tally import TALLY_SECONDS, Tally

_CONNECTION = {
    "connect_timeout": 5,
    "options": "-c statement_timeout=10000 -c idle_in_transaction_session_timeout=10000",
}
"""A replica that hangs in a transaction would otherwise hold up the calls of its keys elsewhere for ever."""


def is_postgres(place: str) -> bool:
    """Whether a ledger's place is the URL of a PostgreSQL database, and not a file."""
    return place.startswith(("postgres://", "postgresql://", "postgresql+psycopg://"))


class PostgresBook:
    """An open database and a context manager; see `db.book.Book`. Any number of processes may have it open.

    url: `postgresql://USER@HOST/DATABASE`; a password is better left to PGPASSWORD or ~/.pgpass. make: whether to make
    the tables where there are none. Raises StorageError.
    """

    def __init__(self, url: str, make: bool = True) -> None:
        self.engine, self.name = _engine(url)
        self._runs: dict[str, PostgresRun] = {}
        self._lock = threading.Lock()
        with self.transaction() as connection:
            if not make and not inspect(connection).has_table("runs", SCHEMA):
                raise StorageError(f"{self.name}: no service has recorded there; check the address")
            version = prepare(connection)
        if not is_known(version):
            raise StorageError(f"{self.name}: tables of version {version}, by another simkit; use another database")

    @property
    def shared(self) -> bool:
        """True: what is spent must be read at each call."""
        return True

    def begin(self, run: RunInfo) -> PostgresRun:
        """The run with this key, new or stored. Raises StorageError."""
        caller = json.loads(run.config)["service"]["key"]
        row = {name: value for name, value in vars(run).items() if name != "budget"}
        with self._lock:
            if run.key not in self._runs:
                with self.transaction() as connection:
                    connection.execute(insert(callers).values(id=caller).on_conflict_do_nothing())
                    made = insert(runs).values(**row, caller=caller, at=time.time())
                    connection.execute(made.on_conflict_do_nothing())
                    found = connection.execute(select(runs).where(runs.c.key == run.key)).mappings().one()
                self._runs[run.key] = PostgresRun(self, found)
            return self._runs[run.key]

    def caller(self, key: str) -> Caller:
        """What is stored of an API key, by its id."""
        own = select(runs.c.id).where(runs.c.caller == key)
        keys = select(func.array_agg(runs.c.key)).where(runs.c.caller == key).scalar_subquery()
        banned = select(func.max(alarms.c.at)).where(alarms.c.run_id.in_(own), alarms.c.action == "ban")
        spent = select(callers.c.spent).where(callers.c.id == key).scalar_subquery()
        with self.transaction() as connection:
            row = connection.execute(select(keys, spent, banned.scalar_subquery())).one()
        return Caller(tuple(row[0] or ()), int(row[1] or 0), row[2])

    def recent(self, caller: str, since: float) -> list[tuple[float, int]]:
        """See `db.service_reads.recent`."""
        with self.transaction() as connection:
            own = connection.execute(select(runs.c.id).where(runs.c.caller == caller)).scalars().all()
            return _recent(connection, own, since)

    def kept_bytes(self) -> int:
        """The bytes that the kept images take, compressed."""
        with self.transaction() as connection:
            statement = select(func.coalesce(func.sum(func.length(pictures.c.data)), 0))
            return int(connection.execute(statement).scalar_one())

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction. Raises StorageError, after which nothing of it is stored; or, where the connection ended
        at its very end, perhaps all of it."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StorageError(f"{self.name}: {_reason(error)}") from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> PostgresBook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PostgresRun:
    """See `db.book.BookRun`. Safe to share among threads, but calls are recorded one at a time."""

    def __init__(self, book: PostgresBook, row: RowMapping) -> None:
        self._book, self._id, self._caller = book, int(row["id"]), str(row["caller"])
        self._calls, self._queries, self.kept = int(row["calls"]), int(row["queries"]), 0
        self._tally, self._tally_lock = Tally(self._store_refusals), threading.Lock()
        self._lock = threading.Lock()

    @property
    def queries(self) -> int:
        """Number of queries answered as far as this process knows: the ordinal of the next one."""
        return self._queries

    def look(self) -> None:
        """See `db.book.BookRun`."""
        with self._book.transaction() as connection:
            row = connection.execute(select(runs.c.calls, runs.c.queries).where(runs.c.id == self._id)).one()
        self._count(int(row[0]), int(row[1]))

    def _count(self, calls: int, queries: int) -> None:
        with self._lock:  # a look that began before a commit may end after it
            if calls > self._calls:
                self._calls, self._queries = calls, queries

    def check_step(self, step: int | None) -> None:
        """Raise StorageError for a step: calls of a service belong to none."""
        if step is not None:
            raise StorageError(f"{self._book.name}: step {step}; calls of a service belong to no step")

    def record(self, call: CallLike, beside: Beside | None = None) -> None:
        """See `db.book.BookRun`."""
        check_call(call)
        self.check_step(call.step)
        beside = beside or Beside()
        check_beside(beside, len(call.rows))
        queries, hashes, kept = len(call.rows), None, 0
        with self._lock:
            number, first = self._calls, self._queries
        with self._book.transaction() as connection:
            self._charge(connection, (number, first, queries), beside.cap)
            if beside.images is not None:
                hashes, kept = _keep(connection, beside.images, beside.room)
            row = {"codec": call.codec, "rows": pack_rows(call), "answers": call.answers, "hashes": hashes}
            ordinals = {"number": number, "first": first, "queries": queries, "charged": queries}
            connection.execute(
                insert(calls), {"run_id": self._id, **ordinals, **row, **_beside(beside), "at": time.time()}
            )
            self._add_alarms(connection, beside.alarms)
        self._count(number + 1, first + queries)
        self.kept += kept

    def _charge(self, connection: Connection, ordinals: tuple[int, int, int], cap: int | None) -> None:
        """Both updates lock their row until the end of the transaction: one call of a key is charged at a time."""
        number, first, queries = ordinals
        spent = callers.c.spent + queries
        paid = update(callers).where(callers.c.id == self._caller, literal(cap is None) | (spent <= (cap or 0)))
        if connection.execute(paid.values(spent=spent)).rowcount != 1:
            raise StorageError(f"{self._book.name}: another replica has spent the budget of {self._caller}; ask again")
        at = update(runs).where(runs.c.id == self._id, runs.c.calls == number, runs.c.queries == first)
        next_one = {"calls": number + 1, "queries": first + queries}
        if connection.execute(at.values(next_one)).rowcount != 1:
            raise StorageError(f"{self._book.name}: another replica has answered calls of {self._caller}; ask again")

    def tally(self, queries: int, reason: str) -> None:
        """See `db.run.Run.tally`."""
        with self._tally_lock:
            self._tally.add(queries, reason)

    def _store_refusals(self, row: int | None, queries: int, reason: str, at: float) -> int:
        with self._book.transaction() as connection:
            if row is not None:
                connection.execute(update(refusals).where(refusals.c.id == row).values(queries=queries))
                return row
            made = insert(refusals).values(run_id=self._id, queries=queries, reason=reason, at=at)
            return int(connection.execute(made.returning(refusals.c.id)).scalar_one())

    def delivery(self, idempotency: str) -> StoredDelivery | None:
        """See `db.run.Run.delivery`."""
        wanted = select(calls).where(calls.c.run_id == self._id, calls.c.idempotency == idempotency)
        with self._book.transaction() as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        if row is None:
            return None
        stored = StoredCall(None, unpack_rows(row["rows"]), row["codec"], bytes(row["answers"]), int(row["first"]))
        return StoredDelivery(row["digest"], int(row["number"]), int(row["queries"]), stored)

    def fingerprints(self, width: int, last: int) -> FloatArray:
        """See `db.run.Run.fingerprints`."""
        prints = calls.c.fingerprints
        wanted = select(prints).where(calls.c.run_id == self._id, prints.is_not(None)).order_by(calls.c.number.desc())
        found: list[FloatArray] = []
        with self._book.transaction() as connection:
            for (data,) in connection.execution_options(yield_per=64).execute(wanted.limit(last)):
                found.append(np.frombuffer(bytes(data), "<f4").astype(np.float32).reshape(-1, width))
                if sum(map(len, found)) >= last:
                    break
        return np.concatenate(found[::-1])[-last:] if found else np.empty((0, width), np.float32)

    def recent(self, since: float) -> list[tuple[float, int]]:
        """See `db.run.Run.recent`."""
        with self._book.transaction() as connection:
            return _recent(connection, [self._id], since)

    def alarm(self, *found: AlarmLike) -> None:
        """Commit alarms of a detector, together."""
        with self._book.transaction() as connection:
            self._add_alarms(connection, found)

    def _add_alarms(self, connection: Connection, found: Sequence[AlarmLike]) -> None:
        if found:
            rows = [{name: getattr(alarm, name) for name in ALARM_COLUMNS.split(", ")} for alarm in found]
            connection.execute(insert(alarms), [{"run_id": self._id, **row, "at": time.time()} for row in rows])

    def alarms(self) -> list[Alarm]:
        """The alarms of this run, in order."""
        wanted = select(*(alarms.c[name] for name in ALARM_COLUMNS.split(", "))).where(alarms.c.run_id == self._id)
        with self._book.transaction() as connection:
            return [Alarm(*row) for row in connection.execute(wanted.order_by(alarms.c.id))]


def _engine(url: str) -> tuple[Engine, str]:
    """The engine, and the URL without its password."""
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
        engine = create_engine(parsed, connect_args=_CONNECTION, pool_size=8, max_overflow=8, pool_pre_ping=True)
        return engine, parsed.set(drivername="postgresql").render_as_string(hide_password=True)
    except ImportError as error:
        raise StorageError(f"PostgreSQL needs {error.name}: pip install 'b3d-simkit[postgres]'") from error
    except (ArgumentError, ValueError) as error:
        raise StorageError("not the URL of a database; give postgresql://USER@HOST/DATABASE") from error


def _reason(error: SQLAlchemyError) -> str:
    """The first line of what the driver says: the lines after it repeat the statement and its values."""
    said = str(getattr(error, "orig", None) or error)
    return next(iter(said.splitlines()), "") or type(error).__name__


def _beside(beside: Beside) -> dict[str, Any]:
    prints = beside.fingerprints
    return {
        "idempotency": beside.idempotency,
        "digest": None if beside.idempotency is None else beside.digest,
        "fingerprints": None if prints is None else np.ascontiguousarray(prints, "<f4").tobytes(),
    }


def _keep(connection: Connection, images: FloatArray, room: int) -> tuple[str, int]:
    """Keep the images that there is room for. Returns all their hashes as JSON, and the bytes that were kept."""
    hashes = [image_sha256(image) for image in images]
    by_hash = dict(zip(hashes, images, strict=True))
    known = set(connection.execute(select(pictures.c.sha256).where(pictures.c.sha256.in_(by_hash))).scalars())
    taken = 0
    for sha256 in sorted(by_hash.keys() - known):  # sorted: two transactions must not wait for each other
        codec, data = pack_picture(by_hash[sha256])
        if taken + len(data) <= room:
            made = insert(pictures).values(sha256=sha256, codec=codec, data=data).on_conflict_do_nothing()
            stored = connection.execute(made.returning(pictures.c.sha256)).scalar_one_or_none()
            taken += 0 if stored is None else len(data)
    return json.dumps(hashes), taken


def _recent(connection: Connection, own: Any, since: float) -> list[tuple[float, int]]:
    answered = select(calls.c.at, calls.c.queries).where(calls.c.run_id.in_(own), calls.c.at > since)
    refused = select(refusals.c.at, refusals.c.queries).where(
        refusals.c.run_id.in_(own), refusals.c.at > since - TALLY_SECONDS, refusals.c.reason.in_(REASONS_OF_RATE)
    )
    rows = connection.execute(answered.union_all(refused))
    return sorted((float(at), int(queries)) for at, queries in rows)
