"""The hashes of the images of scans, computed before any query."""

from __future__ import annotations

from dataclasses import asdict

from simkit.detectors.access import TrainingSet, held
from simkit.errors import ConfigError
from studies.scan.canonical import canonical
from studies.scan.config import ScanConfig
from studies.scan.images import choose_images, no_images
from studies.study.detectors import Method


class ImageHashes:
    """The hash of the images that a config chooses; the images of equal choices are read only once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, method: Method, config: ScanConfig) -> str:
        """The hash of the images that this method uses. Raises DataError, ConfigError."""
        if TrainingSet in held(method.access):
            raise ConfigError(
                f"{method.name} needs the images that each model was trained on, which no scan reads; call its detect "
                "from Python (docs/howto/detector.md)"
            )
        none = not method.takes_images and method.preset is None  # a preset's images are blank until they are made
        made = config.resolved().synthesis
        counts = config.search_images, config.verify_images, config.seed
        choice = canonical([config.data, config.image_size, config.image_shape, *counts, none, made and asdict(made)])
        if choice not in self._known:
            self._known[choice] = (no_images(config, given=False) if none else choose_images(config, None)).sha256
        return self._known[choice]
