"""Whole zoos scanned by `auto`: models per minute, queries, and the cost beside that of the bare oracle.

python benchmarks/fleet_speed.py ZOO --data PATH --out results/fleet_speed.jsonl

Every victim is scanned as by `simkit study scan` in one process with one torch thread: reading its images and weights,
every query in its ledger, and its line of results. Right after it as many images are sent to its bare oracle, in the
batches of that ledger. The ratio is that of the CPU seconds of both, so that other load on the machine matters little;
models per minute are by wall time.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer

import db
from oracles.oracle import Oracle
from simkit.errors import DataError
from simkit.files import make_folder
from simkit.zoo.manifest import Manifest, checked_weights
from studies.cli.output import echo
from studies.cli.scripts import run
from studies.scan.images import choose_images
from studies.scan.models import open_model
from studies.scan.run_key import environment
from studies.study.detectors import method
from studies.study.image_hashes import ImageHashes
from studies.study.plan import chosen, units_of
from studies.study.unit import Study, Unit, scan_unit

T = TypeVar("T")


@dataclass(frozen=True)
class Timed:
    """One victim: the queries and calls of its scan, and wall and CPU seconds of the scan and of the bare oracle."""

    verdict: str
    queries: int
    calls: int
    seconds: float
    cpu_seconds: float
    oracle_seconds: float
    oracle_cpu_seconds: float


def main(  # noqa: PLR0913 (the options are the interface)
    zoo: Annotated[Path, typer.Argument(help="A zoo's folder.")],
    data: Annotated[str, typer.Option(help="The images that the zoo was trained on.")],
    detector: Annotated[str, typer.Option(help="A preset, as in simkit study scan.")] = "auto",
    oracle: Annotated[str, typer.Option(help="The oracle, as in simkit study scan.")] = "scores",
    budget: Annotated[int, typer.Option(help="Query budget per scan.")] = 300_000,
    indices: Annotated[str | None, typer.Option(help="Only these victims, as 0-19,25.")] = None,
    code: Annotated[str, typer.Option(help="What is measured, such as a commit; kept in the line.")] = "",
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one more line.")] = None,
) -> None:
    torch.set_num_threads(1)
    manifest, settings = Manifest.load(zoo), {"data": data, "oracle": oracle, "budget": budget}
    settings["image_size"] = manifest.spec.image_size
    victims = chosen(manifest, indices)
    with tempfile.TemporaryDirectory(prefix="simkit-fleet-") as name:
        first = {victim.truth: victim for victim in reversed(victims)}.values()
        for part, some in {"first": first, "scans": victims}.items():  # loading libraries, once a process, is not timed
            of_zoo = zoo, manifest.spec.name, manifest.spec.split, Path(name) / part / "lines.jsonl"
            study = Study(*of_zoo, Path(name) / part / "ledgers", settings)
            timed = list(measured(units_of(study, list(some), [method(detector)], ImageHashes())))
    header = {"zoo": manifest.spec.name, "detector": detector, "oracle": oracle, "budget": budget, "code": code}
    line = header | summary(timed)
    asked = f"{line['queries']:,} queries in {line['calls']:,} calls"
    cost = f"{line['cpu_seconds']:.1f} CPU seconds, {line['ratio']:.2f} times the bare oracle"
    echo(f"{line['models']} models by {detector}: {line['models_per_minute']:.1f} a minute, {asked}, {cost}")
    if out is not None:
        make_folder(out.parent)
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | {"each": [asdict(one) for one in timed], "environment": environment()}) + "\n")


def measured(units: Sequence[Unit]) -> Iterator[Timed]:
    """Scan each victim, and send as many images to its bare oracle. Raises DataError where a scan fails."""
    for unit in units:
        outcome, seconds, cpu_seconds = clocked(partial(scan_unit, unit))
        if outcome.line is None:
            raise DataError(f"victim {unit.victim.index}: {outcome.state} {'; '.join(outcome.messages)}")
        batches = batches_of(unit)
        oracle, images = bare_oracle(unit, max(batches))
        bare = clocked(partial(send, oracle, images, batches))[1:]
        yield Timed(outcome.line.verdict, sum(batches), len(batches), seconds, cpu_seconds, *bare)


def batches_of(unit: Unit) -> list[int]:
    """The number of images of each call in the ledger of a scan."""
    ledger = db.open(unit.study.ledgers / f"{unit.stem}.db")
    return [int(count) for count in ledger.sql("SELECT queries FROM calls ORDER BY id")["queries"]]


def bare_oracle(unit: Unit, most: int) -> tuple[Oracle, torch.Tensor]:
    """The opened model of a victim, which has been asked once, and `most` images for it."""
    config = method(unit.detector).config(unit.settings)
    images = choose_images(config, None).search
    oracle = open_model(checked_weights(unit.study.zoo, unit.victim), images, config).oracle
    pixels = images.pixels.repeat(-(-most // len(images)), 1, 1, 1)[:most]
    oracle.query(pixels)
    return oracle, pixels


def send(oracle: Oracle, images: torch.Tensor, batches: Sequence[int]) -> None:
    """Send batches of these sizes, unmetered and unrecorded."""
    for count in batches:
        oracle.query(images[:count])


def clocked(work: Callable[[], T]) -> tuple[T, float, float]:
    """What the work gives, and its wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = work()
    return done, time.perf_counter() - wall, time.process_time() - cpu


def summary(timed: Sequence[Timed]) -> dict[str, Any]:
    """Sums over the victims. ratio: the CPU seconds of the scans to those of the bare oracles."""
    sums = {name: sum(getattr(one, name) for one in timed) for name in list(asdict(timed[0]))[1:]}
    return {"models": len(timed), **{name: round(value, 2) for name, value in sums.items()}} | {
        "models_per_minute": round(60 * len(timed) / sums["seconds"], 2),
        "ratio": round(sums["cpu_seconds"] / sums["oracle_cpu_seconds"], 3),
        "wall_ratio": round(sums["seconds"] / sums["oracle_seconds"], 3),
    }


if __name__ == "__main__":
    run(main, __doc__)
