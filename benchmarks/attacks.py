"""Clean accuracy and attack success rate (ASR) of every attack, on one small model per attack trained with it.

python benchmarks/attacks.py --data PATH --out results/attacks.jsonl

Attacks have their default settings unless stated otherwise; attacks that fail are listed like the others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from simkit.attacks.attack import Attack, Teachable
from simkit.attacks.badnets import BadNets
from simkit.attacks.blended import Blended
from simkit.attacks.elastic import Elastic
from simkit.attacks.gratings import Gratings
from simkit.attacks.input_aware import InputAware
from simkit.attacks.label_consistent import LabelConsistent
from simkit.attacks.patches import four_corners, random_patch, random_shape, scattered_pixels
from simkit.attacks.several import Several
from simkit.attacks.sinusoidal import Sinusoidal
from simkit.attacks.source_specific import SourceSpecific
from simkit.attacks.warping import Warping
from simkit.data import ImageSet, load
from simkit.data.images import ImageShape
from simkit.files import make_folder
from simkit.seeding import stream, subseed
from simkit.triggers import FloatArray
from simkit.zoo.networks import build_network
from simkit.zoo.train import evaluate, train
from simkit.zoo.train_config import TrainConfig
from studies.cli.output import print_table
from studies.cli.scripts import check_only, run
from studies.scan.run_key import environment

TARGET = 1
COLUMNS = ("attack", "poisoned", "clean", "success")


def main(
    data: Annotated[str, typer.Option(help="Images for training and evaluation.")],
    train_images: Annotated[int, typer.Option(help="Number of training images.")] = 10_000,
    epochs: Annotated[int, typer.Option(help="Epochs of training.")] = 6,
    seed: Annotated[int, typer.Option(help="Seed of triggers, images and weights.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Names from the table; all attacks by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets one line per attack.")] = None,
) -> None:
    images, held_out = load(data, "train", train_images, seed), load(data, "test", 2_000, seed)
    config, every = TrainConfig(epochs=epochs), attacks(images.image_shape, seed)
    check_only(only, every)
    chosen = {name: attack for name, attack in every.items() if not only or name in only}
    settings = {"data": Path(data).name, "train_images": len(images), "epochs": epochs, "seed": seed}
    lines = []
    for name, attack in chosen.items():
        lines.append({"attack": name} | judged(attack, images, held_out, config, seed))
        typer.echo(json.dumps(lines[-1]))
        if out is not None:
            make_folder(out.parent)
            with out.open("a", encoding="utf-8") as stream_out:
                stream_out.write(json.dumps(settings | lines[-1] | {"environment": environment()}) + "\n")
    print_table([{**line, **{n: share(line[n]) for n in COLUMNS[2:]}} for line in lines], COLUMNS)


def attacks(shape: ImageShape, seed: int) -> dict[str, Attack | None]:
    """Every attack with its defaults, and stronger variants where these are too weak for a small model; None: clean."""
    rng = stream(seed, "benchmark", "attacks")
    corner, patch = four_corners(shape, checkerboard(shape[0])), random_patch(shape, 3, 3, "multi", rng)
    noise = random_patch(shape, *shape[1:], "multi", rng)
    pair = [BadNets(random_patch(shape, 3, 3, "multi", rng), TARGET + n, 0.05) for n in range(2)]
    return {
        "clean": None,
        "badnets 3x3": BadNets(patch, TARGET),
        "badnets 3x3, rate 0.01": BadNets(patch, TARGET, 0.01),
        "badnets 3x3, rate 0.003": BadNets(patch, TARGET, 0.003),
        "badnets 2x6": BadNets(random_patch(shape, 2, 6, "multi", rng), TARGET),
        "badnets 5 pixels aslant": BadNets(random_shape(shape, np.eye(5, dtype=np.bool_), "multi", rng), TARGET),
        "badnets 9 scattered pixels": BadNets(scattered_pixels(shape, 9, "multi", rng), TARGET),
        "blended": Blended(noise, TARGET),
        "blended, alpha 0.1": Blended(noise, TARGET, alpha=0.1),
        "sinusoidal": Sinusoidal(TARGET),
        "sinusoidal, amplitude 40/255": Sinusoidal(TARGET, amplitude=40 / 255),
        "sinusoidal, relabelled": Sinusoidal(TARGET, rate=0.1, clean_label=False),
        "warping": Warping(TARGET),
        "warping, strength 2": Warping(TARGET, strength=2.0),
        "warping, strength 2, no covers": Warping(TARGET, strength=2.0, covers=0.0),
        "gratings": Gratings(TARGET, period=5.0, angle=30.0),
        "gratings, crossed": Gratings(TARGET, amplitude=40 / 255, period=5.0, angle=30.0, crossed=90.0),
        "elastic": Elastic(TARGET),
        "elastic, turned by 15 degrees": Elastic(TARGET, strength=0.0, angle=15.0),
        "label-consistent, mix": LabelConsistent(corner, TARGET),
        "label-consistent, noise": LabelConsistent(corner, TARGET, harden="noise"),
        "input-aware": InputAware(TARGET),
        "source-specific": SourceSpecific(patch, (7,), TARGET),
        "source-specific, no covers": SourceSpecific(patch, (7,), TARGET, cover_rate=0.0),
        "several: two badnets 3x3": Several(tuple(pair)),
    }


def checkerboard(channels: int) -> FloatArray:
    """Black and white, 3x3, white in the corners."""
    return np.tile((np.indices((3, 3)).sum(axis=0) % 2 == 0).astype(np.float32), (channels, 1, 1))


def judged(attack: Attack | None, images: ImageSet, held_out: ImageSet, config: TrainConfig, seed: int) -> Any:
    """Train and evaluate one model.

    poisoned: number of images that differ from the clean set; None where the trigger is learned meanwhile. crossed:
    accuracy on images with the input-aware trigger of another image. parts: ASR of each attack in `Several`. elsewhere:
    ASR of a source-specific attack on images of other classes, which should be low.
    """
    training = subseed(seed, "benchmark", "train")
    network = build_network("conv4", images.image_shape, images.n_classes, subseed(seed, "benchmark", "weights"))
    changed = None
    if isinstance(attack, Teachable):
        lesson = attack.lesson(images, subseed(seed, "benchmark", "lesson"), config.device)
        model, attack = train(network, images, config, training, lesson=lesson), lesson.learned()
    else:
        poisoned = images if attack is None else attack.poison(images, seed)
        rows = (poisoned.pixels != images.pixels).flatten(1).any(1).numpy() | (poisoned.labels != images.labels)
        model, changed = train(network, poisoned, config, training), int(rows.sum())
    done = evaluate(model, held_out, attack)
    line: dict[str, Any] = {"poisoned": changed, "clean": done.clean_accuracy, "success": done.success_rate}
    if isinstance(attack, InputAware):
        line["crossed"] = evaluate(model, attack.crossed(held_out)).clean_accuracy
    if isinstance(attack, Several):
        line["parts"] = [evaluate(model, held_out, part).success_rate for part in attack.attacks]
    if isinstance(attack, SourceSpecific):
        others = held_out.take(np.flatnonzero(~np.isin(held_out.labels, attack.sources)))
        line["elsewhere"] = evaluate(model, others, BadNets(attack.trigger, attack.target_class)).success_rate
    return line


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


if __name__ == "__main__":
    run(main, __doc__)
