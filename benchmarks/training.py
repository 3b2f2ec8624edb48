"""Training time against accuracy: networks, images and epochs of zoo victims, in one run with one torch thread.

python benchmarks/training.py --data PATH --out results/training.jsonl

CPU seconds are those of the process, so that other load on the machine only affects the wall time.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from simkit.data import ImageSet, load
from simkit.files import make_folder
from simkit.seeding import subseed
from simkit.zoo.networks import build_network
from simkit.zoo.train import evaluate, train
from simkit.zoo.train_config import TrainConfig
from studies.cli.output import print_table
from studies.cli.scripts import check_only, run
from studies.scan.run_key import environment

COLUMNS = ("network", "images", "epochs", "precision", "augment", "accuracy", "cpu_seconds", "images_per_second")


@dataclass(frozen=True)
class Recipe:
    """A network, its number of training images (None: all), and epochs."""

    network: str
    images: int | None
    epochs: int
    others: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> TrainConfig:
        """The training settings, as in a zoo."""
        return TrainConfig(epochs=self.epochs, **self.others)


RECIPES = (
    Recipe("conv4", 20_000, 5, {"precision": "float32"}),
    Recipe("conv4", 20_000, 5),
    Recipe("conv4", None, 2),
    Recipe("flat", None, 2),
    Recipe("resnet8", 20_000, 5),
    Recipe("resnet9", 20_000, 2),
    Recipe("resnet9", 20_000, 3),
    Recipe("resnet9", 20_000, 5),
    Recipe("resnet9", None, 6, {"augment": True}),
)
"""The first is the prototype's network and length; the third, fourth and last are those of the CIFAR-10 zoos."""


def main(
    data: Annotated[str, typer.Option(help="Images for training and evaluation.")],
    only: Annotated[list[int] | None, typer.Option(help="Numbers of recipes, from 0; all by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of images and weights.")] = 0,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one line per recipe.")] = None,
) -> None:
    check_only(only, range(len(RECIPES)))
    torch.set_num_threads(1)
    images, held_out = load(data, "train", seed=seed), load(data, "test", seed=seed)
    lines = []
    for number, recipe in enumerate(RECIPES):
        if only and number not in only:
            continue
        few = images if recipe.images is None else images.take(range(min(recipe.images, len(images))))
        lines.append(judged(recipe, few, held_out, seed))
        if out is not None:
            make_folder(out.parent)
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(lines[-1] | {"data": Path(data).name, "environment": environment()}) + "\n")
    print_table(lines, COLUMNS)


def judged(recipe: Recipe, images: ImageSet, held_out: ImageSet, seed: int) -> dict[str, Any]:
    """Train once and evaluate on all test images."""
    network = build_network(recipe.network, images.image_shape, images.n_classes, subseed(seed, "benchmark", "weights"))
    started, wall = time.process_time(), time.perf_counter()
    model = train(network, images, recipe.config, subseed(seed, "benchmark", "train"))
    seconds = time.process_time() - started
    settings = asdict(recipe.config) | {"network": recipe.network, "images": len(images), "seed": seed}
    return settings | {
        "accuracy": round(evaluate(model, held_out).clean_accuracy, 4),
        "cpu_seconds": round(seconds, 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
        "images_per_second": round(recipe.epochs * len(images) / seconds),
    }


if __name__ == "__main__":
    run(main, __doc__)
