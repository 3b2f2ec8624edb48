"""The verdict of a finished scan at other budgets: all the rules that turn result lines into curves over budgets.

**A verdict holds from its queries on.** A scan of q queries has its verdict at every budget of at least q; at a smaller
budget it is undecided. This is true where the course of a scan does not depend on its budget. A search by ask and tell
never sees its budget; label-noise, AEVA and k-arm know it, but start a test only if the budget covers all of it, and a
partial test counts for nothing. All detectors of simkit are of this kind. A user's own detector is told its limit and
may plan by it, so it has a point at each budget that was run, and no curve.

**What is not exact.** A search checks its triggers every few rounds, and once more when its budget runs out. A scan
with a smaller budget that runs out between two checks might thus have flagged a class where these rules say undecided:
TPR and FPR are lower bounds at that budget, and may rise slightly earlier. Where a preset refines the trigger that it
found, a line says when the verdict was reached (`decision_queries`); an older line without this field counts the
refinement, which follows the verdict, as well. `from_ledgers` computes verdict and score at a budget exactly. A search
also reserves the most that testing every class's trigger on unseen images can cost; where it needs less, the budget
that it needs is larger than q by the difference.

**Scores.** A score is known once a scan has ended, so there is none at a smaller budget; `order` defines how
victims are ranked then.

**Scans in several stages.** A scan says `clean` only where every stage came to its end, so that the first rule holds
for it as well. Older lines (see `ResultLine.perhaps_early`) may have the `clean` of an early stage whose successor the
budget did not pay for: such a verdict says nothing about larger budgets.

**Several budgets.** Of several lines of one victim, the line with the smallest sufficient budget counts; at budgets
below its queries, the next smaller scan that reached a verdict. A line whose budget ran out says nothing about larger
budgets. A curve therefore ends at the smallest budget beyond which the verdict of any victim is unknown, since leaving
that victim out would bias the figures upwards. A refusal by the service, or a test without a result, ends a scan at any
budget: it stays undecided.
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
    """The verdict on a victim at a budget.

    kind: the verdict, `undecided` while there is none. score: higher is more suspicious. ended: whether the scan has
    ended at this budget; until then it has no score. spent: queries spent. staged: whether the scan has several stages.
    held: False where the verdict depends on answers that the ledger lacks.
    """

    kind: Kind
    score: float | None
    ended: bool
    spent: int
    staged: bool = False
    held: bool = True


def of_line(line: ResultLine) -> VerdictAt:
    """The verdict of a line as it stands, at its own budget."""
    return VerdictAt(line.verdict, line.ranked, True, line.queries, line.staged)


def budget_of(line: ResultLine) -> int | None:
    """The budget of a scan, None for no limit."""
    budget = line.config.get("budget")
    return budget if isinstance(budget, int) else None


def stands(line: ResultLine) -> bool:
    """Whether the course of this scan is independent of its budget, so that its verdict holds at larger ones."""
    entry = DETECTORS.get(line.detector)
    return isinstance(line.config.get("search"), Mapping) or (entry is not None and entry.whole_test)


def verdict_at(lines: Sequence[ResultLine], budget: int) -> VerdictAt:
    """The verdict on a victim at `budget`, from its lines, at least one.

    Valid for budgets up to `known_until`; beyond it, `undecided` would be a guess.
    """
    decided = [line for line in lines if line.stopped != "budget" and line.decided_after <= budget]
    if decided:
        line = speaker(decided, budget)
        return VerdictAt(line.verdict, line.ranked, True, min(line.queries, budget), line.staged)
    line = speaker(lines, budget)
    ran_out = line.stopped == "budget" and _cap(line) == budget
    return VerdictAt("undecided", line.ranked if ran_out else None, ran_out, min(line.queries, budget), line.staged)


def speaker(lines: Sequence[ResultLine], budget: int) -> ResultLine:
    """The line of one victim that counts at `budget`: that with the smallest sufficient budget, else the largest."""
    enough = [line for line in lines if _cap(line) >= budget]
    return min(enough, key=_cap) if enough else max(lines, key=_cap)


def known_until(lines: Sequence[ResultLine]) -> int | None:
    """The largest budget at which the lines of one victim determine its verdict; None where there is no limit."""
    if any(line.stopped != "budget" and not line.perhaps_early for line in lines):
        return None
    caps = [limit for line in lines if (limit := budget_of(line)) is not None]
    return max(caps) if len(caps) == len(lines) else None


def _cap(line: ResultLine) -> float:
    limit = budget_of(line)
    return math.inf if limit is None else limit
