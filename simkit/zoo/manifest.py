"""The ground truth of a zoo: one `manifest.json` beside the victims' weights, which do not contain it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oracles.outside import MANIFEST_BYTES, MODEL_BYTES, OutsideFile, read_outside
from simkit.attacks.attack import Attack
from simkit.attacks.registry import attack_from_json, original_trigger
from simkit.data.images import ImageShape
from simkit.errors import ConfigError, DataError, complaint
from simkit.files import write_atomically
from simkit.references import is_reference
from simkit.transforms.contract import Transform
from simkit.zoo.spec import ZooSpec

MANIFEST = "manifest.json"


class Victim(BaseModel):
    """One trained model.

    A zoo that is made again on CPUs with the same number of threads differs only in `seconds`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int = Field(description="Number of the victim in its zoo.")
    seed: int = Field(description="Seed of everything that was drawn for it.")
    stratum: str = Field(description="`clean`, or the name of its patch size or attack.")
    truth: Literal["clean", "backdoored"] = Field(description="Whether it was trained with a backdoor.")
    architecture: str = Field(description="Name of its network.")
    target_classes: tuple[int, ...] = Field(description="Classes that a detector should flag; empty if clean.")
    attack: dict[str, Any] | None = Field(description="Its attack as of `attack_to_json`; None if clean.")
    clean_accuracy: float = Field(description="Accuracy on held-out images, in [0, 1].")
    success_rate: float | None = Field(description="Attack success rate (ASR) on held-out images; None if clean.")
    implanted: bool = Field(description="Whether the ASR reached the required success rate of the zoo.")
    file: str | None = Field(description="File of the weights; None if backdoor training failed.")
    sha256: str | None = Field(description="Hash of that file.")
    seconds: float = Field(description="Time it took to make the victim.")
    threads: int = Field(description="Number of torch threads with which it was made.")

    @property
    def failed(self) -> bool:
        """Whether backdoor training failed: the ASR stayed below the zoo's required success rate."""
        return self.truth == "backdoored" and not self.implanted

    @property
    def attack_kind(self) -> str | None:
        """The name of its attack in ATTACKS, or `module:NAME` of somebody's own; None for a clean victim."""
        return None if self.attack is None else str(self.attack.get("kind"))

    @property
    def own_attack(self) -> bool:
        """Whether its attack, or one of several, is somebody's own: never imported because a manifest names it."""
        left: list[Any] = [self.attack]
        while left:
            attack = left.pop()
            if not isinstance(attack, Mapping):
                continue
            if is_reference(str(attack.get("kind"))):
                return True
            parts = attack.get("attacks")
            left += parts if isinstance(parts, list | tuple) else []
        return False

    def attacked(self, own: Mapping[str, type[Any]] = MappingProxyType({})) -> Attack | None:
        """The attack it was trained with; None for a clean victim. own: classes of the user's own attacks by kind.

        Raises DataError if it cannot be read.
        """
        try:
            return None if self.attack is None else attack_from_json(self.attack, own)
        except ConfigError as error:
            raise DataError(f"victim {self.index} of the manifest: {error}") from error

    def trigger(self, image_shape: ImageShape) -> Transform | None:
        """The trigger of its backdoor for images (C, H, W); None for a clean victim, or one of several backdoors.

        None also where the attack is somebody's own, whose code is not run. Raises DataError as `attacked`.
        """
        attack = None if self.own_attack else self.attacked()
        return None if attack is None else original_trigger(attack, image_shape)


class Manifest(BaseModel):
    """A zoo's spec and its victims, in the order of their indices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: ZooSpec = Field(description="The spec that the zoo was made from.")
    classes: tuple[str, ...] = Field(description="Names of the classes.")
    image_shape: ImageShape = Field(description="(channels, height, width) of the images.")
    data_sha256: str = Field(description="Hash of the training images, so that a zoo is not continued on others.")
    victims: tuple[Victim, ...] = Field(default=(), description="The victims.")
    failed: tuple[Victim, ...] = Field(default=(), description="Models whose backdoor training failed.")

    @property
    def complete(self) -> bool:
        """Whether the zoo has all its victims."""
        return len(self.victims) == self.spec.models

    def victim(self, index: int) -> Victim:
        """The victim with that index. Raises DataError if there is none, or if its backdoor training failed."""
        for victim in self.victims:
            if victim.index == index:
                return victim
        raise DataError(f"the zoo {self.spec.name} has no victim {index}; {MANIFEST} lists its victims")

    @classmethod
    def load(cls, folder: str | Path) -> Manifest:
        """The manifest in the folder of a zoo. Raises DataError with a message of one line."""
        return cls.read(manifest_file(Path(folder)))

    @classmethod
    def read(cls, file: OutsideFile) -> Manifest:
        """The manifest in a file that was read. Raises DataError with a message of one line."""
        try:
            return cls.model_validate_json(file.data)
        except ValidationError as error:
            raise DataError(f"{file.path}: not a manifest that this version can read: {complaint(error)}") from error

    def save(self, folder: Path) -> None:
        """Write the manifest atomically, so that a killed process loses nothing. Raises StorageError."""
        write_atomically(folder / MANIFEST, (self.model_dump_json(indent=1) + "\n").encode())


def manifest_file(folder: Path) -> OutsideFile:
    """The file of the manifest, read once. Raises DataError."""
    try:
        return read_outside(folder / MANIFEST, MANIFEST_BYTES)
    except OSError as error:
        where = folder / MANIFEST
        raise DataError(f"{where}: cannot be read ({error.strerror}); is this the folder of a zoo?") from error


def weights_path(folder: Path, victim: Victim) -> Path:
    """The path of the victim's weights. Raises DataError unless it lies in the zoo's folder, links included."""
    path = folder / str(victim.file)
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # links in a circle, or a NUL in the name
        inside = False
    if not inside:
        raise DataError(
            f"{folder / MANIFEST}: the file of victim {victim.index}, {victim.file!r}, is not in the zoo's folder, and "
            "no other file is opened; make the zoo again"
        )
    return path


def checked_weights(folder: Path, victim: Victim) -> OutsideFile:
    """The victim's weights, read once. Raises DataError unless they are the ones in the manifest."""
    path = weights_path(folder, victim)
    try:
        file = read_outside(path, MODEL_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make the zoo again") from error
    if file.sha256 != victim.sha256:
        raise DataError(f"{path}: other weights than those in the manifest; make the zoo again")
    return file
