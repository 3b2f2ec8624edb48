"""Prepares a scan: opens and checks its model, images and settings before any query."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

from db.records import RunInfo
from oracles.budget import Budget
from oracles.spec import build
from simkit.data import ImageSet
from simkit.errors import ConfigError
from simkit.search.contract import Search, Task
from simkit.search.images import ScanImages
from simkit.search.presets import Preset
from simkit.search.relay import Course
from studies.scan.canonical import digest
from studies.scan.config import ScanConfig
from studies.scan.images import Images, choose_images
from studies.scan.models import Model, OpenedModel, open_model, read_graph, stated_shape
from studies.scan.plan_length import BudgetBelowPlan, below_plan
from studies.scan.remote_models import reached
from studies.scan.run_key import run_info
from studies.scan.small_images import SmallPatches, small_patches


@dataclass(frozen=True, eq=False)
class Prepared:
    """A checked scan that has sent no query yet.

    attempt: which run of the same scan in the same environment it is, from 0; later ones are begun on demand.
    """

    model: OpenedModel
    images: ScanImages
    config: ScanConfig
    attempt: int = 0

    @cached_property
    def info(self) -> RunInfo:
        """The run's key and its description in a ledger, computed on first use."""
        return replace(self._first, key=self.key_of(self.attempt))

    def key_of(self, attempt: int) -> str:
        """The key of that run of the same scan."""
        return digest([self._first.key, attempt]) if attempt else self._first.key

    @cached_property
    def _first(self) -> RunInfo:
        return run_info(self.model, self.images, self.config)

    @property
    def preset(self) -> Preset:
        """The preset with those of its stages that have something to look for on these images."""
        return self.config.resolved().on(self.images.search.image_shape)

    @property
    def course(self) -> Course:
        """The same stages for the driver."""
        return self.config.course(self.images.search.image_shape)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Their names."""
        return self.config.stage_names(self.images.search.image_shape)

    def search(self, images: ImageSet, stage: Preset) -> Search:
        """A fresh search of this stage on these images. Raises ConfigError if that is impossible."""
        task = Task(images.image_shape, self.model.oracle.n_classes, images.labels)
        return stage.search.search(task, self.config.seed)


def prepare(model: Model, config: ScanConfig, images: Images | None = None) -> Prepared:
    """Read and check everything that a scan needs, without a query and without a ledger. Raises as `scan` does.

    Where the preset makes images, the result's config has the model's image shape.
    """
    model = reached(model, config)  # asked once, before anything else is read
    if config.resolved().synthesis is not None:
        config, model = shaped(config, model)
    chosen = choose_images(config, images)
    prepared = Prepared(open_model(model, chosen.search, config), chosen, config)
    for stage in prepared.preset.stages:
        prepared.search(chosen.search, stage)
    build(config.oracle, config.restricted(prepared.model.oracle, 0), Budget(0))
    told = prepared.preset.warnings(chosen.search.image_shape)
    for message in told:
        warnings.warn(message, stacklevel=2)
    if not told and (few := small_patches(config, chosen.search.image_shape)):
        warnings.warn(few, SmallPatches, stacklevel=2)
    if short := below_plan(config, prepared.model.oracle.n_classes, chosen):
        warnings.warn(short, BudgetBelowPlan, stacklevel=2)
    return prepared


def shaped(config: ScanConfig, model: Model) -> tuple[ScanConfig, Model]:
    """The config with the image shape that the model states, if it states one, and the model.

    The model is returned so that its file is not read twice. Raises ConfigError where the model states another shape
    than the config.
    """
    model = read_graph(model, config.trust_model, nhwc=config.input_layout == "nhwc")
    stated = stated_shape(model)
    if None not in (stated, config.image_shape) and stated != config.image_shape:
        raise ConfigError(f"image_shape is {config.image_shape}, but the model takes images {stated}; leave it out")
    return config.model_copy(update={"image_shape": stated or config.image_shape}), model
