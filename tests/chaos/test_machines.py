"""Budget and ledger against small models in Python, under any order of what may be done to them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from db.check import check
from db.ledger import Ledger
from db.records import RunInfo, TriggerRow, VerdictRow
from db.run import Run
from oracles.budget import Budget
from oracles.errors import BudgetExhausted
from oracles.meter import CallRecord, unknown_rows
from tests.chaos.resume import Lab

CAPS = st.none() | st.integers(0, 60)
NODES = st.integers(0, 3)
QUERIES = st.integers(1, 25)


class BudgetMachine(RuleBasedStateMachine):
    """A study with two scans, one of which has a part of its own. The model: what each node is charged for."""

    @initialize(caps=st.tuples(CAPS, CAPS, CAPS, CAPS))
    def begin(self, caps: tuple[int | None, ...]) -> None:
        study = Budget(caps[0], name="study")
        scans = [Budget(caps[1], study), Budget(caps[2], study)]
        self.nodes = [study, *scans, Budget(caps[3], scans[1])]
        self.caps, self.above = caps, (None, 0, 0, 2)
        self.spent = [0] * 4

    def _line(self, node: int | None) -> list[int]:
        return [] if node is None else [node, *self._line(self.above[node])]

    def _left(self, node: int) -> int | None:
        left = [cap - self.spent[n] for n in self._line(node) if (cap := self.caps[n]) is not None]
        return min(left, default=None)

    @rule(node=NODES, queries=QUERIES)
    def reserve(self, node: int, queries: int) -> None:
        left = self._left(node)
        if left is None or queries <= left:
            self.nodes[node].reserve(queries)
            for n in self._line(node):
                self.spent[n] += queries
        else:
            with pytest.raises(BudgetExhausted):
                self.nodes[node].reserve(queries)

    @rule(node=NODES, queries=QUERIES)
    def release(self, node: int, queries: int) -> None:
        own = self.spent[node] - sum(self.spent[n] for n in range(4) if self.above[n] == node)
        if queries <= own:  # what a node gives back it has taken itself
            self.nodes[node].release(queries)
            for n in self._line(node):
                self.spent[n] -= queries

    @invariant()
    def counts_agree(self) -> None:
        for n, node in enumerate(getattr(self, "nodes", [])):
            assert (node.spent, node.remaining) == (self.spent[n], self._left(n))
            assert node.cap is None or node.spent <= node.cap


class LedgerMachine(RuleBasedStateMachine):
    """One run in a ledger. The model: what was acknowledged, as three lists."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "scan.db"
        self.steps: list[int] = []
        self.calls: list[int] = []
        self.refused: list[int] = []
        self.done = False
        self.opens = 0
        self.committed = 0  # steps: one is committed with the next call or refusal
        self._open()

    def _open(self) -> None:
        self.ledger = Ledger.open(self.path)
        self.run: Run = self.ledger.begin(RunInfo("0" * 64, "m", "m", "d", "d", "{}", "{}", 0, None, "{}"))
        self.steps = [self.run.open_step(n, "search", f'{{"n": {n}}}') for n in range(len(self.steps))]

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.committed = len(self.steps)
        self._open()

    @rule()
    def crash(self) -> None:
        """The process is gone: what is in memory is lost, and file, log and locks are as they are."""
        left = self.folder / f"after crash {self.opens}"
        left.mkdir()
        for file in self.path.parent.glob("scan.db*"):
            shutil.copy(file, left)
        self.ledger.close()
        self.path, self.opens = left / "scan.db", self.opens + 1
        self.steps = self.steps[: self.committed]
        self._open()

    @precondition(lambda self: not self.done)
    @rule()
    def open_step(self) -> None:
        number = len(self.steps)
        self.steps.append(self.run.open_step(number, "search", f'{{"n": {number}}}'))

    @precondition(lambda self: not self.done)
    @rule(queries=QUERIES, tagged=st.booleans())
    def record(self, queries: int, tagged: bool) -> None:
        step = self.steps[-1] if tagged and self.steps else None
        labels = np.zeros(queries, dtype=np.int32)
        self.run.record(CallRecord(step, unknown_rows(queries), labels, None, "labels/2", bytes(2 * queries)))
        self.calls.append(queries)
        self.committed = len(self.steps)

    @precondition(lambda self: not self.done)
    @rule(queries=QUERIES)
    def refuse(self, queries: int) -> None:
        self.run.refuse(self.steps[-1] if self.steps else None, queries, "budget")
        self.refused.append(queries)
        self.committed = len(self.steps)

    @precondition(lambda self: not self.done)
    @rule()
    def finish(self) -> None:
        counts = (sum(self.calls), sum(self.refused))
        verdict = VerdictRow("clean", "converged", (), 0.5, "rule", 1.0, "a test", *counts, 0.0, None, "")
        mask, pattern = np.ones((1, 2, 2), np.float32), np.zeros((3, 2, 2), np.float32)
        self.run.finish(verdict, [TriggerRow(0, mask, pattern, 4.0, None, 0, 0, True)])
        self.done, self.committed = True, len(self.steps)

    @invariant()
    def counts_agree(self) -> None:
        assert (self.run.spent, self.run.refused) == (sum(self.calls), sum(self.refused))
        assert (self.run.result() is not None) == self.done
        assert [len(call.rows) for call in self.run.stored_calls()] == self.calls

    def teardown(self) -> None:
        self.ledger.close()
        assert check(self.path) == []
        shutil.rmtree(self.folder)


@pytest.mark.parametrize("machine", [BudgetMachine, LedgerMachine])
def test_a_machine_agrees_with_its_model(machine: type[RuleBasedStateMachine], lab: Lab) -> None:
    examples = lab.sized(15, 200)
    few = settings(
        max_examples=examples,
        stateful_step_count=lab.sized(20, 50),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=few)
    lab.count("state machine examples", examples)
