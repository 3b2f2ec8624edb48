"""All black-box detectors on one victim, one after another: queries, seconds, verdict, and the bare oracle's speed.

python benchmarks/side_by_side.py ZOO:3 --data PATH --out results/side_by_side.jsonl
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from oracles.oracle import Oracle
from simkit.files import make_folder
from studies.cli.output import print_table
from studies.cli.scripts import run
from studies.scan import detect
from studies.scan.config import ScanConfig
from studies.scan.images import choose_images
from studies.scan.models import open_model
from studies.scan.prepare import prepare
from studies.scan.run import run_scan
from studies.scan.run_key import environment
from studies.study.detectors import Method, methods

COLUMNS = ("detector", "verdict", "flagged", "queries", "seconds", "models a minute", "share of oracle")
BATCH = 512
"""Images per call of the bare oracle."""

ROUNDS = 6
"""Rounds of timing the oracle; the best one counts."""


def main(
    victim: Annotated[str, typer.Argument(help="An entry of a zoo: DIR:7.")],
    data: Annotated[str, typer.Option(help="The images that the zoo was trained on.")],
    budget: Annotated[int, typer.Option(help="Query budget per scan.")] = 300_000,
    oracle: Annotated[str, typer.Option(help="The oracle, as in simkit scan.")] = "scores",
    only: Annotated[list[str] | None, typer.Option(help="Only these detectors.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one more line.")] = None,
) -> None:
    settings = {"data": data, "budget": budget, "oracle": oracle}
    chosen = [m for m in methods().values() if not m.white_box and (not only or m.name in only)]
    speed = images_a_second(settings, victim)
    rows = [row(method, victim, settings, speed) for method in chosen]
    typer.echo(f"the bare oracle answers {speed:,.0f} images per second")
    print_table(rows, COLUMNS)
    if out is not None:
        make_folder(out.parent)
        header = {"victim": Path(victim).name, "budget": budget, "oracle": oracle, "images a second": round(speed)}
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(header | {"detectors": rows, "environment": environment()}) + "\n")


def row(method: Method, victim: str, settings: dict[str, Any], speed: float) -> dict[str, Any]:
    """Verdict and cost of one detector; the time is that of the scan, without opening model and data."""
    if method.preset is not None:
        result = run_scan(prepare(victim, method.config(settings)))
    else:
        result = detect(method.detector, victim, **method.settings(settings))
    outcome = {"detector": method.name, "verdict": result.verdict, "flagged": list(result.flagged)}
    return outcome | {
        "queries": result.spent,
        "seconds": round(result.seconds, 2),
        "models a minute": round(60 / max(result.seconds, 1e-3), 1),
        "share of oracle": round(result.spent / max(result.seconds, 1e-3) / speed, 2),
    }


def images_a_second(settings: dict[str, Any], victim: str) -> float:
    """The best speed of the bare oracle in images per second."""
    config = ScanConfig.of(settings | {"preset": "race"})
    images = choose_images(config, None).search
    oracle = open_model(victim, images, config).oracle
    batch = images.pixels.repeat(-(-BATCH // len(images)), 1, 1, 1)[:BATCH]
    return BATCH / min(seconds(oracle, batch) for _ in range(ROUNDS))


def seconds(oracle: Oracle, batch: torch.Tensor) -> float:
    started = time.perf_counter()
    oracle.query(batch)
    return time.perf_counter() - started


if __name__ == "__main__":
    run(main, __doc__)
