"""The verdict of a stored run by another rule or with a smaller budget, computed from its answers without a query.

The scan is driven again with that rule and budget, on an oracle that holds the run's answers. A search gets the same
answers in the same order whatever the rule and the budget, so the ledger holds its queries as far as the run went.
Triggers are confirmed on unseen images; these answers are looked up by their pixels, since another rule asks for them
at another time. A query that the ledger does not hold ends the reading; a verdict that may depend on it is `undecided`.

This is exact for a service without noise: where a reading is `held`, a scan with this rule and budget reaches this
verdict. With noise, a stored confirmation stands in for another draw of the noise. A guard that depends on earlier
queries is not simulated: queries that it refused are not held.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from db.records import StoredCall
from oracles.answers import Answer, decode
from oracles.budget import Budget
from oracles.errors import BudgetExhausted, ReplayMismatch
from oracles.oracle import ImageShape, Tag
from simkit.errors import ConfigError
from simkit.progress import OnProgress
from simkit.search.evaluator import Evaluator, as_it_is
from simkit.search.refine import is_refinement
from simkit.search.relay import Relay
from simkit.triggers import FloatArray
from simkit.verdict import Rule, Verdict
from studies.replay.rebuild import NOTHING, Replay, ReplayInputs

_NOT_HELD = "the ledger does not hold the queries that this rule would send"
_ENDS = "the ledger ends before this rule would decide"


@dataclass(frozen=True)
class Reading:
    """The verdict of a scan with this rule and budget, as far as the ledger determines it.

    limit, threshold: of the rule and of its score, as in a verdict. at: the budget, None for no limit. held: whether
    the ledger holds all answers that the verdict depends on; otherwise the verdict is `undecided`, `stopped` is None,
    and `notes` give the reason. flagged: confirmed classes. score, spent: those of the scan; None where they depend on
    missing confirmations or steps of a refinement. candidates, search_score: classes flagged and score by the rule at
    the end of the search, before confirmation; empty and None for an invalid run.
    """

    rule: str
    limit: float
    threshold: float | None
    at: int | None
    verdict: str
    stopped: str | None
    held: bool
    flagged: tuple[int, ...]
    score: float | None
    spent: int | None
    candidates: tuple[int, ...]
    search_score: float | None
    notes: str

    def to_json(self) -> dict[str, Any]:
        """The reading as plain values for JSON."""
        return vars(self) | {"flagged": list(self.flagged), "candidates": list(self.candidates)}


def replayed(
    db: str | Path,
    run: int | None = None,
    rules: Sequence[Rule] = (),
    at: Sequence[int] = (),
    given: ReplayInputs = NOTHING,
    progress: OnProgress | None = None,
) -> list[Reading]:
    """A reading of `run` for each rule and each budget, rule by rule. Queries no model and writes nothing.

    rules: none for the run's own. at: budgets in queries, 1 or more; none for the run's own. progress: told how many
    readings of how many are done. Raises as `Replay.read`, and ReplayMismatch where the answers do not lead to the
    queries that are stored.
    """
    readings: list[Reading] = []
    for reading in one_by_one(db, run, rules, at, given):
        readings.append(reading)
        if progress is not None:
            progress(len(readings), max(len(rules), 1) * max(len(at), 1))
    return readings


def one_by_one(
    db: str | Path,
    run: int | None = None,
    rules: Sequence[Rule] = (),
    at: Sequence[int] = (),
    given: ReplayInputs = NOTHING,
) -> Iterator[Reading]:
    """The readings of `replayed`, each computed when it is needed. Raises as that does."""
    if any(queries < 1 for queries in at):
        raise ConfigError(f"at {min(at)} queries; give 1 or more")
    source = Replay.read(Path(db), run, given)
    answers = _Answers(source)
    chosen: Sequence[Rule | None] = rules or [None]
    budgets: Sequence[int | None] = at or [source.config.budget]
    for rule in chosen:
        for budget in budgets:
            yield _reading(source, answers, rule, budget)


class _Answers:
    """The run's answers, shared by all readings: those of the search in order, those of confirmations by pixels."""

    def __init__(self, source: Replay) -> None:
        self.image_shape, self.n_classes = source.images.search.image_shape, source.n_classes
        self.steps = {step.id: step for step in source.run.steps.values()}
        self.ordered: list[StoredCall] = []
        self.refined: list[StoredCall] = []
        self.confirmed: dict[bytes, tuple[str, bytes]] = {}
        rebuilt = source.rebuild(self._keep, send=as_it_is)
        if rebuilt.broken is not None:
            raise ReplayMismatch(f"{source.run.path}: run {source.run.id}: {rebuilt.broken}")

    def _keep(self, images: FloatArray, call: StoredCall) -> None:
        assert call.step is not None
        step = self.steps[call.step]
        if step.purpose != "verify":
            kept = self.refined if is_refinement(step.state) else self.ordered
            goes_on = bool(kept) and kept[-1].step == call.step  # the rest of a call that failed in the middle
            kept.append(kept.pop().followed_by(call) if goes_on else call)
            return
        size = len(call.answers) // len(call.rows)
        for row, key in enumerate(_keys(images)):
            self.confirmed.setdefault(key, (call.codec, call.answers[row * size : (row + 1) * size]))


