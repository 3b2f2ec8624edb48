"""Runs a white-box detector on one model, with its verdict in a ledger, and with passes in place of queries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from db import reads
from db.ledger import Ledger
from db.records import RunInfo
from db.stored import StoredRun
from oracles.errors import ModelError
from oracles.outside import OutsideFile
from oracles.sandbox.model import SandboxedModel
from simkit.detectors.access import Detector, ModelAccess, WeightAccess, stated_access
from simkit.detectors.whitebox.inspection import Inspection
from simkit.errors import ConfigError
from simkit.search.images import ScanImages
from studies.scan.black_box import joined, own_verdict_row
from studies.scan.canonical import canonical
from studies.scan.config import ScanConfig
from studies.scan.models import OpenedModel, open_file
from studies.scan.own_verdicts import verdict_of
from studies.scan.result import Bill, ScanResult, result_of
from studies.scan.run_key import run_info, with_notes
from studies.scan.stored_triggers import readers_of, trigger_rows
from studies.scan.user_code import described

_ORACLE_ONLY = ("mean", "std", "input_layout", "input_dtype", "output_item")
"""Settings of how a model is queried, which a detector with gradients does not apply."""


def inspect_model(
    detector: Detector[WeightAccess] | Detector[ModelAccess],
    model: Path | OutsideFile,
    config: ScanConfig,
    ledger: Ledger,
    images: ScanImages,
) -> ScanResult:
    """The verdict of `detector` on the weights in the file `model`, with the images that `config` chose.

    A detector that takes `ModelAccess` is given none of the images, only their shape.

    The run in the ledger has no query and one step, whose state is the cost; see `cost_of`. A finished run gives its
    stored result. Raises ConfigError, DataError and ModelError, which leave no run; StorageError; ContractError
    as `detect` does.
    """
    if given := [name for name in _ORACLE_ONLY if getattr(config, name) is not None]:
        raise ConfigError(f"a white-box detector runs the model as it is, without {given[0]}; leave that out")
    opened, module = open_file(model, images.search, config)
    if isinstance(module, SandboxedModel):
        raise ModelError(
            f"{opened.name}: a white-box detector needs the weights in simkit's own process, and a file that is a "
            "program runs in another; give weights alone (.safetensors, a state_dict), or trust_model=true"
        )
    info = run_info(opened, images, config, described(detector, "detect"))
    if not any(kept.key == info.key for kept in reads.same_scans(ledger.path, info)):
        if stated_access(detector.detect) is ModelAccess:
            access: Any = ModelAccess(module, images.search.image_shape)
        else:
            access = WeightAccess(module, joined(images))
        _inspect(detector, opened, access, ledger, info)
    return result_of(ledger.begin(info), ledger, info, readers_of(detector))


def cost_of(run: StoredRun) -> Mapping[str, Any]:
    """The cost from `Inspection`: schedule, forward_passes, backward_passes; empty if the detector does not count."""
    return json.loads(run.steps[0].state) if 0 in run.steps else {}


def _inspect(detector: Detector[Any], opened: OpenedModel, access: Any, ledger: Ledger, info: RunInfo) -> None:
    started = time.perf_counter()
    cost: dict[str, Any] = {}
    oracle = opened.oracle
    verdict = verdict_of(
        detector, lambda: _inspection(detector, access, cost), lambda: oracle.n_classes, oracle.image_shape
    )
    seconds = time.perf_counter() - started
    verdict = with_notes(verdict, opened, opened.oracle)
    row = own_verdict_row(detector, verdict, Bill(0, 0, seconds, None, None))
    run = ledger.begin(info)
    run.open_step(0, "search", canonical(cost))
    run.finish(row, trigger_rows(verdict))


def _inspection(detector: Detector[Any], access: Any, cost: dict[str, Any]) -> object:
    """The verdict; its cost is put into `cost`. A user's own detector need not count passes."""
    inspect: Callable[[Any], Inspection] | None = getattr(detector, "inspect", None)
    if inspect is None:
        return detector.detect(access)
    cost.update(vars(inspect(access)))
    return cost.pop("verdict")
