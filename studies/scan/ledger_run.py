"""The run of a scan in its ledger, which is found again or started with its first answer."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from db import reads
from db.check import check
from db.errors import StorageError, cleaning_up
from db.ledger import Ledger
from db.records import KeptRun, RunInfo
from db.run import Run
from oracles.meter import AlarmRecord, CallRecord
from oracles.remote.exchange import Attempt, StoredAttempt
from oracles.resume import Past
from simkit.errors import ConfigError

_DIFFER = ("threads", "torch", "numpy", "simkit", "onnxruntime", "torchvision", "timm")
"""The parts of the environment that belong to the run key, where present."""


class PaidElsewhere(ConfigError):
    """A ledger holds paid answers to this scan from another environment, and a new run would pay for them again."""


def elsewhere(path: Path, info: RunInfo, kept: Sequence[KeptRun]) -> str:
    """What the ledger has of the same scan from another environment, and what differs; empty if nothing."""
    here = json.loads(info.environment)
    for run in reversed(kept):
        then = run.environment
        differ = [
            f"{name} {then.get(name)}, now {here.get(name)}" for name in _DIFFER if then.get(name) != here.get(name)
        ]
        if differ:
            return f"{path}: run {run.id} is the same scan made with {'; '.join(differ)}"
    return ""


def warn_of_others(path: Path, info: RunInfo, kept: Sequence[KeptRun]) -> None:
    """Warn that the scan starts anew where the ledger holds it from another environment, and name the differences."""
    if difference := elsewhere(path, info, kept):
        warnings.warn(f"{difference}; this starts a new run", stacklevel=2)


def refuse_to_pay_again(path: Path, info: RunInfo) -> None:
    """Raise PaidElsewhere if the ledger holds paid answers to this scan from other environments, and none from here."""
    kept = reads.same_scans(path, info)
    if any(run.key == info.key for run in kept):
        return
    paid = {row["run"]: row["spent"] for row in reads.listed(path) if row["spent"]} if kept else {}
    if difference := elsewhere(path, info, [run for run in kept if run.id in paid]):
        raise PaidElsewhere(
            f"{difference}: a new run would pay again for what the ledger holds; scan in that environment, or "
            "set --new-run (in Python, new_run=True)"
        )


def past_of(run: Run) -> Past:
    """What earlier processes asked in a run."""
    return Past(run.spent, run.stored_calls(), run.stored_refusals(), run.alarms())


class DeferredRun:
    """A recorder whose run starts with its first answer or refusal, so that a model that fails leaves no run.

    odd: how many rows of the answers so far were odd, which is stored with the call that has them. It is kept before
    the call is, with the queries before it, so that a kill between the two does not count them.
    """

    def __init__(self, begin: Callable[[], Run], odd: Callable[[], int] = lambda: 0) -> None:
        self._begin, self._odd = begin, odd
        self._odd_rows: list[list[int]] = []
        self._run: Run | None = None
        self._waiting: list[tuple[int, str, str]] = []
        self._opened: list[int] = []
        self._lock = Lock()

    @property
    def begun(self) -> bool:
        return self._run is not None

    @property
    def run(self) -> Run:
        """The run, which is started if necessary."""
        if self._run is None:
            self._run = self._begin()
            self._opened = [self._run.open_step(*step) for step in self._waiting]
        return self._run

    def resume(self, environment: Mapping[str, Any]) -> int:
        """Take up the stored run, and the number of odd rows among its answers."""
        queries = self.run.queries
        self._odd_rows = [pair for pair in environment.get("odd_rows", []) if pair[0] < queries]
        return self._odd_rows[-1][1] if self._odd_rows else 0

    def open_step(self, number: int, purpose: str, state: str) -> int:
        """See `Recorder.open_step`; ids are negative until the run starts."""
        if self._run is not None:
            return self._run.open_step(number, purpose, state)
        self._waiting.append((number, purpose, state))
        return -len(self._waiting)

    def check_step(self, step: int | None) -> None:
        """See `Recorder.check_step`; any step can be recorded before the run starts."""
        if self._run is not None:
            self._run.check_step(self._id(step))

    def record(self, call: CallRecord) -> None:
        """See `Recorder.record`."""
        run = self.run
        try:
            self._keep_odd(run)
        finally:  # a full disk must not lose an answer, which `Run.record` keeps for the next attempt
            run.record(replace(call, step=self._id(call.step)))

    def _keep_odd(self, run: Run) -> None:
        odd = self._odd()
        if odd != (self._odd_rows[-1][1] if self._odd_rows else 0):
            self._odd_rows = [*self._odd_rows[-1:], [run.queries, odd]]
            run.amend({"odd_rows": self._odd_rows})

    def refuse(self, step: int | None, queries: int, reason: str) -> None:
        """See `Recorder.refuse`."""
        run = self.run
        run.refuse(self._id(step), queries, reason)

    def attempt(self, attempt: Attempt) -> None:
        """See `oracles.remote.exchange.Attempts`; the run starts with the first call that is sent."""
        with self._lock:
            run = self.run
        run.attempt(attempt)

    def attempts(self) -> Sequence[StoredAttempt]:
        """See `oracles.remote.exchange.Attempts`."""
        return self.run.attempts() if self.begun else ()

    def alarm(self, *alarms: AlarmRecord) -> None:
        """See `Recorder.alarm`."""
        self.run.alarm(*alarms)

    def _id(self, step: int | None) -> int | None:
        return step if step is None or step >= 0 else self._opened[-step - 1]


@contextmanager
def opened(db: Path | Ledger) -> Iterator[Ledger]:
    """The ledger `db`; a path is opened and closed here, and a new file is removed if an error left it empty.

    Raises StorageError for a file that `db check` refuses, since nothing added to it could be trusted.
    """
    if isinstance(db, Ledger):
        yield db
        return
    new = not db.exists()
    with Ledger.open(db) as ledger:
        try:
            if not new:
                _refuse_damage(ledger.path)
            yield ledger
        except BaseException as error:
            if new:
                with cleaning_up(error):
                    ledger.discard_if_empty()
            raise


def _refuse_damage(path: Path) -> None:
    for mismatch in check(path):
        raise StorageError(
            f"{path}: damaged ({mismatch}); list all with `simkit db check`, then restore a copy or use another file"
        )