class _HeldAnswers:
    """An oracle that answers a hypothetical scan from the ledger, and its steps; a missing answer ends the budget.

    decisive: whether the verdict depends on refinements. ended: whether a query of the search was missing. missing:
    whether any query was missing that the verdict may depend on. unrefined: whether one of a refinement was missing.
    """

    def __init__(self, answers: _Answers, budget: Budget, *, decisive: bool) -> None:
        self._answers, self._budget, self._asked, self._open = answers, budget, 0, ("", "")
        self._left, self._refining, self._decisive = answers.refined.copy(), False, decisive
        self.ended = self.missing = self.unrefined = False

    @property
    def n_classes(self) -> int:
        return self._answers.n_classes

    @property
    def image_shape(self) -> ImageShape:
        return self._answers.image_shape

    @property
    def unused(self) -> int:
        """Number of the search's stored calls that were not used yet."""
        return len(self._answers.ordered) - self._asked

    def open_step(self, number: int, purpose: str, state: str) -> int:
        """See `Steps.open_step`."""
        self._open = purpose, state
        return number

    def query(self, images: Any, tag: Tag | None = None) -> Answer:
        """See `Oracle.query`; takes the array itself. Raises BudgetExhausted also where the ledger has no answer."""
        assert tag is not None
        self._budget.reserve(len(images))
        try:
            return self._held(images, tag)
        except BudgetExhausted:
            self._budget.release(len(images))
            raise

    def _held(self, images: FloatArray, tag: Tag) -> Answer:
        if self._open[0] == "verify":
            return self._confirmation(images)
        return self._refinement(tag, len(images)) if is_refinement(self._open[1]) else self._next(tag, len(images))

    def _confirmation(self, images: FloatArray) -> Answer:
        stored = [self._answers.confirmed.get(key) for key in _keys(images)]
        held = [answer for answer in stored if answer is not None]
        if len(held) < len(stored):
            raise self._refusal(len(images))
        return decode(held[0][0], b"".join(answer for _, answer in held))

    def _next(self, tag: Tag, queries: int) -> Answer:
        self._refining = False
        if not self.unused:
            self.ended = True
            raise self._refusal(queries)
        call = self._answers.ordered[self._asked]
        assert call.step is not None
        step = self._answers.steps[call.step]
        if (step.purpose, step.state) != self._open or not np.array_equal(call.rows, tag.rows):
            raise ReplayMismatch("the search sends other queries under another rule or budget: it is no pure function")
        self._asked += 1
        return decode(call.codec, call.answers)

    def _refinement(self, tag: Tag, queries: int) -> Answer:
        """The next stored answer of a refinement; another rule or budget may refine something else."""
        left, self._refining = self._left, True
        self._left = left[1:]
        step = self._answers.steps[left[0].step] if left and left[0].step is not None else None
        if step is None or step.state != self._open[1] or not np.array_equal(left[0].rows, tag.rows):
            raise self._refusal(queries)
        return decode(left[0].codec, left[0].answers)

    def _refusal(self, queries: int) -> BudgetExhausted:
        self.unrefined |= self._refining
        self.missing |= not self._refining or self._decisive
        return BudgetExhausted("ledger", queries, 0)


def _keys(images: FloatArray) -> list[bytes]:
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]


def _reading(source: Replay, answers: _Answers, rule: Rule | None, budget: int | None) -> Reading:
    decisive = source.config.resolved().standing is not None
    oracle, driver = _HeldAnswers(answers, Budget(budget), decisive=decisive), source.relay(rule, budget)
    evaluator = Evaluator(oracle, oracle, as_it_is)
    verdict = [checkpoint.verdict for checkpoint in driver.run(evaluator)][-1]
    assert verdict is not None
    held = not oracle.missing or (not source.config.resolved().takes_turns and _is_held(driver, verdict, oracle))
    candidates, search_score = _of_search(driver, verdict)
    return Reading(
        rule=driver.rule.name,
        limit=driver.rule.threshold,
        threshold=driver.rule.score_threshold,
        at=budget,
        verdict=verdict.verdict if held else "undecided",
        stopped=verdict.stopped if held else None,
        held=held,
        flagged=verdict.flagged if held else (),
        score=None if oracle.missing else verdict.score,
        spent=None if oracle.missing or oracle.unrefined else evaluator.queries,
        candidates=candidates,
        search_score=search_score,
        notes=verdict.notes if held else _ENDS if oracle.ended else _NOT_HELD,
    )


def _is_held(driver: Relay, verdict: Verdict, oracle: _HeldAnswers) -> bool:
    """Whether no missing answer could change the verdict of a search that no other waits for."""
    refuted = {c.target_class for c in verdict.classes if c.censored}  # a rule flags no class censored by the search
    judged = all(c in verdict.flagged or c in refuted for c in driver.decision().flagged)
    # only if the search would have gone on is it certain that the budget ended it
    return judged and not oracle.ended and oracle.unused > 0


def _of_search(driver: Relay, verdict: Verdict) -> tuple[tuple[int, ...], float | None]:
    if verdict.verdict == "invalid":
        return (), None
    decision = driver.decision()
    return decision.flagged, decision.score
