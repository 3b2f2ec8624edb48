"""What the scans of one trial come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, median
from typing import Any

from simkit.zoo.manifest import Victim
from studies.result_line import ResultLine
from studies.table.statistics import ranking


def auroc(scored: Iterable[tuple[Victim, float | None]]) -> float:
    """The chance that a backdoored victim scores above a clean one, in [0, 1]; a tie counts half.

    None, no score, lies below every score. Where nobody has one, or one kind is missing, it is one half.
    """
    of: dict[str, list[float | None]] = {"backdoored": [], "clean": []}
    for victim, score in scored:
        of[victim.truth].append(score)
    area = ranking(of["backdoored"], of["clean"]).auroc
    return 0.5 if area is None else area


def summary(lines: Sequence[ResultLine], victims: Sequence[Victim]) -> dict[str, Any]:
    """Plain values for a trial's attributes; shares in [0, 1], None of nobody.

    lines: of the finished scans. victims: of all scans. accuracy: verdicts that are the truth, `undecided` never is.
    tpr, fpr: verdicts `backdoored` of all backdoored and all clean victims; a scan that a pruned trial left unfinished
    accuses nobody, so that there both are at most what the whole trial would have come to. mean_queries,
    median_queries: a finished scan.
    """
    queries = [line.queries for line in lines]
    return {
        "scans": len(lines),
        "accuracy": _share(line.right for line in lines),
        "tpr": _accused(lines, victims, "backdoored"),
        "fpr": _accused(lines, victims, "clean"),
        "undecided": _share(line.verdict == "undecided" for line in lines),
        "mean_queries": fmean(queries) if queries else None,
        "median_queries": float(median(queries)) if queries else None,
    }


def _accused(lines: Sequence[ResultLine], victims: Sequence[Victim], truth: str) -> float | None:
    count = sum(victim.truth == truth for victim in victims)
    accused = sum(line.verdict == "backdoored" for line in lines if line.truth == truth)
    return accused / count if count else None


def _share(hits: Iterable[bool]) -> float | None:
    told = list(hits)
    return fmean(told) if told else None
