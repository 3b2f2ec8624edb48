"""Collects the triggers of a gallery: the original triggers of zoos beside those that scans reversed; loads no model.

The shown victims are the first few of each stratum, by index, so that nobody chooses them by their pictures.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from db.errors import NotALedger
from db.survey import SurveyedRun, survey
from simkit.attacks.attack import Attack
from simkit.attacks.registry import original_trigger, target_classes
from simkit.attacks.several import parts_of
from simkit.data import ImageSet, load
from simkit.errors import ConfigError, DataError
from simkit.transforms.contract import Transform
from simkit.triggers import FloatArray
from simkit.zoo.manifest import Manifest, Victim
from studies.ledgers.folders import is_screening, ledgers_in
from studies.ledgers.run_words import detector_of, oracle_in_words
from studies.ledgers.truth import overlap
from studies.render.formats import class_label
from studies.scan.canonical import canonical
from studies.scan.stored_triggers import is_drawable, stored_trigger
from studies.statistics import Share, share
from studies.study.detectors import Method, described_methods

_IMAGES = 512
"""Number of test images to choose pictures from; an attack on one source class may need many."""

_Scan: TypeAlias = tuple[str, SurveyedRun]
"""The label of a run's detector and service, and the run."""


@dataclass(frozen=True)
class ZooSource:
    """A zoo's folder, and the data set of its images; None means the data set that its manifest names."""

    folder: Path
    data: str | None = None


@dataclass(frozen=True)
class GalleryConfig:
    """What a gallery shows.

    each: number of victims shown per stratum, at least 1. detectors: names of the detectors to show; empty means all.
    seed: the seed that the images are drawn with.
    """

    each: int = 3
    detectors: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.each < 1:
            raise ConfigError(f"a gallery of {self.each} victims per stratum; give 1 or more")


@dataclass(frozen=True, eq=False)
class Both:
    """An original and a reversed trigger whose masks can be compared."""

    original: Transform
    reversed: Transform


@dataclass(frozen=True, eq=False)
class Shown:
    """The verdict of one scan of a victim, and the trigger that it reversed for the backdoor's target class.

    detector: its name and its service; only the name for a white-box detector. trigger: None where the scan has none
    for that class. overlap, both: also None where the original has no mask to compare with.
    """

    detector: str
    verdict: str
    flagged: tuple[int, ...]
    queries: int
    trigger: Transform | None
    success: Share
    overlap: float | None
    both: Both | None


@dataclass(frozen=True, eq=False)
class Backdoor:
    """One backdoor of a victim, shown on one image.

    target: the label of the target class. original: None for an attack that states no trigger. plain, triggered: the
    image (C, H, W) without and with the trigger. found: one record per scan.
    """

    target: str
    target_class: int
    original: Transform | None
    plain: FloatArray
    triggered: FloatArray
    found: tuple[Shown, ...]


@dataclass(frozen=True, eq=False)
class ShownVictim:
    """A victim with its backdoors, in most cases one; success_rate is the attack success rate (ASR)."""

    index: int
    architecture: str
    attack: str
    success_rate: float | None
    backdoors: tuple[Backdoor, ...]


@dataclass(frozen=True, eq=False)
class Stratum:
    """The shown victims of one trigger size or attack; `victims` counts all of them."""

    name: str
    victims: int
    shown: tuple[ShownVictim, ...]


@dataclass(frozen=True, eq=False)
class ShownZoo:
    """A zoo of the gallery.

    clean: number of its clean victims, which have no trigger to show. own: number of those with somebody's own attack,
    whose trigger is not shown, since no code is run because a manifest names it.
    """

    name: str
    split: str
    data: str
    image_shape: tuple[int, int, int]
    clean: int
    own: int
    strata: tuple[Stratum, ...]


def gather_gallery(
    zoos: Sequence[ZooSource], ledgers: Sequence[Path], config: GalleryConfig = GalleryConfig()
) -> tuple[ShownZoo, ...]:
    """The zoos, each with the finished scans of its victims in the ledgers of these folders.

    Where several scans used the same detector and service, the newest is shown. Raises DataError where a zoo or its
    images cannot be read, and StorageError where a folder or a ledger cannot.
    """
    read = [(zoo, Manifest.load(zoo.folder)) for zoo in zoos]
    chosen = {v.sha256 for _, manifest in read for group in _groups(manifest, config.each).values() for v in group}
    scans = _scans(ledgers, {sha256 for sha256 in chosen if sha256}, config.detectors)
    return tuple(_zoo(zoo, manifest, scans, config) for zoo, manifest in read)


def _groups(manifest: Manifest, most: int | None = None) -> dict[str, list[Victim]]:
    """The first `most` (None: all) backdoored victims of each stratum by index; strata in the order of the spec.

    Without those of somebody's own attack, which the page has no code to show.
    """
    victims = sorted((v for v in manifest.victims if v.attack is not None and not v.own_attack), key=lambda v: v.index)
    names = [*manifest.spec.draws(), *(v.stratum for v in victims)]
    groups = {name: [v for v in victims if v.stratum == name] for name in dict.fromkeys(names)}
    return {name: group[:most] for name, group in groups.items() if group}


