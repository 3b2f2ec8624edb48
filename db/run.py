"""A run of a ledger: committing a call's row is what charges its queries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from db.errors import StorageError
from db.records import (
    PURPOSES,
    VERDICT_COLUMNS,
    CallLike,
    StoredCall,
    StoredRefusal,
    TriggerRow,
    VerdictRow,
    check_call,
    check_json,
    checksum,
    pack_rows,
    pack_trigger,
    pack_verdict,
    unpack_rows,
    unpack_verdict,
)
from db.seal import SEALED, broken, insertion, seal, selection
from db.writer import Writer

_PAGE_CALLS = 32
"""Calls read at a time when a run is replayed: some 400 kB for 200 queries over 10 classes."""


class Run:
    """A scan in a ledger: where its steps, calls and refusals go. Made by `Ledger.begin`, safe to share among threads.

    A call is committed before `record` returns, so that a kill loses none. The disk is waited for every half second of
    recording, at a refusal, `flush`, `finish` and closing: a power cut loses what came after. Every method raises
    StorageError; StorageFull and StorageBusy keep in memory what could not be committed, for the next try.
    """

    def __init__(self, writer: Writer, run_id: int, new_step_id: Callable[[], int]) -> None:
        self.id = run_id
        self._writer, self._new_step_id = writer, new_step_id
        self._check_rows()
        totals = "SELECT count(*), coalesce(sum(queries), 0), coalesce(sum(charged), 0) FROM calls WHERE run_id = ?"
        self._calls, self._queries, self._spent = writer.read(totals, run_id)[0]
        (numbers,) = writer.read("SELECT coalesce(max(number) + 1, 0) FROM calls WHERE run_id = ?", run_id)[0]
        if numbers != self._calls:
            raise self._error(f"{self._calls} of {numbers} calls are there; restore the file from a copy")
        refused = "SELECT coalesce(sum(queries), 0) FROM refusals WHERE run_id = ?"
        self._refused = int(writer.read(refused, run_id)[0][0])
        self._last_step = int(writer.read("SELECT coalesce(max(number), -1) FROM steps WHERE run_id = ?", run_id)[0][0])
        self._steps: set[int] = set()
        self._done = writer.read("SELECT state FROM runs WHERE id = ?", run_id)[0][0] == "done"

    @property
    def spent(self) -> int:
        """Queries charged: committed, and waiting to be."""
        return int(self._spent)

    @property
    def refused(self) -> int:
        """Queries refused, over all the processes that worked on this run."""
        return self._refused

    def result(self) -> VerdictRow | None:
        """The verdict of a finished run, else None."""
        rows = self._writer.read(f"SELECT {VERDICT_COLUMNS} FROM verdicts WHERE run_id = ?", self.id)
        return unpack_verdict(rows[0]) if rows else None

    def stored_refusals(self) -> list[StoredRefusal]:
        """The refusals committed before now, in order, without the external ones."""
        self._writer.commit()
        sql = "SELECT step_id, queries, reason FROM refusals WHERE run_id = ? AND step_id IS NOT NULL ORDER BY id"
        return [StoredRefusal(*row) for row in self._writer.read(sql, self.id)]

    def stored_calls(self) -> Iterator[StoredCall]:
        """The calls committed before now, in order, a few in memory at a time; more may come meanwhile."""
        (last,) = self._writer.read("SELECT coalesce(max(number), -1) FROM calls WHERE run_id = ?", self.id)[0]
        return self._pages(int(last))

    def _pages(self, last: int) -> Iterator[StoredCall]:
        sql = selection("calls", "WHERE run_id = ? AND number BETWEEN ? AND ? ORDER BY number")
        for first in range(0, last + 1, _PAGE_CALLS):
            page = self._writer.read(sql, self.id, first, min(first + _PAGE_CALLS - 1, last))
            for row in page:
                call = dict(zip(SEALED["calls"], row[1:-1], strict=True))
                if any(broken([row])):  # a scan must not go on from answers that nobody gave
                    raise self._error(f"call {call['number']} is damaged; restore the file from a copy")
                yield StoredCall(
                    call["step_id"], unpack_rows(call["rows"]), call["codec"], call["answers"], call["first"]
                )

    def _check_rows(self) -> None:
        """Raise StorageError if anything of this run but its calls is not as it was written; those wait for replay."""
        for table in SEALED.keys() - {"calls"}:
            own = "id" if table == "runs" else "run_id"
            for row in broken(self._writer.read(selection(table, f"WHERE {own} = ?"), self.id)):
                raise self._error(f"row {row} of {table} is damaged; restore the file from a copy")

    def open_step(self, number: int, purpose: str, state: str) -> int:
        """The id of step `number`, the same each time. purpose: check, search, verify or external. state: JSON.

        Raises StorageError if the step is there with another purpose or state, or would be new in a finished run.
        """
        with self._writer.lock:
            step = self._known_step(number, purpose, state) if number <= self._last_step else None
            if step is None:
                step = self._new_step(number, purpose, state)
            self._steps.add(step)
            return step

    def _known_step(self, number: int, purpose: str, state: str) -> int | None:
        self._writer.commit()
        sql = "SELECT id, purpose, state FROM steps WHERE run_id = ? AND number = ?"
        rows = self._writer.read(sql, self.id, int(number))
        if rows and rows[0][1] != purpose:
            raise self._error(f"step {number} is there with purpose {rows[0][1]}, not {purpose}; use another number")
        if rows and rows[0][2] != state:
            begun = "the ledger was begun by other code, libraries or processor"
            raise self._error(f"step {number} is there with another state: {begun}; scan into a fresh --db")
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
        """Raise StorageError, before anything is paid, if a call of `step` (None: external) could not be recorded."""
        with self._writer.lock:
            self._check_open()
            self._checked_step(step)

    def record(self, call: CallLike) -> None:
        """Commit one answered call, which charges its queries. Raises StorageError on a call whose parts do not fit.

        After StorageFull or StorageBusy the call is kept in memory and counted; do not record it again.
        """
        check_call(call)
        rows = pack_rows(call)
        payload = (call.codec, rows, call.answers, checksum(call.codec, rows, call.answers), time.time())
        queries = len(call.rows)
        with self._writer.lock:
            self._check_open()
            step = self._checked_step(call.step)
            ordinals = (self._calls, self._queries, queries, queries)
            self._writer.add("calls", (self.id, step, *ordinals, *payload), queries)
            self._calls, self._queries, self._spent = self._calls + 1, self._queries + queries, self._spent + queries
            self._writer.commit()

    def refuse(self, step: int | None, queries: int, reason: str) -> None:
        """Commit a call that got no answer and was free, and wait for the disk. queries: 1 or more. reason: a line."""
        if queries < 1 or not reason or not reason.isprintable():
            raise self._error(f"a refusal of {queries} queries for reason {reason!r}; give 1 or more, and one line")
        with self._writer.lock:
            self._check_open()
            step = self._checked_step(step)
            self._writer.add("refusals", (self.id, step, int(queries), reason, time.time()))
            self._refused += int(queries)
            self._writer.flush()

    def flush(self) -> None:
        """Wait until everything recorded so far is on the disk."""
        self._writer.flush()

    def finish(self, verdict: VerdictRow, triggers: Sequence[TriggerRow]) -> None:
        """Store the verdict and the triggers, and close the run: one transaction, once.

        Raises StorageError the second time, or if the verdict's `spent` or `refused` is not what the ledger counted.
        """
        with self._writer.lock:
            self._check_open()
            if (verdict.spent, verdict.refused) != (self.spent, self.refused):
                found = f"spent {verdict.spent}, refused {verdict.refused}"
                raise self._error(f"the verdict says {found}; the ledger counts {self.spent} and {self.refused}")
            rows = [(self.id, *pack_trigger(trigger)) for trigger in triggers]
            row = _ordered("verdicts", f"run_id, {VERDICT_COLUMNS}, at", (self.id, *pack_verdict(verdict), time.time()))
            with self._writer.transaction() as connection:
                if rows:
                    connection.exec_driver_sql(insertion("triggers"), [(*values, seal(values)) for values in rows])
                connection.exec_driver_sql(insertion("verdicts"), (*row, seal(row)))
                connection.exec_driver_sql("UPDATE runs SET state = 'done' WHERE id = ?", (self.id,))
            self._done = True
            self._writer.flush()

    def _check_open(self) -> None:
        if self._done:
            raise self._error("it is finished; its rows do not change any more")

    def _checked_step(self, step: int | None) -> int | None:
        # here and not by the foreign key: one wrong row would keep the whole queue from being committed
        if step is not None and step not in self._steps:
            raise self._error(f"step id {step} was not opened; use the id that open_step gave")
        return None if step is None else int(step)

    def _error(self, what: str) -> StorageError:
        return StorageError(f"{self._writer.path}: run {self.id}: {what}")


def _ordered(table: str, columns: str, values: Sequence[Any]) -> tuple[Any, ...]:
    """The values of `columns` in the order of the table."""
    told = dict(zip(columns.split(", "), values, strict=True))
    return tuple(told[column] for column in SEALED[table])
