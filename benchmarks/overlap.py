"""How much reversed triggers overlap with the originals (intersection over union of the masks), by network.

simkit study scan ZOO --data DATA --detector b3d --budget 300000 --ledgers LEDGERS --out lines.jsonl
python benchmarks/overlap.py ZOO --data DATA --ledgers LEDGERS --detector b3d --out results/overlap.jsonl

One line per backdoored victim whose target class was flagged. `original`, `pixels`: sizes of both masks. `success`: the
share of `trials` unseen images that the reversed trigger turned.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

from studies.cli.scripts import run
from studies.report.gallery.gather import GalleryConfig, ShownVictim, ZooSource, gather_gallery


def main(
    zoo: Annotated[Path, typer.Argument()],
    data: Annotated[str, typer.Option()],
    ledgers: Annotated[Path, typer.Option()],
    detector: Annotated[str, typer.Option()],
    out: Annotated[Path, typer.Option()],
) -> None:
    (shown,) = gather_gallery([ZooSource(zoo, data)], [ledgers], GalleryConfig(each=10_000, detectors=(detector,)))
    victims = [victim for stratum in shown.strata for victim in stratum.shown]
    lines = [{"zoo": shown.name, "split": shown.split} | line for victim in victims for line in overlaps(victim)]
    with out.open("a", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)
    for network, mean in by_network(lines).items():
        typer.echo(f"{network}: mean IoU {mean:.2f}")


def overlaps(victim: ShownVictim) -> Iterator[dict[str, Any]]:
    """One line per detector and backdoor of a victim, where the target was flagged and both triggers have masks."""
    for backdoor in victim.backdoors:
        for found in backdoor.found:
            if found.both is None or backdoor.target_class not in found.flagged:
                continue
            yield {
                **{"index": victim.index, "architecture": victim.architecture, "attack": victim.attack},
                **{"detector": found.detector, "original": found.both.original.strength},
                **{"pixels": found.both.reversed.strength, "success": found.success.rate},
                **{"trials": found.success.trials, "iou": found.overlap},
            }


def by_network(lines: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The mean overlap by detector and network, in order of their names."""
    groups: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        groups[f"{line['detector']}, {line['architecture']}"].append(line["iou"])
    return {network: fmean(groups[network]) for network in sorted(groups)}


if __name__ == "__main__":
    run(main, __doc__)
