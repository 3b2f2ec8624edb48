"""The truth about models, from the manifests of zoos, matched by the hash of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from db.records import RunInfo
from simkit.attacks.attack import Attack
from simkit.errors import DataError
from simkit.transforms.contract import Transform
from simkit.zoo.manifest import MANIFEST, Manifest, Victim


class Truths:
    """Looks models up in the named zoos, and in the folder of a run's model."""

    def __init__(self, zoos: Sequence[Path]) -> None:
        """Load the manifests of the named zoos. Raises DataError where a folder is no zoo."""
        self._zoos: dict[Path, Manifest | None] = {zoo: Manifest.load(zoo) for zoo in zoos}

    def of(self, info: RunInfo) -> Truth | None:
        """The truth about a run's model, None where no zoo knows its hash."""
        match = self._match(info)
        return None if match is None else _truth(*match)

    def attack_on(self, info: RunInfo) -> Attack | None:
        """The attack on a run's model; None for a clean model, or where no zoo knows its hash."""
        match = self._match(info)
        return None if match is None else match[1].attacked()

    def _match(self, info: RunInfo) -> tuple[Manifest, Victim] | None:
        beside = Path(info.model).parent
        if beside not in self._zoos:
            self._zoos[beside] = _manifest(beside)
        for manifest in self._zoos.values():
            for victim in manifest.victims if manifest is not None else ():
                if victim.sha256 is not None and victim.sha256 == info.model_hash:
                    assert manifest is not None
                    return manifest, victim
        return None


def overlap(first: Transform, second: Transform) -> float | None:
    """Intersection over union of both masks, thresholded at 0.5.

    None for triggers of which one is no mask and pattern, for unequal shapes, and where both masks are empty.
    """
    one, other = first.as_patch, second.as_patch
    if one is None or other is None or one.mask.shape != other.mask.shape:
        return None
    in_first, in_second = one.mask > 0.5, other.mask > 0.5
    union = int(np.count_nonzero(in_first | in_second))
    return np.count_nonzero(in_first & in_second) / union if union else None


def _manifest(folder: Path) -> Manifest | None:
    """The manifest in a folder that the user did not name; None where there is none or it cannot be read."""
    try:
        return Manifest.load(folder) if (folder / MANIFEST).is_file() else None
    except (DataError, OSError, ValueError):
        return None


def _truth(manifest: Manifest, victim: Victim) -> Truth:
    return Truth(
        truth=victim.truth,
        stratum=victim.stratum,
        architecture=victim.architecture,
        target_classes=victim.target_classes,
        trigger=victim.trigger(manifest.image_shape),
        success_rate=victim.success_rate,
        classes=manifest.classes,
    )


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth about a model from a zoo's manifest.

    target_classes: empty for a clean victim. trigger: None also for several backdoors. success_rate: attack success
    rate (ASR).
    """

    truth: str
    stratum: str
    architecture: str
    target_classes: tuple[int, ...]
    trigger: Transform | None
    success_rate: float | None
    classes: tuple[str, ...]
