"""Opens the models of a service, and states their interfaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from oracles.budget import Budget
from oracles.errors import InvalidSpec, ModelError
from oracles.guard import RateLimit
from oracles.oracle import ImageShape, Oracle
from oracles.spec import OracleSpec, build
from oracles.torch_model import TorchOracle, check_answers
from oracles.wire.contract import Interface
from simkit.data import ImageSet
from simkit.errors import ConfigError
from simkit.seeding import stream
from studies.scan.config import ScanConfig
from studies.scan.models import Model, open_model
from studies.scan.prepare import shaped
from studies.service.config import ModelEntry
from studies.service.session import ServedModel

_ASKED = 16
"""Images of noise that a local model is asked before the service starts: it decides then what its rows are, and not by
what the first caller happens to ask, so that a restart changes no answer."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A model of the service and what its documentation states."""

    served: ServedModel
    interface: Interface


def open_entry(entry: ModelEntry, model: Model | None = None) -> Opened:
    """Open the model of an entry. model: takes the place of its file, such as a module in a test.

    Raises ConfigError, ModelError and InvalidSpec, which name the model.
    """
    try:
        config, chosen = shaped(ScanConfig.of(_settings(entry)), entry.file if model is None else model)
        if config.image_shape is None:
            raise ConfigError("the file does not state the shape of its images; set image_shape, such as [3, 32, 32]")
        opened = open_model(chosen, _blank(config.image_shape), config)
        build(entry.oracle, opened.oracle, Budget(0))
        _settle(opened.oracle, config.image_shape)
        served = ServedModel(entry.name, opened.oracle, opened.sha256, entry.oracle)
        return Opened(served, _interface(entry, opened.oracle))
    except (ConfigError, ModelError, InvalidSpec) as error:
        raise type(error)(f"serve: model {entry.name}: {str(error).removeprefix('scan: ')}") from error


def _settings(entry: ModelEntry) -> dict[str, Any]:
    n_classes = len(entry.classes) if isinstance(entry.classes, tuple) else entry.classes
    own = {"name": entry.name, "n_classes": n_classes, "image_shape": entry.image_shape}
    for name in own.keys() & entry.settings.keys():
        raise ConfigError(f"settings.{name} is set by a key of its own; leave it out")
    for name in ({"rate"} | OracleSpec.model_fields.keys() - ScanConfig.model_fields.keys()) & entry.settings.keys():
        raise ConfigError(f"{name} is no setting of a model; give it to --oracle, or as `oracle` in the service's file")
    return entry.settings | {name: value for name, value in own.items() if value is not None}


def _blank(shape: ImageShape) -> ImageSet:
    return ImageSet.unlabelled(np.full((1, *shape), 0.5, np.float32), "none")


def _settle(oracle: Oracle, shape: ImageShape) -> None:
    if not isinstance(oracle, TorchOracle):
        return
    noise = torch.from_numpy(stream(0, "service", "noise").random((_ASKED, *shape), dtype=np.float32))
    check_answers(oracle, noise)
    if oracle.form and oracle.output == "auto":  # a model that is local, and costs nothing to ask
        oracle.query(noise)


def _interface(entry: ModelEntry, oracle: Oracle) -> Interface:
    names = entry.classes if isinstance(entry.classes, tuple) else tuple(map(str, range(oracle.n_classes)))
    if len(names) != oracle.n_classes:
        raise ConfigError(f"{len(names)} classes are named, but the model has {oracle.n_classes}; name each of them")
    limit = entry.oracle.rate_limit and RateLimit.parse(entry.oracle.rate_limit, entry.oracle.rate_burst)
    most = min(entry.max_batch, limit.burst) if limit and not limit.calls else entry.max_batch
    return Interface(entry.name, oracle.image_shape, names, most, entry.datatype, entry.places)
