"""The run key, which identifies a run: equal keys mean equal answers and an equal verdict."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
import torch

from db.records import RunInfo
from oracles.decision import Decision
from oracles.oracle import Oracle
from oracles.remote.oracle import RemoteOracle
from oracles.torch_model import TorchOracle, decision_of, taken_for
from simkit.search.images import ScanImages
from simkit.verdict import Verdict
from studies.scan.canonical import canonical, digest
from studies.scan.config import ScanConfig
from studies.scan.models import OpenedModel

version = cache(metadata.version)
"""Of a distribution, whose files are read once."""


def run_info(
    model: OpenedModel, images: ScanImages, config: ScanConfig, detector: dict[str, Any] | None = None
) -> RunInfo:
    """The run's key and its description in the ledger. detector: the settings of a detector, None for a scan.

    The key is a SHA-256 over everything that may change an answer: the config with its preset written out, the hashes
    of model and images, the number of torch threads, and the versions of simkit, torch, numpy and other libraries that
    run the model.
    """
    settings = settings_of(config, detector)
    identity = {
        "config": {name: value for name, value in settings.items() if name != "preset"},
        "model": model.sha256,
        "data": images.sha256,
        "threads": torch.get_num_threads(),
        "simkit": version("b3d-simkit"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        **model.libraries,
    }
    return RunInfo(
        key=digest(identity),
        model=model.name,
        model_hash=model.sha256,
        data=config.data or images.search.name,
        data_hash=images.sha256,
        oracle=config.oracle.to_json(),
        config=canonical(settings),
        seed=config.seed,
        budget=config.budget,
        environment=canonical(environment() | dict(model.libraries) | _of_the_file(model)),
    )


def settings_of(config: ScanConfig, detector: dict[str, Any] | None = None) -> dict[str, Any]:
    """All settings of a run as stored in its ledger, with the preset's name for a scan. detector: as in `run_info`.

    The preset's name is for people and not part of the run key: equal settings under another name are the same run.
    """
    if detector is None:
        return {"preset": config.preset_name} | config.identity()
    return config.service() | {"detector": detector}


def with_output(info: RunInfo, oracle: Oracle) -> RunInfo:
    """The info with the model's output type, which a later process must not decide again from other answers."""
    if not isinstance(oracle, TorchOracle):
        return info
    form = {"form": oracle.form} if oracle.form else {}
    decision = decision_of(oracle)
    decided: dict[str, Any] = form | {"output": decision.output}
    said = {"output_evidence": decision.evidence, "output_note": decision.note}
    decided |= {name: value for name, value in said.items() if value}
    if decision.scale != 1.0:
        decided["output_scale"] = decision.scale
    return replace(info, environment=canonical(json.loads(info.environment) | decided))


def as_decided(oracle: Oracle, environment: Mapping[str, Any], odd: int = 0) -> Oracle:
    """The model with what an earlier process found, or was told, about its rows, see `with_output`.

    That process has judged the first answer: any later one ends no scan. odd: rows of its answers that were none.
    """
    output = environment.get("output", "auto")
    if output == "auto" or not isinstance(oracle, TorchOracle):
        return oracle
    said, note = environment.get("output_evidence", ""), environment.get("output_note", "")
    return taken_for(oracle, Decision(output, said, note, environment.get("output_scale", 1.0)), odd)


def with_notes(verdict: Verdict, model: OpenedModel, oracle: Oracle) -> Verdict:
    """With what a reader must know about the answers of a model that is run here, or behind a network."""
    notes = oracle.notes if isinstance(oracle, TorchOracle | RemoteOracle) else ()
    return replace(verdict, notes="; ".join(filter(None, (verdict.notes, *notes, model.notes))))


def _of_the_file(model: OpenedModel) -> dict[str, str]:
    return {"model_file": model.notes} if model.notes else {}


def environment() -> dict[str, Any]:
    """Versions, platform and thread count, which are stored with every run."""
    return {
        "simkit": version("b3d-simkit"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
