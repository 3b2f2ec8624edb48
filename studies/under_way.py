"""A scan in an open ledger, which goes on as far as it is pulled."""

from __future__ import annotations

import time
from collections.abc import Iterator

from db import reads
from db.ledger import Ledger, Run
from db.records import RunInfo, VerdictRow
from oracles.budget import Budget
from oracles.guard import ServiceClock
from oracles.resume import Past
from oracles.spec import build
from simkit.search.contract import Search
from simkit.search.driver import Checkpoint
from simkit.search.evaluator import Evaluator
from simkit.search.relay import Relay
from studies.identity import with_output
from studies.prepared import Prepared
from studies.runs import LateRun, warn_of_others
from studies.scan_result import Bill, trigger_rows, verdict_row


class UnderWay:
    """A scan in an open ledger, which goes on as far as it is pulled; one that has its verdict there is not pulled.

    Warns where the ledger has the same scan from another environment. Raises StorageError.
    """

    def __init__(self, prepared: Prepared, ledger: Ledger, info: RunInfo) -> None:
        self._prepared = prepared
        kept = reads.same_scans(ledger.path, info)
        own = next((run for run in kept if run.key == info.key), None)
        self._oracle = prepared.oracle(own.environment.get("output", "auto") if own else "auto")
        self._late = LateRun(lambda: ledger.begin(with_output(info, self._oracle)))
        self._relay = Relay(prepared.config.course(), prepared.images, lambda: prepared.model.oracle.n_classes)
        if own is None:
            warn_of_others(ledger.path, info, kept)
        self.verdict: VerdictRow | None = None if own is None else self._late.run.result()
        """What the ledger has of its end, None before."""

    @property
    def run(self) -> Run:
        """Its run, which begins with its first answer."""
        return self._late.run

    @property
    def search(self) -> Search:
        """The search of the stage that is under way."""
        return self._relay.search

    @property
    def score(self) -> float | None:
        """The verdict's score; before there is one, what the rule says by now, before any unseen image is asked."""
        return self._relay.decision().score if self.verdict is None else self.verdict.score

    def steps(self) -> Iterator[Checkpoint]:
        """Ask until there is a verdict, a checkpoint after every step, and finish the run with it; to be pulled once.

        The queries of a checkpoint count those of earlier processes. Only time between pulls counts as the scan's.
        """
        began, seconds, config = time.perf_counter(), 0.0, self._prepared.config
        before = self.run if self._late.begun else None
        past = Past(before.spent, before.stored_calls(), before.stored_refusals()) if before else None
        spent = past.queries if past else 0
        budget, clock = Budget(config.budget, spent=spent), ServiceClock(config.oracle.real_time)
        oracle = build(
            config.oracle, config.restricted(self._oracle, spent), budget, self._late, past=past, clock=clock
        )
        verdict = None
        for checkpoint in self._relay.run(Evaluator(oracle, self._late)):
            verdict, seconds = checkpoint.verdict, seconds + time.perf_counter() - began
            if verdict is not None:
                bill = Bill.of(config.oracle, self.run.spent, self.run.refused, seconds, clock.seconds)
                self.run.finish(verdict_row(verdict, self._relay.rule, bill), trigger_rows(verdict))
                self.verdict = self.run.result()
            yield checkpoint
            began = time.perf_counter()
        assert verdict is not None
