"""Makes one victim of a zoo: it draws its properties, trains it, evaluates it and writes its file."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from simkit.attacks.attack import Attack
from simkit.attacks.own_trial import try_out
from simkit.attacks.registry import attack_to_json, check_fits, target_classes
from simkit.data.images import ImageSet, ImageShape
from simkit.data.load import load
from simkit.errors import ConfigError, DataError
from simkit.files import write_atomically
from simkit.seeding import stream, subseed
from simkit.zoo.manifest import Manifest, Victim, checked_weights
from simkit.zoo.networks import build_network
from simkit.zoo.spec import CLEAN, ZooSpec
from simkit.zoo.train import evaluate, implant, train
from simkit.zoo.weights import to_bytes


@dataclass(frozen=True, eq=False)
class Plan:
    """The drawn properties of model `index` of a zoo. attack: None for a clean one."""

    index: int
    seed: int
    stratum: str
    architecture: str
    attack: Attack | None


def plan(spec: ZooSpec, index: int, image_shape: ImageShape, n_classes: int) -> Plan:
    """Everything that is drawn for model `index`, as a function of the arguments only.

    Raises ConfigError if the trigger does not fit the image.
    """
    seed, stratum = spec.model_seed(index), spec.stratum(index)
    architecture = str(stream(seed, "zoo", "architecture").choice(spec.architectures))
    if stratum == CLEAN:
        return Plan(index, seed, stratum, architecture, None)
    attack = spec.draws()[stratum].draw(image_shape, n_classes, spec.target_class(index, n_classes), seed)
    return Plan(index, seed, stratum, architecture, attack)


@dataclass(frozen=True, eq=False)
class Workshop:
    """The training images, held-out images and output folder of one zoo."""

    spec: ZooSpec
    images: ImageSet
    held_out: ImageSet
    out: Path

    @classmethod
    def open(cls, spec: ZooSpec, out: Path) -> Workshop:
        """Read the images. Raises DataError, and ConfigError if a trigger of the spec does not fit them.

        Attacks of the user's own are tried on a few of them, so that a wrong one is told before the first victim.
        """
        images = load(spec.data, "train", spec.train.train_images, spec.first_seed, spec.image_size)
        held_out = load(spec.data, "test", spec.held_out, spec.first_seed, spec.image_size)
        if images.classes != held_out.classes:
            raise DataError(f"{spec.data}: its train and test split name their classes differently; name them alike")
        for name, draw in spec.draws().items():
            try:
                attack = draw.draw(images.image_shape, images.n_classes, 0, spec.first_seed)
                check_fits(attack, images.n_classes)
                try_out(attack, images, held_out, spec.first_seed)
            except (ConfigError, DataError) as error:
                raise type(error)(f"zoo {spec.name}, stratum {name}: {error}") from error
        return cls(spec, images, held_out, out)

    def fresh(self) -> Manifest:
        """The manifest of this zoo without victims."""
        images = self.images
        return Manifest(
            spec=self.spec, classes=images.classes, image_shape=images.image_shape, data_sha256=images.sha256()
        )

    def make(self, index: int) -> Victim:
        """Train and evaluate model `index`, and keep its weights unless backdoor training failed."""
        start = time.perf_counter()
        drawn = plan(self.spec, index, self.images.image_shape, self.images.n_classes)
        model, attack = self._trained(drawn)
        judged = evaluate(model, self.held_out, attack, self.spec.training(drawn.architecture).device)
        implanted = judged.success_rate is not None and judged.success_rate >= self.spec.required_success
        file, sha256 = self._keep(drawn, model) if attack is None or implanted else (None, None)
        return Victim(
            index=index,
            seed=drawn.seed,
            stratum=drawn.stratum,
            truth="clean" if attack is None else "backdoored",
            architecture=drawn.architecture,
            target_classes=() if attack is None else target_classes(attack),
            attack=None if attack is None else attack_to_json(attack),
            clean_accuracy=judged.clean_accuracy,
            success_rate=judged.success_rate,
            implanted=implanted,
            file=file,
            sha256=sha256,
            seconds=round(time.perf_counter() - start, 2),
            threads=torch.get_num_threads(),
        )

    def intact(self, victim: Victim) -> bool:
        """Whether the victim's weights match the manifest; true if none were kept."""
        if victim.file is None:
            return True
        try:
            checked_weights(self.out, victim)
        except DataError:
            return False
        return True

    def _trained(self, drawn: Plan) -> tuple[nn.Module, Attack | None]:
        """The model, and the attack as it is after training."""
        images, seed, config = self.images, drawn.seed, self.spec.training(drawn.architecture)
        weights = subseed(seed, "zoo", "weights")
        network = build_network(drawn.architecture, images.image_shape, images.n_classes, weights)
        if drawn.attack is None:
            return train(network, images, config, subseed(seed, "zoo", "train")), None
        try_out(drawn.attack, images, self.held_out, seed)  # with what was drawn for this victim
        return implant(network, images, drawn.attack, config, seed)

    def _keep(self, drawn: Plan, model: nn.Module) -> tuple[str, str]:
        data = to_bytes(model, drawn.architecture, self.images.image_shape, self.images.n_classes)
        file = f"{drawn.index:04d}.safetensors"
        write_atomically(self.out / file, data)
        return file, hashlib.sha256(data).hexdigest()
