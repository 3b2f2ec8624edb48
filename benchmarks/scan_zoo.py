"""Scan every victim of a zoo and keep one line a scan; the same command goes on where it stopped, and prints the table.

python benchmarks/scan_zoo.py ZOO --data PATH --budget N [--preset NAME] [--oracle SPEC] --out results/NAME.jsonl
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from scipy import stats

from simkit.zoo.manifest import Manifest, Victim
from studies.output import print_table, progress_bar
from studies.scan import prepare as prepare_scan
from studies.scan import run_scan
from studies.scan_config import ScanConfig
from studies.scan_result import ScanResult
from studies.trigger_picture import compare_triggers

COLUMNS = (
    "index",
    "stratum",
    "architecture",
    "truth",
    "verdict",
    "target_class",
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
    manifest = Manifest.load(zoo)
    config = ScanConfig.of({"data": data, "budget": budget, "preset": preset, "oracle": oracle})
    victims = [victim for victim in manifest.victims if victim.file is not None]
    out.parent.mkdir(parents=True, exist_ok=True)
    with progress_bar("zoo") as progress:
        for done, victim in enumerate(victims):
            progress(done, len(victims), f"victim {victim.index}")
            if not any(_is_of(line, manifest, victim, config) for line in _lines(out)):
                result = _scan(zoo / str(victim.file), config)
                with out.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(_line(manifest, victim, config, result)) + "\n")
    rows = [line for line in _lines(out) if any(_is_of(line, manifest, v, config) for v in victims)]
    _report(manifest, rows)
    if picture is not None:
        _draw(picture, zoo, manifest, config)


def _scan(model: Path, config: ScanConfig) -> ScanResult:
    """In a ledger that is thrown away: a benchmark keeps its lines, and the seeds rebuild the rest."""
    with tempfile.TemporaryDirectory() as folder:
        return run_scan(prepare_scan(model, config), Path(folder) / "scan.db")


def _lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] if out.exists() else []


def _same(manifest: Manifest, victim: Victim, config: ScanConfig) -> dict[str, Any]:
    """What a line is known by."""
    return {
        "zoo": manifest.spec.name,
        "split": manifest.spec.split,
        "index": victim.index,
        "model_hash": victim.sha256,
        "detector": config.preset,
        "config": config.identity(),
    }


def _is_of(line: dict[str, Any], manifest: Manifest, victim: Victim, config: ScanConfig) -> bool:
    return all(line.get(key) == json.loads(json.dumps(value)) for key, value in _same(manifest, victim, config).items())


def _line(manifest: Manifest, victim: Victim, config: ScanConfig, result: ScanResult) -> dict[str, Any]:
    told = result.to_json()
    truth = {name: getattr(victim, name) for name in ("stratum", "architecture", "target_class", "truth")}
    implant = {"clean_accuracy": victim.clean_accuracy, "implant_success_rate": victim.success_rate}
    found = {name: told[name] for name in ("verdict", "stopped", "flagged", "score", "classes", "seconds")}
    right = result.verdict == victim.truth
    return _same(manifest, victim, config) | truth | implant | found | {"queries": result.spent, "right": right}


def _report(manifest: Manifest, rows: list[dict[str, Any]]) -> None:
    print_table([{**row, "score": round(row["score"] or 0.0, 2)} for row in rows], COLUMNS)
    right, total = sum(row["right"] for row in rows), len(rows)
    interval = stats.binomtest(right, total).proportion_ci(method="wilson")
    target = [row["flagged"] == [row["target_class"]] for row in rows if row["truth"] == "backdoored" and row["right"]]
    failed = [v for v in manifest.victims if v.file is None]
    typer.echo(f"{right} of {total} verdicts right (Wilson 95 %: {interval.low:.0%} to {interval.high:.0%})")
    typer.echo(f"{sum(target)} of {len(target)} detections flag the target class and no other")
    typer.echo(f"{sum(row['queries'] for row in rows):,} queries in {sum(row['seconds'] for row in rows):.0f} s")
    typer.echo(f"{len(failed)} implants failed and were replaced: {[(v.index, v.stratum) for v in failed]}")


def _draw(picture: Path, zoo: Path, manifest: Manifest, config: ScanConfig) -> None:
    """One victim a patch size: its trigger, and what B3D found for that class."""
    shown, pairs = set(), {}
    image = prepare_scan(zoo / str(manifest.victims[0].file), config).images.verify.pixels[0].numpy()
    for victim in manifest.victims:
        attack = victim.attack(manifest.image_shape, manifest.spec.rate)
        if victim.file is None or attack is None or victim.stratum in shown:
            continue
        shown.add(victim.stratum)
        result = _scan(zoo / str(victim.file), config)
        pairs[f"original\n{victim.stratum}"] = attack.trigger
        pairs[f"reversed\n{victim.stratum}"] = result.classes[attack.target_class].trigger
    compare_triggers(picture, pairs, image)


if __name__ == "__main__":
    typer.run(main)
