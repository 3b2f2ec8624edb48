"""What a service needs of the place where it records and charges: one ledger, or a database that replicas share."""

from __future__ import annotations

from typing import Protocol

from db.records import CallLike, FloatArray, RunInfo
from db.service_reads import Caller
from db.service_records import Alarm, AlarmLike, Beside, StoredDelivery


class BookRun(Protocol):
    """The calls of one API key on one model; `db.run.Run` is one, and says what the methods do."""

    @property
    def queries(self) -> int: ...

    @property
    def kept(self) -> int: ...

    def look(self) -> None:
        """Count the calls that other processes have recorded since."""
        ...

    def check_step(self, step: int | None) -> None: ...

    def record(self, call: CallLike, beside: Beside | None = None) -> None:
        """Commit an answered call and charge it, in one transaction. Raises StorageError, and then charges nothing,
        unless `queries` has grown; also if another process has answered these ordinals or this idempotency key, or has
        spent what is left of `beside.cap`."""
        ...

    def tally(self, queries: int, reason: str) -> None: ...

    def delivery(self, idempotency: str) -> StoredDelivery | None: ...

    def fingerprints(self, width: int, last: int) -> FloatArray: ...

    def recent(self, since: float) -> list[tuple[float, int]]: ...

    def alarm(self, *alarms: AlarmLike) -> None: ...

    def alarms(self) -> list[Alarm]: ...


class Book(Protocol):
    """Where a service records and charges. Safe to share among threads. Every method raises StorageError."""

    @property
    def shared(self) -> bool:
        """Whether other processes may charge the same keys, so that what is spent must be read at each call."""
        ...

    def begin(self, run: RunInfo) -> BookRun: ...

    def caller(self, key: str) -> Caller: ...

    def recent(self, caller: str, since: float) -> list[tuple[float, int]]: ...

    def kept_bytes(self) -> int: ...
