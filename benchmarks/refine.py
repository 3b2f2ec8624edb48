"""What refining a trigger gives for its queries: the patch that a search found, and refined ones, on unseen images.

simkit zoo make benchmarks/zoos/cifar10-refine-tune.toml --data DATA --out ZOO
python benchmarks/refine.py ZOO DATA --out results/refine.jsonl
python benchmarks/refine.py ZOO DATA --preset b3d --seeds 1 --out results/b3d-refine.jsonl

One line per backdoored victim and seed. `pixels`: size of the mask. `success`: attack success rate on 1,500 test images
(the scan may have used some of them). `iou`: overlap with the original mask.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from oracles.oracle import Oracle
from simkit.data import ImageSet, load
from simkit.search.contract import Proposal
from simkit.search.evaluator import Evaluator
from simkit.search.images import ScanImages
from simkit.search.refine import RefineConfig
from simkit.search.refine_stage import Refinement
from simkit.search.relay import Relay
from simkit.transforms.contract import Transform, Transforms
from simkit.verdict import ClassResult
from simkit.zoo.manifest import Manifest, Victim, checked_weights
from studies.ledgers.truth import overlap
from studies.scan.config import ScanConfig
from studies.scan.prepare import prepare

SETTINGS = {"500": RefineConfig.within(500), "4000": RefineConfig()}
"""By name: the default, and the default before."""


def main(
    zoo: Annotated[Path, typer.Argument()],
    data: Annotated[str, typer.Argument()],
    out: Annotated[Path, typer.Option()],
    seeds: Annotated[int, typer.Option()] = 2,
    preset: Annotated[str, typer.Option()] = "race",
) -> None:
    torch.set_num_threads(1)
    manifest, test = Manifest.load(zoo), load(data, "test", 1500, 99)
    victims = [victim for victim in manifest.victims if victim.truth == "backdoored" and not victim.failed]
    with out.open("w", encoding="utf-8") as file:
        for victim in victims:
            for seed in range(seeds):
                config = ScanConfig.of({"data": data, "seed": seed, "preset": preset})
                line = _measured(zoo, manifest, victim, config, test)
                file.write(f"{json.dumps(line)}\n")
                typer.echo(json.dumps(line))


def _measured(zoo: Path, manifest: Manifest, victim: Victim, config: ScanConfig, test: ImageSet) -> dict[str, Any]:
    prepared = prepare(checked_weights(zoo, victim), config)
    oracle, evaluator = prepared.model.oracle, Evaluator(prepared.model.oracle, None)
    verdict = [c.verdict for c in Relay(prepared.course, prepared.images, lambda: oracle.n_classes).run(evaluator)][-1]
    assert verdict is not None
    line: dict[str, Any] = {
        **{"zoo": manifest.spec.name, "index": victim.index, "stratum": victim.stratum, "seed": config.seed},
        **{"architecture": victim.architecture, "verdict": verdict.verdict, "queries": evaluator.queries},
    }
    original = victim.trigger(manifest.image_shape)
    for target in verdict.flagged[:1]:
        found = verdict.classes[target]
        line["found"] = _about(oracle, found, original, test)
        for name, settings in SETTINGS.items():
            result, queries = _refined(oracle, found, prepared.images, settings, config.seed)
            line[name] = _about(oracle, result, original, test) | {"queries": queries}
    return line


def _refined(
    oracle: Oracle, found: ClassResult, images: ScanImages, settings: RefineConfig, seed: int
) -> tuple[ClassResult, int]:
    evaluator = Evaluator(oracle, None)
    steps = Refinement(settings, found, images, seed).run(evaluator, None)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, evaluator.queries


def _about(oracle: Oracle, result: ClassResult, original: Transform | None, test: ImageSet) -> dict[str, Any]:
    images = np.flatnonzero(test.labels != result.target_class).astype(np.int32)
    pairs = np.column_stack([np.zeros_like(images), images]).astype(np.int32)
    hits = Evaluator(oracle, None).evaluate(test, Proposal(Transforms([result.trigger]), pairs), "verify").hit
    return {
        "pixels": round(result.mask_size),
        "success": round(float(hits[:, result.target_class].mean()), 3),
        "iou": None if original is None else overlap(original, result.trigger),
    }


if __name__ == "__main__":
    typer.run(main)
