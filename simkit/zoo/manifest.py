"""The truth about a zoo: one `manifest.json` beside the victims' weights, which know nothing of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from simkit.attacks.attack import Attack
from simkit.attacks.registry import attack_from_json, original_trigger
from simkit.data.images import ImageShape
from simkit.errors import ConfigError, DataError, complaint
from simkit.files import write_atomically
from simkit.triggers import Trigger
from simkit.zoo.spec import ZooSpec

MANIFEST = "manifest.json"


class Victim(BaseModel):
    """One trained model. attack, success_rate: None for a clean one, which has no target_classes.

    attack: as of `simkit.attacks.registry.attack_to_json`. target_classes: those that a detector ought to flag.
    file, sha256: of the weights, None where a failed implant was not kept. clean_accuracy, success_rate: on held-out
    images, in [0, 1]. implanted: whether success_rate reached what the zoo requires. seconds: of making it, by
    `threads` torch threads; a zoo made again with as many threads, on CPUs, differs in nothing but the seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    seed: int
    stratum: str
    truth: Literal["clean", "backdoored"]
    architecture: str
    target_classes: tuple[int, ...]
    attack: dict[str, Any] | None
    clean_accuracy: float
    success_rate: float | None
    implanted: bool
    file: str | None
    sha256: str | None
    seconds: float
    threads: int

    @property
    def failed(self) -> bool:
        """Whether it should have carried a backdoor and does not."""
        return self.truth == "backdoored" and not self.implanted

    @property
    def attack_kind(self) -> str | None:
        """The name of its attack in ATTACKS; None for a clean victim."""
        return None if self.attack is None else str(self.attack.get("kind"))

    def attacked(self) -> Attack | None:
        """The attack it was trained under; None for a clean victim. Raises DataError for one that cannot be read."""
        try:
            return None if self.attack is None else attack_from_json(self.attack)
        except ConfigError as error:
            raise DataError(f"victim {self.index} of the manifest: {error}") from error

    def trigger(self) -> Trigger | None:
        """The trigger to be found; None where there is none, or no mask and pattern say what it does."""
        attack = self.attacked()
        return None if attack is None else original_trigger(attack)


class Manifest(BaseModel):
    """A zoo's spec, its victims and its failed implants, both in the order of their indices.

    data_sha256: of the training images, so that a zoo is not continued on others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: ZooSpec
    classes: tuple[str, ...]
    image_shape: ImageShape
    data_sha256: str
    victims: tuple[Victim, ...] = ()
    failed: tuple[Victim, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the zoo has all its victims."""
        return len(self.victims) == self.spec.models

    def victim(self, index: int) -> Victim:
        """The victim of that index. Raises DataError if there is none, or if its implant failed."""
        for victim in self.victims:
            if victim.index == index:
                return victim
        raise DataError(f"the zoo {self.spec.name} has no victim {index}; see {MANIFEST} for those it has")

    @classmethod
    def load(cls, folder: str | Path) -> Manifest:
        """The manifest in a zoo's folder. Raises DataError in one line."""
        path = Path(folder) / MANIFEST
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); is this the folder of a zoo?") from error
        except ValidationError as error:
            raise DataError(f"{path}: not a manifest this version reads: {complaint(error)}") from error

    def save(self, folder: Path) -> None:
        """Write it, or leave the one before: a kill in between loses nothing. Raises StorageError."""
        write_atomically(folder / MANIFEST, (self.model_dump_json(indent=1) + "\n").encode())


def checked_weights(folder: Path, victim: Victim) -> Path:
    """The victim's file. Raises DataError unless it is the one that the manifest tells the truth about."""
    path = folder / str(victim.file)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make the zoo again") from error
    if digest != victim.sha256:
        raise DataError(f"{path}: other weights than those in the manifest; make the zoo again")
    return path