def _scans(folders: Sequence[Path], hashes: Collection[str], detectors: Collection[str]) -> Mapping[str, list[_Scan]]:
    """For each model hash, the newest finished run of each detector and service, with their label."""
    newest: dict[tuple[str, str], SurveyedRun] = {}
    described = described_methods()
    for path in [path for folder in folders for path in ledgers_in(folder)]:
        try:
            for run in survey(path):
                name, full = _named(run, described)
                wanted = (not detectors or name in detectors) and not is_screening(json.loads(run.info.config))
                if run.info.model_hash in hashes and run.verdict is not None and wanted:
                    key = run.info.model_hash, full
                    newest[key] = max(newest.get(key, run), run, key=lambda r: r.at)
        except NotALedger:
            continue  # the folder may hold other SQLite databases, such as Optuna's
    return {sha256: [(name, newest[of, name]) for of, name in sorted(newest) if of == sha256] for sha256 in hashes}


def _named(run: SurveyedRun, described: Mapping[str, Method]) -> tuple[str, str]:
    """The detector's name in `simkit study scan`, and the same with its service, which a white-box detector lacks."""
    method = described.get(canonical(json.loads(run.info.config).get("detector")))
    name = detector_of(run.info) if method is None else method.name
    return name, name if method is not None and method.white_box else f"{name}, {oracle_in_words(run.info)}"


def _zoo(zoo: ZooSource, manifest: Manifest, scans: Mapping[str, list[_Scan]], config: GalleryConfig) -> ShownZoo:
    spec, data = manifest.spec, zoo.data or manifest.spec.data
    images = load(data, "test", _IMAGES, config.seed, spec.image_size)
    if images.image_shape != manifest.image_shape:
        raise DataError(
            f"{images.name}: has images {images.image_shape}, but {zoo.folder} was made with {manifest.image_shape}"
        )
    groups = _groups(manifest)
    strata = tuple(
        Stratum(name, len(group), tuple(_victim(v, manifest, images, scans) for v in group[: config.each]))
        for name, group in groups.items()
    )
    clean = sum(victim.attack is None for victim in manifest.victims)
    own = sum(victim.own_attack for victim in manifest.victims)
    return ShownZoo(spec.name, spec.split, data, manifest.image_shape, clean, own, strata)


def _victim(victim: Victim, manifest: Manifest, images: ImageSet, scans: Mapping[str, list[_Scan]]) -> ShownVictim:
    attack = victim.attacked()
    assert attack is not None
    runs = scans.get(victim.sha256 or "", [])
    backdoors = tuple(_backdoor(part, manifest, _turned(images, victim.index), runs) for part in parts_of(attack))
    kind = victim.attack_kind or ""
    return ShownVictim(victim.index, victim.architecture, kind, victim.success_rate, backdoors)


def _turned(images: ImageSet, by: int) -> ImageSet:
    """The images rotated by `by`, so that each victim is shown on another image."""
    return images.take(np.roll(np.arange(len(images)), -by))


def _backdoor(attack: Attack, manifest: Manifest, images: ImageSet, runs: Sequence[_Scan]) -> Backdoor:
    (target,), original = target_classes(attack), original_trigger(attack, manifest.image_shape)
    plain, triggered = _example(attack, images)
    found = tuple(_shown(run, target, original) for run in runs)
    return Backdoor(class_label(target, manifest.classes), target, original, plain, triggered, found)


def _example(attack: Attack, images: ImageSet) -> tuple[FloatArray, FloatArray]:
    """The first image that the attack applies to, without and with the trigger."""
    for i in range(len(images)):
        image = images.take([i])
        try:
            triggered = attack.triggered(image)
        except DataError:
            continue  # the image is of the target class, or not of the source class
        return image.pixels[0].numpy(), triggered.pixels[0].numpy()
    none = f"the attack applies to none of {len(images)} test images"
    raise DataError(f"{images.name}: {none}; give data that contains its source class")


def _shown(scan: _Scan, target: int, original: Transform | None) -> Shown:
    detector, run = scan
    assert run.verdict is not None
    outcome = detector, run.verdict.verdict, run.verdict.flagged, run.spent
    row = next((row for row in run.triggers if row.target_class == target and row.mask_size > 0), None)
    if row is None or not is_drawable(row):
        return Shown(*outcome, None, share(0, 0), None, None)
    trigger, success = stored_trigger(row), share(row.successes, row.trials)
    both = Both(original, trigger) if original is not None and _comparable(original, trigger) else None
    iou = None if both is None else overlap(both.original, trigger)
    return Shown(*outcome, trigger, success, iou, both)


def _comparable(original: Transform, found: Transform) -> bool:
    """Whether both have masks; no pixel of a faint blend's mask is above 0.5."""
    patch = original.as_patch
    return patch is not None and found.as_patch is not None and bool((patch.mask > 0.5).any())
