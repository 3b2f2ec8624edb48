"""A run of a ledger. Committing the row of a call charges its queries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from db import service_rows
from db.errors import StorageError
from db.records import (
    PURPOSES,
    VERDICT_COLUMNS,
    CallLike,
    FloatArray,
    StoredCall,
    StoredRefusal,
    TriggerRow,
    VerdictRow,
    check_call,
    check_json,
    checksum,
    pack_rows,
    pack_verdict,
    unpack_rows,
    unpack_verdict,
)
from db.seal import SEALED, broken, insertion, seal, selection
from db.service_records import Alarm, AlarmLike, Attempt, AttemptLike, Beside, StoredDelivery
from db.tally import Tally, into_ledger
from db.trigger_rows import pack_trigger
from db.writer import Writer

_PAGE_CALLS = 32
"""Number of calls read at a time when a run is replayed: about 400 kB for 200 queries and 10 classes."""

_READ_LATER = {"calls", "deliveries", "fingerprints", "asked", "pictures"}
"""Tables whose rows are checked when they are read, since there may be one for every call."""


class Run:
    """Records the steps, calls and refusals of one scan. Made by `Ledger.begin`; safe to share among threads.

    A call is committed before `record` returns, so that a killed process loses none. The file is synced to the disk
    every half second of recording, at a refusal, `flush`, `finish` and closing; a power cut loses what came after the
    last sync. Every method raises StorageError; after StorageFull and StorageBusy the uncommitted rows stay in memory
    for the next attempt.
    """

    def __init__(self, writer: Writer, run_id: int, new_step_id: Callable[[], int]) -> None:
        self.id = run_id
        self.kept = 0  # bytes of the images stored by this object
        self._writer, self._new_step_id = writer, new_step_id
        self._tally = Tally(into_ledger(writer, run_id))
        self._check_rows()
        self._steps: set[int] = set()
        self.count()

    def count(self) -> None:
        """Count anew what is stored: an interrupt may have come between a row and its count. Raises StorageError."""
        with self._writer.lock:
            self._writer.commit()
            self._count()

    def _count(self) -> None:
        writer, run_id = self._writer, self.id
        totals = "SELECT count(*), coalesce(sum(queries), 0), coalesce(sum(charged), 0) FROM calls WHERE run_id = ?"
        self._calls, self._queries, self._spent = writer.read(totals, run_id)[0]
        (numbers,) = writer.read("SELECT coalesce(max(number) + 1, 0) FROM calls WHERE run_id = ?", run_id)[0]
        if numbers != self._calls:
            raise self._error(f"only {self._calls} of {numbers} calls are stored; restore the file from a copy")
        refused = "SELECT coalesce(sum(queries), 0) FROM refusals WHERE run_id = ?"
        self._refused = int(writer.read(refused, run_id)[0][0])
        self._last_step = int(writer.read("SELECT coalesce(max(number), -1) FROM steps WHERE run_id = ?", run_id)[0][0])
        self._done = writer.read("SELECT state FROM runs WHERE id = ?", run_id)[0][0] == "done"

    def look(self) -> None:
        """See `db.book.BookRun`: no other process records into this run, so that there is nothing to count."""

    @property
    def queries(self) -> int:
        """Number of queries answered, including those not committed yet: the ordinal of the next one."""
        return int(self._queries)

    @property
    def spent(self) -> int:
        """Number of queries charged, including those not committed yet."""
        return int(self._spent)

    @property
    def refused(self) -> int:
        """Number of queries refused, over all processes of this run."""
        return self._refused

    def result(self) -> VerdictRow | None:
        """The verdict of a finished run, otherwise None."""
        rows = self._writer.read(f"SELECT {VERDICT_COLUMNS} FROM verdicts WHERE run_id = ?", self.id)
        return unpack_verdict(rows[0]) if rows else None

    def stored_refusals(self) -> list[StoredRefusal]:
        """The refusals committed so far, in order, without external ones."""
        self._writer.commit()
        sql = "SELECT step_id, queries, reason FROM refusals WHERE run_id = ? AND step_id IS NOT NULL ORDER BY id"
        return [StoredRefusal(*row) for row in self._writer.read(sql, self.id)]

    def stored_calls(self) -> Iterator[StoredCall]:
        """The calls committed so far, in order, a few in memory at a time; later calls are not included."""
        (last,) = self._writer.read("SELECT coalesce(max(number), -1) FROM calls WHERE run_id = ?", self.id)[0]
        return self._pages(int(last))

    def _pages(self, last: int) -> Iterator[StoredCall]:
        sql = selection("calls", "WHERE run_id = ? AND number BETWEEN ? AND ? ORDER BY number")
        for first in range(0, last + 1, _PAGE_CALLS):
            page = self._writer.read(sql, self.id, first, min(first + _PAGE_CALLS - 1, last))
            for row in page:
                call = dict(zip(SEALED["calls"], row[1:-1], strict=True))
                if any(broken([row])):  # a scan must not resume from damaged answers
                    raise self._error(f"call {call['number']} is damaged; restore the file from a copy")
                yield StoredCall(
                    call["step_id"], unpack_rows(call["rows"]), call["codec"], call["answers"], call["first"]
                )

    def _check_rows(self) -> None:
        """Raise StorageError if a row of this run is damaged."""
        for table in SEALED.keys() - _READ_LATER:
            own = "id" if table == "runs" else "run_id"
            for row in broken(self._writer.read(selection(table, f"WHERE {own} = ?"), self.id)):
                raise self._error(f"row {row} of {table} is damaged; restore the file from a copy")

    def open_step(self, number: int, purpose: str, state: str) -> int:
        """The id of step `number`, the same at each call. purpose: check, search, verify or external. state: JSON.

        Raises StorageError if the step is stored with another purpose or state, or would be new in a finished run.
        """
        with self._writer.lock:
            step = self._stored_step(number, purpose, state) if number <= self._last_step else None
            if step is None:
                step = self._new_step(number, purpose, state)
            self._steps.add(step)
            return step

    def _stored_step(self, number: int, purpose: str, state: str) -> int | None:
        self._writer.commit()
        sql = "SELECT id, purpose, state FROM steps WHERE run_id = ? AND number = ?"
        rows = self._writer.read(sql, self.id, int(number))
        if rows and rows[0][1] != purpose:
            raise self._error(f"step {number} is stored with purpose {rows[0][1]}, not {purpose}; use another number")
        if rows and rows[0][2] != state:
            cause = "the run was started with other code, other libraries or on another processor"
            raise self._error(f"step {number} is stored with another state: {cause}; scan into a fresh --db")
        return int(rows[0][0]) if rows else None

    def _new_step(self, number: int, purpose: str, state: str) -> int:
        self._check_open()
        if purpose not in PURPOSES or number < 0:
            raise self._error(f"step {number} with purpose {purpose!r}; number from 0, use one of {PURPOSES}")
        check_json(state, f"the state of step {number}")
        step = self._new_step_id()
        self._writer.add("steps", (step, self.id, int(number), purpose, state, time.time()))
        self._last_step = max(self._last_step, int(number))
        return step

    def check_step(self, step: int | None) -> None:
        """Raise StorageError, before queries are charged, if a call of `step` (None: external) could not be
        recorded."""
        with self._writer.lock:
            self._check_open()
            self._checked_step(step)

    def record(self, call: CallLike, beside: Beside | None = None) -> None:
        """Commit one answered call, which charges its queries.

        beside: what is committed together with it. Raises StorageError on a call of inconsistent lengths. After
        StorageFull or StorageBusy the call is kept in memory and counted, so it must not be recorded again.
        """
        check_call(call)
        if beside is not None:
            service_rows.check_beside(beside, len(call.rows))
        rows = pack_rows(call)
        payload = (call.codec, rows, call.answers, checksum(call.codec, rows, call.answers), time.time())
        queries = len(call.rows)
        with self._writer.lock:
            self._check_open()
            step = self._checked_step(call.step)
            # all that can fail comes before the queue: what stands beside a call without the call would block it
            also, kept = service_rows.rows_beside(self._writer, self.id, self._calls, beside) if beside else ([], 0)
            ordinals = (self._calls, self._queries, queries, queries)
            self._writer.add_all([("calls", (self.id, step, *ordinals, *payload)), *also], queries)
            self.kept += kept
            self._calls, self._queries, self._spent = self._calls + 1, self._queries + queries, self._spent + queries
            self._writer.commit()

    def amend(self, found: Mapping[str, Any]) -> None:
        """Commit values that are added to the environment of an open run. found: plain values."""
        with self._writer.lock:
            self._check_open()
            (row,) = self._writer.read(selection("runs", "WHERE id = ?"), self.id)
            stored = dict(zip(SEALED["runs"], row[1:-1], strict=True))
            merged = json.loads(stored["environment"]) | dict(found)
            stored["environment"] = json.dumps(merged, sort_keys=True, separators=(",", ":"), allow_nan=False)
            values = (stored["environment"], seal(stored.values()), self.id)
            with self._writer.transaction() as connection:
                connection.exec_driver_sql("UPDATE runs SET environment = ?, seal = ? WHERE id = ?", values)

    def refuse(self, step: int | None, queries: int, reason: str) -> None:
        """Commit a refused call, which is free, and wait for the disk. queries: 1 or more. reason: one line."""
        self._check_refusal(queries, reason)
        with self._writer.lock:
            self._check_open()
            step = self._checked_step(step)
            self._writer.add("refusals", (self.id, step, int(queries), reason, time.time()))
            self._refused += int(queries)
            self._writer.flush()

    def tally(self, queries: int, reason: str) -> None:
        """Commit a refused call outside of steps, together with others of its reason, see `db.tally`."""
        self._check_refusal(queries, reason)
        with self._writer.lock:
            self._check_open()
            self._refused += int(queries)
            self._tally.add(int(queries), reason)

    def delivery(self, idempotency: str) -> StoredDelivery | None:
        """The call of this run that was answered under this idempotency key, None if there is none."""
        return service_rows.delivery(self._writer, self.id, idempotency)

    def fingerprints(self, width: int, last: int) -> FloatArray:
        """The fingerprints stored beside the last calls, float32 (N, width), at most `last`, in order."""
        return service_rows.fingerprints(self._writer, self.id, width, last)

    def recent(self, since: float) -> list[tuple[float, int]]:
        """See `service_rows.recent`."""
        return service_rows.recent(self._writer, self.id, since)

    def attempt(self, attempt: AttemptLike) -> None:
        """Commit one event of a request that this run sends. Raises StorageError if it is stored already."""
        service_rows.add_attempt(self._writer, self.id, attempt)

    def attempts(self) -> list[Attempt]:
        """The attempts of this run, in order."""
        return service_rows.attempts(self._writer, self.id)

    def alarm(self, *alarms: AlarmLike) -> None:
        """Commit alarms of a detector, together."""
        service_rows.add_alarms(self._writer, self.id, alarms)

    def alarms(self) -> list[Alarm]:
        """The alarms of this run, in order."""
        return service_rows.alarms(self._writer, self.id)

    def flush(self) -> None:
        """Commit everything recorded so far and sync the file to the disk."""
        self._writer.flush()

    def finish(self, verdict: VerdictRow, triggers: Sequence[TriggerRow]) -> None:
        """Store the verdict and the triggers and close the run, in one transaction.

        Raises StorageError if the run is already finished, or if the verdict's `spent` or `refused` differs from the
        ledger's counts.
        """
        with self._writer.lock:
            self._check_open()
            if (verdict.spent, verdict.refused) != (self.spent, self.refused):
                stated = f"spent {verdict.spent}, refused {verdict.refused}"
                raise self._error(f"the verdict says {stated}; the ledger counts {self.spent} and {self.refused}")
            rows = [(self.id, *pack_trigger(trigger)) for trigger in triggers]
            row = _ordered("verdicts", f"run_id, {VERDICT_COLUMNS}, at", (self.id, *pack_verdict(verdict), time.time()))
            with self._writer.transaction() as connection:
                if rows:
                    connection.exec_driver_sql(insertion("triggers"), [(*values, seal(values)) for values in rows])
                connection.exec_driver_sql(insertion("verdicts"), (*row, seal(row)))
                connection.exec_driver_sql("UPDATE runs SET state = 'done' WHERE id = ?", (self.id,))
            self._done = True
            self._writer.flush()

    def _check_refusal(self, queries: int, reason: str) -> None:
        if queries < 1 or not reason or not reason.isprintable():
            raise self._error(f"a refusal of {queries} queries for reason {reason!r}; give 1 or more, and one line")

    def _check_open(self) -> None:
        if self._done:
            raise self._error("the run is finished and cannot be changed")

    def _checked_step(self, step: int | None) -> int | None:
        # checked here and not by the foreign key, since one wrong row would block the whole queue
        if step is not None and step not in self._steps:
            raise self._error(f"step id {step} was not opened; use the id that open_step returned")
        return None if step is None else int(step)

    def _error(self, what: str) -> StorageError:
        return StorageError(f"{self._writer.path}: run {self.id}: {what}")


def _ordered(table: str, columns: str, values: Sequence[Any]) -> tuple[Any, ...]:
    """The values of `columns` in the order of the table."""
    by_name = dict(zip(columns.split(", "), values, strict=True))
    return tuple(by_name[column] for column in SEALED[table])
