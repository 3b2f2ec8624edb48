"""Breaking a scan off again and again, going on with it, and counting what that cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from db.check import check
from tests.chaos.child import Ended, run
from tests.chaos.faults import Fault, Nothing
from tests.chaos.victims import Scenario, Victim, answered, left

DONE, UNDECIDED, STORAGE = 0, 3, 5


@dataclass
class Broken:
    """One scan that is broken off as often as one likes, in `folder`; the children write to `notes`.

    asked, under_way: queries sent to the model by all processes, and those of calls that a break may have cut off.
    """

    victim: Victim
    scenario: Scenario
    folder: Path
    notes: Path
    asked: int = 0
    under_way: int = 0
    stored: int = 0
    breaks: list[Ended] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.notes.mkdir(parents=True, exist_ok=True)

    @property
    def db(self) -> Path:
        return self.folder / "scan.db"

    def go_on(self, fault: Fault, relief: Callable[[], object] = lambda: None) -> Ended:
        """The scan, gone on with under `fault`. What it acknowledged must be stored, and not more than it asked.

        relief: what is done before the ledger is read.
        """
        notes = self.notes / f"{len(self.breaks)}"
        ended = run(["scan", *self.scenario.args(self.victim, self.folder)], fault, notes)
        self.breaks.append(ended)
        relief()
        before, self.stored = self.stored, answered(self.db)
        kept, asked = sum(ended.kept), sum(ended.asked)
        assert kept <= self.stored - before <= asked, f"lost or counted twice: {before} {ended} {self.stored}"
        self.asked += asked
        if ended.code not in (DONE, UNDECIDED):
            self.under_way += sum(ended.asked[-1:])
        return ended


@dataclass(frozen=True)
class Lab:
    """What the tests share. whole: a scenario to what its unbroken scan leaves. counts: for the summary at the end."""

    victim: Victim
    whole: Callable[[Scenario], str]
    folder: Path
    full: bool
    counts: list[tuple[str, object]]

    def sized(self, small: int, full: int) -> int:
        """One of the two, by the size that was asked for."""
        return full if self.full else small

    def count(self, name: str, number: int = 1) -> None:
        """Add to the count of this name, over all tests and workers."""
        self.counts.append((name, number))

    def result(self, scenario: Scenario) -> str:
        """What of an unbroken scan is its result, see `victims.result`."""
        return self.whole(scenario)[64:]

    def broken(self, scenario: Scenario, name: object = "scan", folder: Path | None = None) -> Broken:
        """A scan to break, in a folder of its own, or in `folder`."""
        notes = self.folder / f"notes of {name}"
        return Broken(self.victim, scenario, folder or self.folder / str(name), notes)

    def finish(self, broken: Broken) -> None:
        """Go on to the end with nothing befalling, and compare all that is left with an unbroken scan's."""
        ended = broken.go_on(Nothing())
        assert ended.code in (DONE, UNDECIDED), ended.message
        self.compare(broken)

    def compare(self, broken: Broken) -> None:
        """Raise AssertionError unless a finished scan left what an unbroken one does, and asked no more than it may."""
        assert left(broken.folder) == self.whole(broken.scenario)
        assert check(broken.db) == []
        assert broken.stored <= broken.asked <= broken.stored + broken.under_way
