"""The run of a scan in its ledger: found again, or begun with its first answer."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from db.check import check
from db.errors import StorageError
from db.ledger import Ledger
from db.records import KeptRun, RunInfo
from db.run import Run
from oracles.meter import CallRecord

_DIFFER = ("threads", "torch", "numpy", "simkit", "onnxruntime", "torchvision", "timm")
"""What of the environment belongs to a run's key, where it is there."""


def warn_of_others(path: Path, info: RunInfo, kept: Sequence[KeptRun]) -> None:
    """Warn that a scan is paid for again, where the ledger has it from another environment, and name what differs."""
    here = json.loads(info.environment)
    for run in kept[-1:]:
        there = run.environment
        differ = [
            f"{name} {there.get(name)}, now {here.get(name)}" for name in _DIFFER if there.get(name) != here.get(name)
        ]
        if differ:
            said = f"{path}: run {run.id} is the same scan made with {'; '.join(differ)}: this one begins anew"
            warnings.warn(said, stacklevel=2)


class DeferredRun:
    """A recorder whose run appears in the ledger with its first answer or refusal: a wrong model leaves none there."""

    def __init__(self, begin: Callable[[], Run]) -> None:
        self._begin = begin
        self._run: Run | None = None
        self._waiting: list[tuple[int, str, str]] = []
        self._opened: list[int] = []

    @property
    def begun(self) -> bool:
        return self._run is not None

    @property
    def run(self) -> Run:
        """The run, begun by now."""
        if self._run is None:
            self._run = self._begin()
            self._opened = [self._run.open_step(*step) for step in self._waiting]
        return self._run

    def open_step(self, number: int, purpose: str, state: str) -> int:
        """See `Recorder.open_step`; ids are negative until the run is begun."""
        if self._run is not None:
            return self._run.open_step(number, purpose, state)
        self._waiting.append((number, purpose, state))
        return -len(self._waiting)

    def check_step(self, step: int | None) -> None:
        """See `Recorder.check_step`; every step of a run that is not begun yet can be recorded."""
        if self._run is not None:
            self._run.check_step(self._id(step))

    def record(self, call: CallRecord) -> None:
        """See `Recorder.record`."""
        run = self.run
        run.record(replace(call, step=self._id(call.step)))

    def refuse(self, step: int | None, queries: int, reason: str) -> None:
        """See `Recorder.refuse`."""
        run = self.run
        run.refuse(self._id(step), queries, reason)

    def _id(self, step: int | None) -> int | None:
        return step if step is None or step >= 0 else self._opened[-step - 1]


@contextmanager
def opened(db: Path | Ledger) -> Iterator[Ledger]:
    """The ledger; closed afterwards only if it was opened here, and gone if it is new and an error left it empty.

    Raises StorageError for a file that `db check` refuses: what a scan adds there would be as doubtful as the rest.
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
        except BaseException:
            if new:
                ledger.discard_if_empty()
            raise


def _refuse_damage(path: Path) -> None:
    for mismatch in check(path):
        raise StorageError(
            f"{path}: damaged ({mismatch}); list all with `simkit db check`, then restore a copy or use another file"
        )
