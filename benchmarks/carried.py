"""Lines of `auto` that hold for today's lengths of its stages too, as lines with today's settings.

python benchmarks/carried.py LINES --out results/families.jsonl [--rest results/auto-four-stages.jsonl]

The stages of `auto` go on in turns, and each sends the same queries whatever its length is, up to its end. So a scan
that detected a backdoor in the first turns of the stages, which no length changes, is query for query the scan that
today's settings make, and need not be repeated (`tests/benchmarks/test_carried.py`). Its line gets today's settings,
and a note that says so. Lines of `auto` that cannot be carried over go to the file `--rest`, all others stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from simkit.search.presets import PRESETS
from studies.cli.scripts import run
from studies.scan.canonical import digest
from studies.scan.config import ScanConfig
from studies.scan.probability import probability
from studies.study.result_file import append_line, read_lines
from studies.study.result_line import ResultLine

NOTE = "measured with other lengths of the stages, before they differ"


def main(
    lines: Annotated[Path, typer.Argument(help="Lines of `simkit study scan`.", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="A .jsonl file that gets all lines but those of --rest.")],
    rest: Annotated[Path | None, typer.Option(help="A .jsonl file that gets what may differ today.")] = None,
) -> None:
    if there := [path for path in (out, rest) if path is not None and path.exists()]:
        raise typer.BadParameter(f"{there[0]} is there already; name another file")
    for line in read_lines(lines):
        if line.detector != "auto":
            append_line(out, line)
        elif (kept := line if has_todays(line) else carried(line)) is not None:
            append_line(out, calibrated(kept))
        elif rest is not None:
            append_line(rest, line)


def has_todays(line: ResultLine) -> bool:
    """Whether the line's settings of `auto` are those of today."""
    today = _today(labels=line.config["oracle"]["label_only"])
    return all(line.config.get(name) == value for name, value in today.items())


def carried(line: ResultLine) -> ResultLine | None:
    """The line with today's settings; None where a scan with these might differ from it.

    Its stages are compared with today's, and its queries with the first turns of those that took its images.
    """
    today = _today(labels=line.config["oracle"]["label_only"])
    if line.image_shape is None or not isinstance(line.config.get("stages"), list):
        return None
    before, now = ([config["search"], *config["stages"]] for config in (line.config, today))
    if today["turns"] != line.config.get("turns") or len(before) > len(now):
        return None
    if [*map(_of_any_length, before)] != [*map(_of_any_length, now[: len(before)])]:
        return None
    taking = len(PRESETS["auto"].on(line.image_shape).stages)  # small images leave out the later ones
    turned = [today, *(stage for stage in today["stages"] if stage.get("turns"))][: min(len(before), taking)]
    first = [stage["turns"]["ends"][0] for stage in turned]
    shortest = [min(map(_queries, pair)) for pair in zip(before, now[: len(before)], strict=True)]
    if any(end > length for end, length in zip(first, shortest, strict=False)):
        return None
    if line.verdict != "backdoored" or line.decided_after > sum(first):
        return None
    config = line.config | today
    notes = "; ".join(filter(None, (line.notes, NOTE)))
    return line.model_copy(update={"config": config, "config_hash": digest(config), "notes": notes})


def calibrated(line: ResultLine) -> ResultLine:
    """The line with the probability that today's calibration gives its verdict."""
    known = None
    if line.image_shape is not None:
        known = probability(line.config, line.environment, line.verdict, line.image_shape)
    return line.model_copy(update={"probability": None if known is None else known.value})


@cache
def _today(*, labels: bool) -> dict[str, Any]:
    """Today's settings of `auto` that concern its stages, by labels or by scores."""
    config = ScanConfig.of({"data": "digits", "oracle": "label" if labels else "scores"})
    made = json.loads(json.dumps(config.identity()))
    return {name: made[name] for name in ("search", "stages", "turns")}


def _queries(stage: Mapping[str, Any]) -> int:
    """The query budget of a stage, or of a search."""
    return int(stage.get("search", stage)["queries"])


def _of_any_length(stage: Mapping[str, Any]) -> dict[str, Any]:
    """A stage, or the settings of a search, without the query budget."""
    if "search" in stage:
        return {**stage, "search": _of_any_length(stage["search"])}
    return {name: value for name, value in stage.items() if name != "queries"}


if __name__ == "__main__":
    run(main, __doc__)
