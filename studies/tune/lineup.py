"""The victims of a study in one process: weights are read and images decoded once, not in every trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simkit.search.images import ScanImages
from simkit.zoo.manifest import checked_weights
from studies.identity import canonical, hash_of
from studies.models import OpenedModel, open_model
from studies.no_images import shaped
from studies.prepared import Prepared, choose_images
from studies.scan_config import ScanConfig
from studies.zoo_scan.unit import Unit

_OF_A_TRIAL = {"search", "driver", "rule", "preset", "budget", "oracle", "restriction", "synthesis"}
"""What may differ between two scans that use the same images and the same model."""

_KEPT = 64
"""Sets of images that are kept: more than any study of victims and seeds alone has."""


class Lineup:
    """Scans that are ready to begin, made of models and images that earlier ones used. For one process."""

    def __init__(self) -> None:
        self._images: dict[str, tuple[ScanImages, str]] = {}
        self._models: dict[tuple[Path, str], OpenedModel] = {}

    def prepared(self, unit: Unit, config: ScanConfig) -> tuple[Prepared, str]:
        """The scan of the unit's victim under `config`, and the hash of its images.

        Raises ConfigError, DataError, ModelError, as `studies.prepared.prepare` does.
        """
        path = unit.study.zoo / str(unit.victim.file)
        config = config if config.resolved().synthesis is None else shaped(config, path)
        images, digest = self._chosen(config)
        known = path, canonical(config.model_dump(mode="json", exclude=_OF_A_TRIAL))
        if known not in self._models:
            self._models[known] = open_model(checked_weights(unit.study.zoo, unit.victim), images.search, config)
        prepared = Prepared(self._models[known], images, config, path)
        for stage in config.resolved().stages:
            prepared.search(images.search, stage)
        return prepared, digest

    def _chosen(self, config: ScanConfig) -> tuple[ScanImages, str]:
        made: Any = config.resolved().synthesis
        known = canonical([config.model_dump(mode="json", exclude=_OF_A_TRIAL), None if made is None else repr(made)])
        if known not in self._images:
            if len(self._images) >= _KEPT:
                self._images.clear()
            images = choose_images(config, None)
            self._images[known] = images, hash_of(images)
        return self._images[known]
