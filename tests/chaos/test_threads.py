"""Sixteen threads against one budget: never overspent, never refused while there was enough."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from db.check import check
from db.ledger import Ledger
from db.records import RunInfo
from oracles.answers import Answer, Labels
from oracles.budget import Budget
from oracles.errors import BudgetExhausted
from oracles.meter import Metered, Recorded
from oracles.oracle import ImageShape, Oracle, Tag
from simkit.seeding import stream
from tests.chaos.resume import Lab

THREADS = 16
CAPS = (0, 1, 9_999, 100_000)
LARGEST = 32
POOL = torch.zeros((LARGEST, 1, 1, 1))
REFUSALS = 5
"""After so many a thread asks for one query at a time."""


class Instant:
    """Answers at once, that the threads contend for nothing but the budget."""

    n_classes = 2
    image_shape: ImageShape = (1, 1, 1)

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        return Labels(np.zeros(len(images), dtype=np.int32), 2)


@contextmanager
def switching() -> Iterator[None]:
    """Threads take turns a thousand times as often as they do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def asked(oracles: Sequence[Oracle], seed: int) -> int:
    """What all threads were answered: 2,000 ragged calls each, until the budget ends, and then one query at a time."""
    start, answered, wrong = threading.Barrier(THREADS), [0] * THREADS, []

    def ask(thread: int) -> None:
        sizes = stream(seed, f"thread {thread}").integers(1, LARGEST + 1, 2_000).tolist()
        oracle, refusals = oracles[thread % len(oracles)], 0
        start.wait()
        for size in [*sizes, *[1] * (LARGEST * THREADS)]:
            try:
                oracle.query(POOL[: size if refusals < REFUSALS else 1])
                answered[thread] += size if refusals < REFUSALS else 1
            except BudgetExhausted as error:
                wrong.extend([error] if error.remaining >= error.queries else [])
                refusals += 1
                if refusals > REFUSALS:
                    return

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(THREADS)]
    with switching():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong, "refused while there was enough"
    return sum(answered)


@pytest.mark.parametrize("cap", CAPS)
def test_no_thread_overspends_a_budget_or_its_parent(cap: int, lab: Lab) -> None:
    for repeat in range(lab.sized(1, 50)):
        study = Budget(cap, name="study")
        answered = asked([Metered(Instant(), Budget(None, study))], repeat)
        assert answered == study.spent == cap  # calls of one query take the last
        lab.count("thread repeats")
        lab.count("overspent", answered - cap)


def test_siblings_share_what_their_parent_has(lab: Lab) -> None:
    for repeat in range(lab.sized(1, 50)):
        study = Budget(9_999, name="study")
        scans = [Budget(700, study), Budget(20_000, study), Budget(None, study)]
        answered = asked([Metered(Instant(), scan) for scan in scans], repeat)
        assert answered == study.spent == sum(scan.spent for scan in scans) == 9_999
        assert scans[0].spent <= 700
        lab.count("thread repeats")


@pytest.mark.parametrize("cap", [1, 9_999])
def test_threads_that_record_are_all_in_the_ledger(cap: int, lab: Lab) -> None:
    for repeat in range(lab.sized(1, 10)):
        db, budget = lab.folder / f"{repeat}.db", Budget(cap)
        with Ledger.open(db) as ledger:
            run = ledger.begin(RunInfo("0" * 64, "m", "m", "d", "d", "{}", "{}", 0, cap, "{}"))
            answered = asked([Recorded(Metered(Instant(), budget), run)], repeat)
            assert answered == run.spent == budget.spent == cap
        assert check(db) == []
        lab.count("thread repeats")
