"""Loads the zoos that a study file names, and checks their splits, victims and images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simkit.data.load import absolute, load
from simkit.errors import ConfigError, DataError
from simkit.zoo.manifest import MANIFEST, Manifest, Victim, manifest_file
from simkit.zoo.spec import ZooSplit
from studies.study.config import ZooEntry
from studies.study.plan import chosen


@dataclass(frozen=True, eq=False)
class Zoo:
    """A zoo of the study: its folder, its images (see `simkit.data.load`), its manifest, and the victims to scan.

    manifest_sha256: hash of the manifest's file. served: see `ZooEntry`.
    """

    folder: Path
    data: str
    manifest: Manifest
    victims: tuple[Victim, ...]
    manifest_sha256: str
    served: str | None = None

    @classmethod
    def of(cls, base: Path, entry: ZooEntry, split: ZooSplit) -> Zoo:
        """Load a zoo. base: folder that paths are relative to. Raises ConfigError if missing or of another split."""
        folder = base / entry.folder
        try:
            manifest, sha256 = _manifest(folder)
            if manifest.spec.split != split:
                raise ConfigError(
                    f"is of split {manifest.spec.split!r}, but the study of {split!r}; use a study file per split"
                )
            victims = chosen(manifest, entry.indices, entry.limit)
        except (ConfigError, DataError) as error:
            raise ConfigError(f"zoos[{entry.folder}]: {error}") from error
        data = absolute(manifest.spec.data, Path.cwd()) if entry.data is None else absolute(entry.data, base)
        return cls(folder, data, manifest, tuple(victims), sha256, entry.served)

    def check_images(self) -> None:
        """Raise ConfigError where the images cannot be read, or have another shape or number of classes than the zoo.

        Images without class names are accepted.
        """
        manifest, spec = self.manifest, self.manifest.spec
        where = f"zoos[{self.folder.name}]"
        try:
            images = load(self.data, "test", 1, image_size=spec.image_size)
        except DataError as error:
            raise ConfigError(f"{where}: {error}") from error
        classes = len(manifest.classes)
        if images.image_shape != manifest.image_shape or images.n_classes not in (0, classes):
            theirs = f"images {images.image_shape} of {images.n_classes} classes"
            wanted = f"{manifest.image_shape} of {classes}"
            raise ConfigError(
                f"{where}: {self.data} has {theirs}, but the zoo {wanted}; name the data that it was made from"
            )

    def settings(self) -> dict[str, Any]:
        """The fields of `ScanConfig` that a zoo decides."""
        spec = self.manifest.spec
        return {"data": self.data, "image_size": spec.image_size, "image_shape": self.manifest.image_shape}


def _manifest(folder: Path) -> tuple[Manifest, str]:
    if not (folder / MANIFEST).is_file():
        raise ConfigError(f"there is no zoo in {folder}, since it has no {MANIFEST}; make it, or correct the folder")
    file = manifest_file(folder)
    return Manifest.read(file), file.sha256
