"""The zoos that a study file names: found, of the right split, with the victims that are wanted."""

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
    """A zoo of the study: its folder, its images as of `simkit.data.load`, its manifest, the victims to be scanned.

    manifest_sha256: hash of the manifest's file.
    """

    folder: Path
    data: str
    manifest: Manifest
    victims: tuple[Victim, ...]
    manifest_sha256: str

    @classmethod
    def of(cls, base: Path, entry: ZooEntry, split: ZooSplit) -> Zoo:
        """base: what its paths are relative to. Raises ConfigError where it is not there, or of another split."""
        folder = base / entry.folder
        try:
            manifest, sha256 = _manifest(folder)
            if manifest.spec.split != split:
                raise ConfigError(
                    f"is of split {manifest.spec.split!r}, and the study of {split!r}; name zoos of one split, the "
                    "others in a file of their own"
                )
            victims = chosen(manifest, entry.indices, entry.limit)
        except (ConfigError, DataError) as error:
            raise ConfigError(f"zoos[{entry.folder}]: {error}") from error
        data = absolute(manifest.spec.data, Path.cwd()) if entry.data is None else absolute(entry.data, base)
        return cls(folder, data, manifest, tuple(victims), sha256)

    def check_images(self) -> None:
        """Raise ConfigError where its images cannot be read, or are not of its shape, or of other classes than it has.

        Loose images name no classes, and may be of any.
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
                f"{where}: {self.data} has {theirs}, the zoo's are {wanted}; name the data it was made from"
            )

    def settings(self) -> dict[str, Any]:
        """The fields of `ScanConfig` that a zoo decides."""
        spec = self.manifest.spec
        return {"data": self.data, "image_size": spec.image_size, "image_shape": self.manifest.image_shape}


def _manifest(folder: Path) -> tuple[Manifest, str]:
    if not (folder / MANIFEST).is_file():
        raise ConfigError(f"there is no zoo in {folder}, for want of a {MANIFEST}; make it, or correct the folder")
    file = manifest_file(folder)
    return Manifest.read(file), file.sha256
