"""Verdicts of white-box detectors on the same triggers under another rule, as lines for `simkit study table`.

python benchmarks/other_rule.py LINES --rule below_median --out results/cifar10-white-below-median.jsonl

A white-box detector tries every class's trigger on unseen images and stores the counts in its line, so that no search
is repeated. The rule matters for a comparison: Neural Cleanse's own rule looks for outliers, B3D's for a mask far below
the median.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from simkit.detectors.whitebox.inspection import judged
from simkit.search.presets import rule as rule_of
from simkit.triggers import Trigger
from simkit.verdict import ClassResult, Rule
from studies.cli.scripts import run
from studies.scan.canonical import canonical, digest
from studies.study.result_file import append_line, read_lines
from studies.study.result_line import ClassLine, ResultLine

RULES = ("anomaly_index", "below_median")
"""Rules that only use mask sizes, since a line has no triggers."""


def main(
    results: Annotated[Path, typer.Argument(help="Lines of `simkit study scan`.", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="A .jsonl file that gets the lines.")],
    rule: Annotated[str, typer.Option(help=f"{' or '.join(RULES)}.")] = "below_median",
) -> None:
    if rule not in RULES:
        raise typer.BadParameter(f"{rule}: name one of {', '.join(RULES)}", param_hint="--rule")
    lines = [line for line in read_lines(results) if line.white_box]
    if not lines:
        raise typer.BadParameter(f"{results}: no line of a white-box detector", param_hint="RESULTS")
    for line in lines:
        append_line(out, under(line, rule_of(rule)))


def under(line: ResultLine, rule: Rule) -> ResultLine:
    """The line of the same search under another rule, with that rule's name in its settings."""
    if any(c.trials is None for c in line.classes):
        raise typer.BadParameter(f"victim {line.index}, {line.detector}: an old line, without trials; scan it again")
    verdict = judged([_result(c) for c in line.classes], rule)
    config = line.config | {"detector": line.config["detector"] | {"rule": rule.name}}
    outcome = {
        "verdict": verdict.verdict,
        "stopped": verdict.stopped,
        "flagged": verdict.flagged,
        "score": verdict.score,
    }
    config_hash = digest(config)
    notes = "; ".join(filter(None, (line.notes.partition("; ")[0], verdict.notes)))
    classes = tuple(
        old.model_copy(update={"censored": new.censored})
        for old, new in zip(line.classes, verdict.classes, strict=True)
    )
    settings = {"config": json.loads(canonical(config)), "config_hash": config_hash}
    return line.model_copy(update=outcome | settings | {"notes": notes, "classes": classes})


def _result(line: ClassLine) -> ClassResult:
    """The stored result of a class, with an empty trigger, which these rules do not use."""
    nothing = Trigger(np.zeros((1, 64, 64), np.float32), np.zeros((1, 64, 64), np.float32))
    return ClassResult(line.target_class, nothing, line.mask_size, line.success_rate, line.censored, line.trials or 0)


if __name__ == "__main__":
    run(main, __doc__)
