"""Scan every victim of a zoo and keep one line a scan; the same command goes on where it stopped, and prints the table.

python benchmarks/scan_zoo.py ZOO --data PATH --budget N [--preset NAME] [--oracle SPEC] --out results/NAME.jsonl
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from scipy import stats

from simkit.files import make_folder, write_atomically
from simkit.triggers import Trigger
from simkit.zoo.manifest import Manifest, Victim
from studies.identity import hash_of
from studies.output import print_table, progress_bar
from studies.scan import choose_images, prepare, run_scan
from studies.scan_config import ScanConfig
from studies.scan_result import ScanResult
from studies.trigger_picture import compare_triggers

COLUMNS = (
    "index",
    "stratum",
    "architecture",
    "truth",
    "verdict",
    "target_classes",
    "flagged",
    "score",
    "queries",
    "right",
)


def main(  # noqa: PLR0913 - one parameter an option
    zoo: Path,
    data: Annotated[str, typer.Option(help="What the zoo was trained on.")],
    out: Annotated[Path, typer.Option(help="A .jsonl file; finished scans in it are not repeated.")],
    budget: Annotated[int, typer.Option(help="Queries a victim.")] = 300_000,
    preset: Annotated[str, typer.Option(help="As of simkit scan.")] = "efficient",
    oracle: Annotated[str, typer.Option(help="As of simkit scan.")] = "scores",
    picture: Annotated[Path | None, typer.Option(help="Draw original and reversed triggers here.")] = None,
) -> None:
    config = ScanConfig.of({"data": data, "budget": budget, "preset": preset, "oracle": oracle})
    task = Task(zoo, Manifest.load(zoo), config, hash_of(choose_images(config, None)))
    make_folder(out.parent)
    drop_torn_line(out)
    victims = task.manifest.victims
    with progress_bar("zoo") as progress:
        for done, victim in enumerate(victims):
            progress(done, len(victims), f"victim {victim.index}")
            if not any(task.is_of(line, victim) for line in read_lines(out)):
                line = task.line(victim, task.scan(victim))
                with out.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(line) + "\n")
    rows = [line for line in read_lines(out) if any(task.is_of(line, victim) for victim in victims)]
    print_table([{**row, "score": round(row["score"] or 0.0, 2)} for row in rows], COLUMNS)
    for said in (*summary(rows), failures(task.manifest)):
        typer.echo(said)
    if picture is not None:
        draw(picture, task)


@dataclass(frozen=True)
class Task:
    """One zoo, scanned with one config on the same images throughout."""

    zoo: Path
    manifest: Manifest
    config: ScanConfig
    data_hash: str

    def scan(self, victim: Victim) -> ScanResult:
        """In a ledger that is thrown away: a benchmark keeps its lines, and the seeds rebuild the rest."""
        with tempfile.TemporaryDirectory() as folder:
            return run_scan(prepare(self.zoo / str(victim.file), self.config), Path(folder) / "scan.db")

    def same(self, victim: Victim) -> dict[str, Any]:
        """What a line is known by."""
        return {
            "zoo": self.manifest.spec.name,
            "split": self.manifest.spec.split,
            "index": victim.index,
            "model_hash": victim.sha256,
            "data_hash": self.data_hash,
            "detector": self.config.preset,
            "config": json.loads(json.dumps(self.config.identity())),
        }

    def is_of(self, line: dict[str, Any], victim: Victim) -> bool:
        return self.same(victim).items() <= line.items()

    def line(self, victim: Victim, result: ScanResult) -> dict[str, Any]:
        """A scan as it is kept. right: of the verdict alone. threads, torch: what else may move the last bits."""
        told = result.to_json()
        truth = {name: getattr(victim, name) for name in ("stratum", "architecture", "target_classes", "truth")}
        implant = {"clean_accuracy": victim.clean_accuracy, "implant_success_rate": victim.success_rate}
        found = {name: told[name] for name in ("verdict", "stopped", "flagged", "score", "classes", "seconds")}
        made = {"threads": torch.get_num_threads(), "torch": torch.__version__}
        right = {"queries": result.spent, "right": result.verdict == victim.truth}
        return self.same(victim) | made | truth | implant | found | right


def read_lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] if out.exists() else []


def drop_torn_line(out: Path) -> None:
    """Write the file again without a last line that a kill left unfinished; that victim is scanned again."""
    lines = out.read_bytes().splitlines(keepends=True) if out.exists() else []
    if lines and not _is_whole(lines[-1]):
        write_atomically(out, b"".join(lines[:-1]))


def _is_whole(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """What all lines together say; none for no lines."""
    if not rows:
        return ["no victims"]
    right, total = sum(row["right"] for row in rows), len(rows)
    interval = stats.binomtest(right, total).proportion_ci(method="wilson")
    found = [row for row in rows if row["truth"] == row["verdict"] == "backdoored"]
    hit = sum(not set(row["target_classes"]).isdisjoint(row["flagged"]) for row in found)
    alone = sum(row["flagged"] == list(row["target_classes"]) for row in found)
    return [
        f"{right} of {total} verdicts right (Wilson 95 %: {interval.low:.0%} to {interval.high:.0%})",
        f"{hit} of {len(found)} detections flag the target class, {alone} of them no other",
        f"{sum(row['queries'] for row in rows):,} queries in {sum(row['seconds'] for row in rows):.0f} s",
    ]


def failures(manifest: Manifest) -> str:
    """How many implants of the zoo were made and did not take; they were replaced."""
    failed = Counter(victim.stratum for victim in manifest.failed)
    made = sum(victim.truth == "backdoored" for victim in (*manifest.victims, *manifest.failed))
    strata = ", ".join(f"{stratum} {count}" for stratum, count in sorted(failed.items()))
    return f"{failed.total()} implants failed of {made} made" + (f": {strata}" if strata else "")


def draw(picture: Path, task: Task) -> None:
    """The first victim of each patch size: its trigger, and what was found for that class."""
    manifest, shown = task.manifest, set()
    pairs: dict[str, Trigger] = {}
    for victim in manifest.victims:
        original = victim.trigger()
        if original is None or victim.stratum in shown:
            continue
        shown.add(victim.stratum)
        pairs[f"original\n{victim.stratum}"] = original
        pairs[f"reversed\n{victim.stratum}"] = task.scan(victim).classes[victim.target_classes[0]].trigger
    if pairs:
        compare_triggers(picture, pairs, choose_images(task.config, None).verify.pixels[0].numpy())


if __name__ == "__main__":
    typer.run(main)
