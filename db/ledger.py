"""The ledger: one file, one writer, and the runs in it."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from filelock import FileLock
from sqlalchemy import Connection

from db.engine import identify
from db.errors import StorageError, cleaning_up, translated
from db.log import check_log
from db.prepare import locked, prepare
from db.records import CallLike, RunInfo, StoredCall, TriggerRow, VerdictRow
from db.run import Run
from db.seal import insertion, seal
from db.service_reads import Caller, caller_of, recent
from db.writer import Writer

__all__ = ["CallLike", "Ledger", "Run", "RunInfo", "StoredCall", "TriggerRow", "VerdictRow"]


class Ledger:
    """An open ledger and a context manager. Made by `Ledger.open`; only one process at a time may have it open."""

    def __init__(self, writer: Writer, file_lock: FileLock) -> None:
        self._writer, self._file_lock = writer, file_lock
        self._runs: dict[str, Run] = {}
        self._next_step: int = 1 + writer.read("SELECT coalesce(max(id), 0) FROM steps")[0][0]

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Open the ledger at `path` for writing; create it and its folder if they do not exist.

        Raises NotALedger for a file of another kind, which stays unchanged, StorageBusy while another process has it
        open, and StorageError for a truncated file or a path that cannot be written.
        """
        with translated(path):
            # two names of one file share one lock; `Path.resolve` fails at a loop of links
            path = Path(os.path.realpath(path))
        identify(path)  # before a lock file appears beside a file of another program
        with translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file_lock = locked(path)
            try:
                check_log(path)
                prepare(path)
                return cls._of(path, file_lock)
            except BaseException:
                file_lock.release()
                raise

    @classmethod
    def _of(cls, path: Path, file_lock: FileLock) -> Ledger:
        writer = Writer(path)
        try:
            return cls(writer, file_lock)
        except BaseException as error:
            with cleaning_up(error):
                writer.close()
            raise

    @property
    def path(self) -> Path:
        """The file, with links resolved."""
        return self._writer.path

    def begin(self, run: RunInfo) -> Run:
        """The run with this key: a new one, or the stored one, which can then be resumed.

        Raises StorageError if the stored run has another model, data, seed or budget, or if a field is not valid.
        """
        with self._writer.lock:
            run_id = self._row_id(run)
            if run.key not in self._runs:  # one object per run, since two would count separately
                self._runs[run.key] = Run(self._writer, run_id, self.new_step_id)
            else:
                self._runs[run.key].count()
            return self._runs[run.key]

    @property
    def shared(self) -> bool:
        """False: no other process charges what this one does; see `db.book.Book`."""
        return False

    def caller(self, key: str) -> Caller:
        """What is stored of an API key of a service, by its id."""
        return caller_of(self.path, key)

    def recent(self, caller: str, since: float) -> list[tuple[float, int]]:
        """See `db.service_reads.recent`."""
        return recent(self.path, caller, since)

    def kept_bytes(self) -> int:
        """The bytes that the kept images take, compressed."""
        return int(self._writer.read("SELECT coalesce(sum(length(data)), 0) FROM pictures")[0][0])

    def discard_if_empty(self) -> None:
        """Delete the file if it holds no run. It stays open, so that its lock keeps other processes out."""
        if not self._writer.read("SELECT 1 FROM runs LIMIT 1"):
            self._writer.flush()  # before the log is deleted, which closing would sync
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """Commit the queue, close the file and release its lock. Raises StorageFull if the commit fails, but closes."""
        try:
            self._writer.close()
        finally:
            self._file_lock.release()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with cleaning_up(error):
            self.close()

    def transaction(self) -> AbstractContextManager[Connection]:
        """One transaction on the whole file, for `db.merge`: all of the body is committed, or nothing."""
        return self._writer.transaction()

    def new_step_id(self) -> int:
        """The id of the next step. An id that was not committed before a crash is used again."""
        with self._writer.lock:
            self._next_step += 1
            return self._next_step - 1

    def _row_id(self, run: RunInfo) -> int:
        budget = None if run.budget is None else int(run.budget)
        fields = (run.model, run.model_hash, run.data, run.data_hash, run.oracle, run.config, int(run.seed), budget)
        row = (run.key, *fields, run.environment, time.time())
        with self._writer.transaction() as connection:
            connection.exec_driver_sql(
                insertion("runs", state="'open'") + " ON CONFLICT (key) DO NOTHING", (*row, seal(row))
            )
            stored = connection.exec_driver_sql(
                "SELECT id, model_hash, data_hash, seed, budget FROM runs WHERE key = ?", (run.key,)
            ).one()
        if tuple(stored[1:]) != (run.model_hash, run.data_hash, run.seed, run.budget):
            raise StorageError(
                f"{self._writer.path}: run {run.key[:12]} is stored with another model, data, seed or budget; "
                "make them part of its key"
            )
        return int(stored[0])
