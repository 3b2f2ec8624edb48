"""The truth about a zoo: one `manifest.json` beside the victims' weights, which know nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from simkit.attacks.badnets import BadNets
from simkit.attacks.patches import PatchKind, patch_trigger
from simkit.data.images import ImageShape
from simkit.errors import DataError, complaint
from simkit.files import write_atomically
from simkit.triggers import Trigger
from simkit.zoo.spec import ZooSpec

MANIFEST = "manifest.json"


class Patch(BaseModel):
    """A rectangular trigger. row, col: its top left pixel. colours: uint8 (C, height, width), its bytes in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int
    col: int
    height: int
    width: int
    kind: PatchKind
    colours: str

    @classmethod
    def of(cls, trigger: Trigger, kind: PatchKind) -> Patch:
        """The patch that a trigger of `patch_trigger` is."""
        rows, cols = (np.flatnonzero(trigger.mask[0].any(axis=axis)) for axis in (1, 0))
        colours = trigger.pattern[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        steps = np.rint(colours * 255.0).astype(np.uint8)
        place = {"row": int(rows[0]), "col": int(cols[0]), "height": len(rows), "width": len(cols)}
        return cls(**place, kind=kind, colours=steps.tobytes().hex())

    def trigger(self, image_shape: ImageShape) -> Trigger:
        """The trigger for images (C, H, W). Raises DataError if the colours are not those of such a patch."""
        shape = image_shape[0], self.height, self.width
        try:
            steps = np.frombuffer(bytes.fromhex(self.colours), np.uint8).reshape(shape)
        except ValueError as error:
            raise DataError(f"the colours {self.colours!r} are not the hex of {shape} bytes") from error
        return patch_trigger(image_shape, self.row, self.col, (steps / 255.0).astype(np.float32))


class Victim(BaseModel):
    """One trained model. trigger, target_class, success_rate: None for a clean one.

    file, sha256: of the weights, None where a failed implant was not kept. clean_accuracy, success_rate: on held-out
    images, in [0, 1]. implanted: whether success_rate reached what the zoo requires. seconds: of making it, by
    `threads` torch threads; a zoo made again with as many threads differs in nothing but the seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    seed: int
    stratum: str
    truth: Literal["clean", "backdoored"]
    architecture: str
    target_class: int | None
    trigger: Patch | None
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

    def attack(self, image_shape: ImageShape, rate: float) -> BadNets | None:
        """The attack it was trained under; None for a clean victim."""
        if self.trigger is None or self.target_class is None:
            return None
        return BadNets(self.trigger.trigger(image_shape), self.target_class, rate)


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
