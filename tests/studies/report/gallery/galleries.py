"""A zoo of every kind of attack that nobody trained, its images, and ledgers of scans of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from simkit.attacks.attack import Attack
from simkit.attacks.badnets import BadNets
from simkit.attacks.blended import Blended
from simkit.attacks.patches import patch_trigger
from simkit.attacks.registry import attack_to_json, target_classes
from simkit.attacks.several import Several
from simkit.attacks.sinusoidal import Sinusoidal
from simkit.attacks.source_specific import SourceSpecific
from simkit.zoo.manifest import Manifest, Victim
from simkit.zoo.spec import ZooSpec
from tests.studies.report.ledgers import SHAPE, Kept, write

PATCH = patch_trigger(SHAPE, 0, 1, np.ones((3, 2, 2), np.float32))
"""Shares two pixels with what the ledgers' scans find for class 2."""

OTHER = patch_trigger(SHAPE, 5, 5, np.zeros((3, 2, 2), np.float32))
WHOLE = patch_trigger(SHAPE, 0, 0, np.ones(SHAPE, np.float32))

ATTACKS: Mapping[str, Attack] = {
    "2x2": BadNets(PATCH, 2),
    "blended": Blended(WHOLE, 2),
    "sinusoidal": Sinusoidal(2, frequency=2.0),
    "source": SourceSpecific(PATCH, (3,), 2),
    "several": Several((BadNets(PATCH, 2), BadNets(OTHER, 0))),
}


def images(path: Path) -> str:
    """Grey test images of four classes in turn; the one at index i is i / 64 bright, as far as 8 bits tell."""
    levels = np.rint(np.arange(40) / 64 * 255).astype(np.uint8)
    pixels = np.broadcast_to(levels[:, None, None, None], (40, 8, 8, 3))
    np.savez(path, x_test=pixels, y_test=np.arange(40) % 4)
    return str(path)


def zoo_of(folder: Path, data: str, attacks: Mapping[str, Attack] = ATTACKS, each: int = 1) -> Path:
    """So many victims of each attack and one clean one, the highest index first; `sha256` is `STRATUM-INDEX`."""
    drawn = [(name, attack) for name, attack in attacks.items() for _ in range(each)]
    victims = tuple(_victim(index, name, attack) for index, (name, attack) in enumerate([*drawn, ("clean", None)]))
    spec = ZooSpec.of({"name": "known", "data": data, "split": "tune", "models": len(victims), "sizes": (2,)})
    names = ("airplane", "car", "<bird>", "cat")
    folder.mkdir(parents=True, exist_ok=True)
    known = Manifest(spec=spec, classes=names, image_shape=SHAPE, data_sha256="0" * 64, victims=victims[::-1])
    known.save(folder)
    return folder


def _victim(index: int, stratum: str, attack: Attack | None) -> Victim:
    return Victim(
        index=index,
        seed=0,
        stratum=stratum,
        truth="clean" if attack is None else "backdoored",
        architecture="conv4",
        target_classes=() if attack is None else target_classes(attack),
        attack=None if attack is None else attack_to_json(attack),
        clean_accuracy=0.9,
        success_rate=None if attack is None else 0.97,
        implanted=attack is not None,
        file="model.safetensors",
        sha256=f"{stratum}-{index}",
        seconds=1.0,
        threads=1,
    )


def scanned(folder: Path, *hashes: str) -> Path:
    """A folder with a ledger for each of these models, each with one scan that flags class 2."""
    folder.mkdir(exist_ok=True)
    for number, model_hash in enumerate(hashes):
        write(folder / f"{number}.db", Kept(model_hash=model_hash))
    return folder
