"""Which verdict stands at which budget: all that turns lines of finished scans into curves over budgets is here.

**A verdict stands from its queries on.** A line of q queries has its verdict at every budget of at least q, and at a
smaller one the scan had not decided: it is undecided there. That holds where the course of a scan does not depend on
its budget. A search by ask and tell never sees a budget; label-noise, AEVA and k-arm know it, but only begin a test
that they can pay for, and half a test is none. All that come with simkit are thus of this kind. A user's own detector
is told its limit and may plan by it: it has a point at each budget that was run, and no curve.

**What is not exact.** A search looks at its triggers every few rounds, and when its budget ends it looks once more. So
between two looks a scan with that smaller budget might have flagged a class that these lines have as undecided: TPR and
FPR are what is certain, and may rise a little further left. Where a preset refines its findings, a line says when the
verdict stood (`decision_queries`); one from before that field counts the refinement, which comes after the verdict,
with the rest. `from_ledgers` reads verdict and score at a budget off the ledgers. A search also sets aside what
trying every class's trigger on unseen images can cost, and where it needs less of that, the budget it needs is larger
than q by the rest.

**Scores.** A score is known when a scan ends, so at a smaller budget there is none yet; `curves` says how
victims are ordered then.

**Scans in stages.** A stage begins only when it can be paid for, and when it does not come to its end, `clean` of the
stage before stands. So at a smaller budget such a scan may say `clean` where these lines, which do not tell when a
stage ended, have it as undecided: TPR and FPR are as above, and so is accuracy where undecided counts as clean; where
it counts as wrong, accuracy is a lower bound. And `clean` at some budget may be the word of an early stage, which a
larger budget would have heard out: it tells nothing of larger budgets.

**Several budgets.** Of several lines about one victim the one of the smallest budget that is at least as large speaks;
before its verdict was there, the next smaller scan that came to one. A line that ended because its budget did tells
nothing of larger budgets, so a curve ends at the least budget beyond which any victim's lines are silent: there
some victims are unknown, and leaving them out would flatter. A refusal by the service, or a test that has no answer,
ends a scan at any budget: that is undecided for good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simkit.detectors.registry import DETECTORS
from simkit.verdict import Kind
from studies.study.result_line import ResultLine


@dataclass(frozen=True)
class VerdictAt:
    """What is known of a victim at a budget.

    kind: the verdict, `undecided` while there is none. score: higher is more suspicious. ended: whether the scan has
    said all that it will at this budget; while it has not, there is no score. spent: queries by then. staged: whether
    the score is of one stage of several. held: whether the ledger that it was read off had all that the verdict hangs
    on.
    """

    kind: Kind
    score: float | None
    ended: bool
    spent: int
    staged: bool = False
    held: bool = True


def budget_of(line: ResultLine) -> int | None:
    """The budget of a scan, None for no limit."""
    budget = line.config.get("budget")
    return budget if isinstance(budget, int) else None


def stands(line: ResultLine) -> bool:
    """Whether the course of this scan does not depend on its budget."""
    entry = DETECTORS.get(line.detector)
    return isinstance(line.config.get("search"), Mapping) or (entry is not None and entry.whole_test)


def verdict_at(lines: Sequence[ResultLine], budget: int) -> VerdictAt:
    """What stands of a victim at `budget`, of its lines, one or more.

    Meant for budgets up to `known_until`: beyond it `undecided` would be a guess.
    """
    there = [line for line in lines if line.stopped != "budget" and line.decided_after <= budget]
    if there:
        line = speaker(there, budget)
        return VerdictAt(line.verdict, line.score, True, min(line.queries, budget), line.staged)
    line = speaker(lines, budget)
    ran_out = line.stopped == "budget" and _cap(line) == budget
    return VerdictAt("undecided", line.score if ran_out else None, ran_out, min(line.queries, budget), line.staged)


def speaker(lines: Sequence[ResultLine], budget: int) -> ResultLine:
    """Of one victim's lines the one that tells of `budget`: of the least budget that is enough, else of the largest."""
    enough = [line for line in lines if _cap(line) >= budget]
    return min(enough, key=_cap) if enough else max(lines, key=_cap)


def known_until(lines: Sequence[ResultLine]) -> int | None:
    """The largest budget of which the lines about one victim tell; None where they tell of all."""
    if any(line.stopped != "budget" and not (line.staged and line.verdict == "clean") for line in lines):
        return None
    caps = [limit for line in lines if (limit := budget_of(line)) is not None]
    return max(caps) if len(caps) == len(lines) else None


def _cap(line: ResultLine) -> float:
    limit = budget_of(line)
    return math.inf if limit is None else limit
