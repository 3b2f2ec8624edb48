"""What `auto` would find without one of its stages, from scans of each stage alone on the same victims and images.

python benchmarks/leave_out.py results/stage-lengths.jsonl

A stage finds a backdoor if it flags a target class within the queries that it has in `auto`. The first
row counts all scans, the others those in which some stage finds it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from simkit.search.presets import PRESETS
from simkit.search.stage_names import stage_names
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.scan.config import ScanConfig
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine

KINDS = {
    **dict.fromkeys(("1x1", "2x2", "3x3"), "patches to 3x3"),
    **dict.fromkeys(("sinusoidal",), "waves"),
    **dict.fromkeys(("warping", "warping-covers"), "warps"),
    **dict.fromkeys(("blended",), "noise"),
    **dict.fromkeys(("blended-digit", "blended-sign", "blended-photo"), "pictures"),
}
"""What a stratum is counted as; the others are larger, scattered and label-consistent patches."""

OTHERS = "other patches"

COLUMNS = ("answers", "counted", "all", *dict.fromkeys(KINDS.values()), OTHERS)

EXTRA = PRESETS["auto"].driver.check_images + int(ScanConfig.model_fields["verify_images"].default)
"""The most queries that the check of clean images and the unseen images take, which come on top of a stage's own."""

Scan = Mapping[str, ResultLine]
"""The lines of one victim with one draw of images, by stage."""


def main(files: Annotated[list[Path], typer.Argument(help="Result files with scans of each stage alone.")]) -> None:
    lines = [line for file in files for line in read_lines(file)]
    print_table([row for labels in (False, True) for row in rows(lines, labels=labels)], COLUMNS)


def rows(lines: Iterable[ResultLine], *, labels: bool) -> list[dict[str, Any]]:
    """All scans, those that the whole of `auto` finds, then without each stage; by scores or by labels."""
    limits = lengths(labels=labels)
    scans = whole_scans(lines, limits, labels=labels)
    counted = {"scans": scans, "found": _found(scans, limits)}
    counted |= {f"found without {name}": _found(scans, limits, name) for name in limits}
    return [
        {"answers": "labels" if labels else "scores", "counted": name} | _counts(kept) for name, kept in counted.items()
    ]


def lengths(*, labels: bool) -> dict[str, int]:
    """The queries that each stage has in `auto`."""
    auto = PRESETS["auto"].without_scores_only() if labels else PRESETS["auto"]
    searches: list[Any] = [stage.search for stage in auto.for_answers(labels_only=labels).stages]
    return {name: search.queries for name, search in zip(stage_names(auto), searches, strict=True)}


def whole_scans(lines: Iterable[ResultLine], limits: Mapping[str, int], *, labels: bool) -> list[Scan]:
    """The draws of backdoored victims that every stage scanned."""
    scans: dict[tuple[object, ...], dict[str, ResultLine]] = defaultdict(dict)
    for line in lines:
        if (
            line.truth == "backdoored"
            and bool(line.config["oracle"]["label_only"]) is labels
            and line.detector in limits
        ):
            scans[line.model_hash, line.config.get("seed"), line.data_hash][line.detector] = line
    return [scan for scan in scans.values() if scan.keys() == limits.keys()]


def _found(scans: Iterable[Scan], limits: Mapping[str, int], without: str | None = None) -> list[Scan]:
    return [scan for scan in scans if any(finds(line, limits) for name, line in scan.items() if name != without)]


def _counts(scans: Sequence[Scan]) -> dict[str, int]:
    kinds = [KINDS.get(next(iter(scan.values())).stratum, OTHERS) for scan in scans]
    return {"all": len(scans)} | {kind: kinds.count(kind) for kind in COLUMNS[3:]}


def finds(line: ResultLine, limits: Mapping[str, int]) -> bool:
    """Whether a stage alone flagged a target class within the length that it has in `auto`."""
    return bool(set(line.flagged) & set(line.target_classes)) and line.decided_after <= limits[line.detector] + EXTRA


if __name__ == "__main__":
    run(main, __doc__)
