"""Defences with training data or with clean images, on victims of zoos: what they find, and what a repair leaves.

python benchmarks/access.py ZOO --data PATH --out results/access.jsonl
python benchmarks/access.py ZOO --data PATH --out results/access.jsonl --indices 0,1 --method fine-pruning

One line per victim and method; lines that are there are not made again. The training images are poisoned again as the
zoo's manifest says, and its hash checks the clean ones; `--sample` clusters that many of them, drawn at random.
`suspected`: images in suspicious clusters; `found`: those of them that are poisoned, of `poisoned`. Fine-pruning has
5,000 test images and trains on half of them; accuracy and attack success rate (ASR) are of 2,000 others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import nn

from oracles.model_files import load_model
from simkit.attacks.registry import attack_from_json
from simkit.data import ImageSet, load
from simkit.detectors.access import WeightAccess
from simkit.detectors.whitebox.activation_clustering import PRESETS
from simkit.detectors.whitebox.hidden import hidden
from simkit.errors import DataError
from simkit.files import make_folder
from simkit.fine_pruning import FinePruning
from simkit.seeding import stream
from simkit.zoo.manifest import Manifest, Victim, checked_weights
from simkit.zoo.networks import NETWORKS
from simkit.zoo.train import evaluate
from studies.scan.run_key import environment
from studies.study.plan import chosen

CLUSTERING = tuple(f"activation-clustering-{name}" for name in PRESETS)
METHODS = ("activation-clustering", "fine-pruning")
CLEAN, HELD_OUT = 5000, 2000
"""Test images for the repair, and for measuring it."""


def main(
    zoo: Annotated[Path, typer.Argument()],
    data: Annotated[str, typer.Option(help="The images that the zoo was trained on.")],
    out: Annotated[Path, typer.Option()],
    indices: Annotated[str | None, typer.Option(help="Only these victims, as in 0-3,7.")] = None,
    sample: Annotated[int, typer.Option(help="Training images that are clustered.")] = 10_000,
    method: Annotated[list[str] | None, typer.Option(help=f"Only these: {', '.join(METHODS)}.")] = None,
) -> None:
    torch.set_num_threads(1)
    manifest = Manifest.load(zoo)
    made = {(line["zoo"], line["index"], line["method"]) for line in lines_of(out)}
    sets = Sets(manifest, data)
    make_folder(out.parent)
    for victim in chosen(manifest, indices):
        for name in method or METHODS:
            wanted = CLUSTERING if name == METHODS[0] else (name,)
            if all((manifest.spec.name, victim.index, one) in made for one in wanted):
                continue
            model = load_model(checked_weights(zoo, victim), NETWORKS).module
            for line in clustered(model, sets, victim, sample) if name == METHODS[0] else [pruned(model, sets, victim)]:
                whole = about(manifest, victim) | line | {"environment": environment()}
                with out.open("a", encoding="utf-8") as file:
                    file.write(f"{json.dumps(whole)}\n")
                typer.echo(json.dumps({key: value for key, value in whole.items() if key != "environment"}))


def lines_of(out: Path) -> Iterator[dict[str, Any]]:
    """The lines that are there already."""
    if out.exists():
        yield from map(json.loads, out.read_text(encoding="utf-8").splitlines())


Marks: TypeAlias = NDArray[np.bool_]
"""Which of N images, (N,)."""


class Sets:
    """The images of a zoo: read once, when they are first needed."""

    def __init__(self, manifest: Manifest, data: str) -> None:
        self._manifest, self._data = manifest, data
        self._training: ImageSet | None = None
        self._test: ImageSet | None = None

    def trained_on(self, victim: Victim, sample: int) -> tuple[ImageSet, Marks]:
        """A sample of a victim's training images, and which of them are poisoned. Raises DataError for other data."""
        spec = self._manifest.spec
        if self._training is None:
            self._training = load(self._data, "train", spec.train.train_images, spec.first_seed, spec.image_size)
            if self._training.sha256() != self._manifest.data_sha256:
                raise DataError(f"{self._data}: not the images that zoo {spec.name} was trained on")
        drawn = stream(victim.seed, "access", "sample").permutation(len(self._training))[:sample]
        clean = self._training.take(drawn)
        if victim.attack is None:
            return clean, np.zeros(len(clean), dtype=np.bool_)
        poisoned = attack_from_json(victim.attack).poison(self._training, victim.seed).take(drawn)
        return poisoned, (poisoned.array != clean.array).any(axis=(1, 2, 3)) | (poisoned.labels != clean.labels)

    def clean(self) -> tuple[ImageSet, ImageSet]:
        """Test images for the repair, and others that measure it."""
        spec = self._manifest.spec
        if self._test is None:
            self._test = load(self._data, "test", CLEAN + HELD_OUT, spec.first_seed, spec.image_size)
        return self._test.part(0, len(self._test) - HELD_OUT), self._test.part(
            len(self._test) - HELD_OUT, len(self._test)
        )


def about(manifest: Manifest, victim: Victim) -> dict[str, Any]:
    """What the manifest says of a victim."""
    return {
        **{"zoo": manifest.spec.name, "split": manifest.spec.split, "index": victim.index, "truth": victim.truth},
        **{"stratum": victim.stratum, "attack": victim.attack_kind, "architecture": victim.architecture},
        **{"target_classes": list(victim.target_classes), "model_hash": victim.sha256},
    }


def clustered(model: nn.Module, sets: Sets, victim: Victim, sample: int) -> Iterator[dict[str, Any]]:
    """What activation clustering finds, with published thresholds and with ours, in one pass of the model."""
    images, poisoned = sets.trained_on(victim, sample)
    start = time.perf_counter()
    seen = hidden(model, images.pixels)
    forward = time.perf_counter() - start
    for name, detector in PRESETS.items():
        start = time.perf_counter()
        found = detector.judged(seen, images)
        yield {
            **{"method": f"activation-clustering-{name}", "verdict": found.verdict.verdict},
            **{"flagged": list(found.verdict.flagged), "score": found.verdict.score, "training_images": len(images)},
            **{"poisoned": int(poisoned.sum()), "suspected": int(found.suspected.sum())},
            "found": int((found.suspected & poisoned).sum()),
            "shares": [round(c.share, 3) for c in found.classes],
            "silhouettes": [round(c.silhouette, 3) for c in found.classes],
            "seconds": round(forward + time.perf_counter() - start, 1),
        }


def pruned(model: nn.Module, sets: Sets, victim: Victim) -> dict[str, Any]:
    """Accuracy and ASR before fine-pruning, after pruning, and after training."""
    images, held_out = sets.clean()
    start = time.perf_counter()
    repaired = FinePruning().repair(WeightAccess(model, images))
    seconds = time.perf_counter() - start
    attack = None if victim.attack is None else attack_from_json(victim.attack)
    stages = {"before": model, "pruned": repaired.before_tuning, "after": repaired.model}
    measured = {name: evaluate(stage, held_out, attack) for name, stage in stages.items()}
    return {
        **{"method": "fine-pruning", "channels": repaired.channels, "channels_pruned": repaired.pruned},
        "accuracy": {name: round(one.clean_accuracy, 4) for name, one in measured.items()},
        "asr": {n: None if one.success_rate is None else round(one.success_rate, 4) for n, one in measured.items()},
        "clean_images": len(images),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    typer.run(main)
