"""What finds of `auto` would cost with other turns, from scans of each stage alone on the same victims and images.

python -m benchmarks.turn_ends results/stage-lengths.jsonl --drawn 2000

A stage sends the same queries in the same order whatever turns it has, so that the queries after which it found
something alone say what a find costs under any turns. The check of clean images, 32 queries at most, is in the line of
every stage and once in a scan of `auto`: a find of a later stage is counted too dear by that. Only scans count that
some stage finds. The mean is that of the kinds of triggers, each of which counts alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

from benchmarks.leave_out import KINDS, OTHERS, Scan, finds, lengths, whole_scans
from simkit.search.presets import PRESETS
from simkit.search.stage_names import stage_names
from simkit.search.turns import Turns, plan
from simkit.seeding import stream
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine

COLUMNS = ("answers", "turns", "scans", "mean of kinds", *dict.fromkeys(KINDS.values()), OTHERS)

Plan = Mapping[str, Turns | None]
"""The turns of each stage by its name, in the order of the stages."""


def main(
    files: Annotated[list[Path], typer.Argument(help="Result files with scans of each stage alone.")],
    drawn: Annotated[int, typer.Option(help="Sets of ends drawn at random, of which the best is shown.")] = 0,
) -> None:
    lines = [line for file in files for line in read_lines(file)]
    print_table([row for labels in (False, True) for row in rows(lines, drawn, labels=labels)], COLUMNS)


def rows(lines: Sequence[ResultLine], drawn: int, *, labels: bool) -> list[dict[str, Any]]:
    """The queries of finds in the mean, by kind of trigger: with today's turns, others, and the best of those drawn."""
    limits = lengths(labels=labels)
    scans = [scan for scan in whole_scans(lines, limits, labels=labels) if any(finds(x, limits) for x in scan.values())]
    plans = named(labels=labels)
    if drawn:
        plans["the best of those drawn"] = best(scans, limits, plans["as they are"], drawn)
    answers = "labels" if labels else "scores"
    return [
        {"answers": answers, "turns": name, "scans": len(scans)} | _rounded(cost_by_kind(scans, limits, turns))
        for name, turns in plans.items()
    ]


def named(*, labels: bool) -> dict[str, Plan]:
    """Today's turns, and what else might be chosen, each in words."""
    auto = PRESETS["auto"].without_scores_only() if labels else PRESETS["auto"]
    names = stage_names(auto)
    today = dict(zip(names, (stage.turns for stage in auto.stages), strict=True))
    plans: dict[str, Plan] = {
        "as they are": today,
        "none": dict.fromkeys(names),
        "1,000 queries each": {name: None if turns is None else Turns((1000,)) for name, turns in today.items()},
    }
    if "race-mosaics" in today:
        second = ("race", "race-mosaics", *(name for name in names if name not in ("race", "race-mosaics")))
        plans["as they are, mosaics second"] = {name: today[name] for name in second}
    return plans


def best(scans: Sequence[Scan], limits: Mapping[str, int], today: Plan, drawn: int) -> Plan:
    """Of sets of ends, one for each stage that takes turns, drawn between 100 queries and its length: the cheapest."""
    rng = stream(0, "ends of turns")
    ends = {name: rng.integers(100, limits[name], drawn) for name, turns in today.items() if turns is not None}
    plans = [
        {name: Turns((int(ends[name][number]),)) if name in ends else None for name in today} for number in range(drawn)
    ]
    return min(plans, key=lambda turns: cost_by_kind(scans, limits, turns)["mean of kinds"])


def cost_by_kind(scans: Sequence[Scan], limits: Mapping[str, int], turns: Plan) -> dict[str, float]:
    """The mean queries of finds by kind of trigger, and the mean of these means."""
    costs: dict[str, list[int]] = defaultdict(list)
    for scan in scans:
        kind = KINDS.get(next(iter(scan.values())).stratum, OTHERS)
        costs[kind].append(cost(scan, limits, turns))
    means = {kind: fmean(found) for kind, found in costs.items()}
    return {"mean of kinds": fmean(means.values())} | means


def cost(scan: Scan, limits: Mapping[str, int], turns: Plan) -> int:
    """The queries up to the first find in these turns. Raises ValueError if no stage finds anything."""
    names = list(turns)
    asked = dict.fromkeys(names, 0)
    for number, end in plan(list(turns.values())):
        name = names[number]
        line = scan[name]
        if finds(line, limits) and (end is None or _searched(line) <= end):
            return sum(asked.values()) - asked[name] + line.decided_after
        asked[name] = limits[name] if end is None else min(end, limits[name])
    raise ValueError("no stage finds anything in this scan")


def _searched(line: ResultLine) -> int:
    """The queries of a find without the unseen images: these are tried in the step that finds, whenever a turn ends."""
    return line.decided_after - sum(found.trials or 0 for found in line.classes if found.target_class in line.flagged)


def _rounded(costs: Mapping[str, float]) -> dict[str, int]:
    return {kind: round(queries) for kind, queries in costs.items()}


if __name__ == "__main__":
    run(main, __doc__)
