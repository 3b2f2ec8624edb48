"""How far a study is: what is done and what is left of each detector behind each service on each zoo."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass

from studies.study_file.cells import Part, StudyPlan


@dataclass(frozen=True)
class Standing:
    """A row. seeds: repeats. right: of those done. queries: their median, None where none is done."""

    zoo: str
    detector: str
    service: str
    seeds: int
    done: int
    left: int
    right: int
    queries: int | None


def standings(plan: StudyPlan) -> list[Standing]:
    """A row for each detector, service and zoo, in the order of the file; its repeats are added up."""
    groups: dict[tuple[str, str, str], list[Part]] = defaultdict(list)
    for part in plan.parts:
        groups[part.cell.study.name, part.cell.detector, part.cell.service].append(part)
    return [_standing(*names, parts) for names, parts in groups.items()]


def _standing(zoo: str, detector: str, service: str, parts: list[Part]) -> Standing:
    lines = [line for part in parts for line in part.done]
    left = sum(len(part.todo) for part in parts)
    queries = int(statistics.median(line.queries for line in lines)) if lines else None
    right = sum(line.right for line in lines)
    return Standing(zoo, detector, service, len({part.cell.seed for part in parts}), len(lines), left, right, queries)
