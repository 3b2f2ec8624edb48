"""A scan that is known to be sound before anything is asked: its model, its images, its settings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

from db.records import RunInfo
from oracles.budget import Budget
from oracles.oracle import Oracle
from oracles.spec import build
from oracles.torch_model import TorchOracle, taken_for
from oracles.torch_options import Output
from simkit.data import ImageSet
from simkit.errors import ConfigError
from simkit.search.contract import Search, Task
from simkit.search.images import ScanImages
from simkit.search.presets import Preset
from studies.scan.config import ScanConfig
from studies.scan.images import Images, choose_images
from studies.scan.models import Model, OpenedModel, open_model, read_graph, stated_shape
from studies.scan.run_key import run_info


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan that is known to be sound and has asked nothing yet."""

    model: OpenedModel
    images: ScanImages
    config: ScanConfig

    @cached_property
    def info(self) -> RunInfo:
        """The run's key and what a ledger says of it, as of when it was first asked for."""
        return run_info(self.model, self.images, self.config)

    def search(self, images: ImageSet, stage: Preset) -> Search:
        """A fresh search of this stage on these images. Raises ConfigError if it cannot be."""
        task = Task(images.image_shape, self.model.oracle.n_classes, images.labels)
        return stage.search.search(task, self.config.seed)

    def oracle(self, output: Output) -> Oracle:
        """The model to ask. output: what an earlier process found that its rows are; `auto` if nobody asked yet."""
        oracle = self.model.oracle
        if output == "auto" or not isinstance(oracle, TorchOracle) or oracle.output == output:
            return oracle
        return taken_for(oracle, output)


def prepare(model: Model, config: ScanConfig, images: Images | None = None) -> Prepared:
    """Read and check everything that a scan needs, without a query and without a ledger. Raises as `scan` does.

    The config of the result has the model's image shape where images are to be made.
    """
    if config.resolved().synthesis is not None:
        config, model = shaped(config, model)
    chosen = choose_images(config, images)
    prepared = Prepared(open_model(model, chosen.search, config), chosen, config)
    for stage in config.resolved().stages:
        prepared.search(chosen.search, stage)
    build(config.oracle, config.restricted(prepared.model.oracle, 0), Budget(0))
    for said in config.resolved().warnings(chosen.search.image_shape):
        warnings.warn(said, stacklevel=2)
    return prepared


def shaped(config: ScanConfig, model: Model) -> tuple[ScanConfig, Model]:
    """The config with the shape that the model states of its images; as it is, where the model states none.

    The model, too: a file that had to be read for that is not read again. Raises ConfigError where the model states
    another shape than the config.
    """
    model = read_graph(model)
    stated = stated_shape(model)
    if None not in (stated, config.image_shape) and stated != config.image_shape:
        raise ConfigError(f"image_shape is {config.image_shape}, but the model takes images {stated}; leave it out")
    return config.model_copy(update={"image_shape": stated or config.image_shape}), model
