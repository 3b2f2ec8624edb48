"""Asks the queries of a service's run again, of which the provider has kept the images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from db.records import FloatArray, StoredCall
from db.service_reads import asked, kept
from db.stored import StoredRun
from oracles.answers import decode
from oracles.oracle import Oracle
from oracles.spec import OracleSpec, service
from simkit.errors import ConfigError
from simkit.progress import OnProgress
from simkit.seeding import stream
from studies.replay.ask_again import (
    AskAgain,
    Compared,
    ReplayResult,
    compared,
    differences,
    refuse_changed_answers,
    torch_threads,
)
from studies.service.config import ModelEntry, ServiceConfig
from studies.service.models import open_entry

Ordinals: TypeAlias = NDArray[np.int64]

_HOW_TO_KEEP = "set keep_pictures in the service's file, such as '200 MB', for those that are still to come"


def served_run(db: Path, run: int | None) -> StoredRun | None:
    """The run, if it is one of a service; None for a scan. Raises StorageError."""
    stored = StoredRun.read(db, run)
    config: Any = json.loads(stored.info.config)
    return stored if isinstance(config, dict) and "service" in config else None


def replay_served(run: StoredRun, again: AskAgain, progress: OnProgress | None = None) -> ReplayResult:
    """Send the queries of a service's run again, in whole calls, and compare the answers; nothing is charged.

    again: its model is a model file, or the service's own file, which also says how the model is run. Calls of which
    images are missing are counted in `not_replayable`. Raises ConfigError where no call has its images, or an alarm has
    changed answers, and StorageError, ModelError and InvalidSpec before any query.
    """
    spec = OracleSpec.from_json(run.info.oracle)
    refuse_changed_answers(run.path, run.id, spec)
    hashes = asked(run.path, run.id)
    example = next((images for images in (kept(run.path, of) for of in hashes.values()) if images is not None), None)
    if example is None:
        raise ConfigError(f"run {run.id}: the images of its calls were not kept, and cannot be asked; {_HOW_TO_KEEP}")
    with torch_threads(int(json.loads(run.info.environment).get("threads", torch.get_num_threads()))):
        model = _opened(run, again, example)
        asker = _Asker(spec, model.oracle, _wanted(run, again))
        for call, images in _calls(run, hashes):
            asker.ask(call, images)
            if progress is not None:
                progress(call.first + len(images), run.queries)
    lost = run.queries - asker.replayable
    return ReplayResult(
        run=run.id,
        model=model.name,
        same_model=model.sha256 == run.info.model_hash,
        stored=run.queries,
        rebuilt=asker.replayable,
        asked=asker.asked,
        compared=asker.compared,
        not_replayable={f"images not kept; {_HOW_TO_KEEP}": lost} if lost else {},
        verdict=None,
        broken=None,
        made_with=tuple(differences(run.info)),
    )


class _Asker:
    """Asks calls again, all or those with a sampled query, and keeps the comparison."""

    def __init__(self, spec: OracleSpec, model: Oracle, wanted: Ordinals | None) -> None:
        self._spec, self._model, self._wanted = spec, model, wanted
        self.replayable, self.asked, self.compared = 0, 0, Compared()

    def ask(self, call: StoredCall, images: FloatArray) -> None:
        self.replayable += len(images)
        ordinals = np.arange(call.first, call.first + len(images))
        rows = np.flatnonzero(np.isin(ordinals, ordinals if self._wanted is None else self._wanted))
        if len(rows):
            answer = service(self._spec, self._model, call.first).query(torch.from_numpy(images))
            self.asked += len(images)
            self.compared = self.compared.and_also(compared(call.codec, call.answers, answer, rows))


@dataclass(frozen=True, eq=False)
class _Model:
    name: str
    oracle: Oracle
    sha256: str


def _opened(run: StoredRun, again: AskAgain, example: FloatArray) -> _Model:
    if again.model is None:
        raise ConfigError(f"run {run.id} is one of a service; give its file or the model as --model")
    name, given = str(json.loads(run.info.config)["service"]["model"]), again.model
    if isinstance(given, str) and given.endswith(".toml"):
        config = ServiceConfig.load(Path(given))
        entry = next((entry for entry in config.model if entry.name == name), None)
        if entry is None:
            raise ConfigError(f"{given}: has no model {name!r}, of which run {run.id} is; give the run's service")
        opened = open_entry(entry)
        return _Model(f"{name} of {given}", opened.served.oracle, opened.served.sha256)
    first = next(run.calls())
    n_classes, (_, *shape) = decode(first.codec, first.answers).n_classes, example.shape
    file = given if isinstance(given, str) else name
    entry = ModelEntry(name=name, file=file, classes=n_classes, image_shape=(shape[0], shape[1], shape[2]))
    opened = open_entry(entry, None if isinstance(given, str) else given)
    return _Model(file, opened.served.oracle, opened.served.sha256)


def _wanted(run: StoredRun, again: AskAgain) -> Ordinals | None:
    """The ordinals of the sample, drawn from all queries of the run; None for all of them."""
    if again.sample is None:
        return None
    if again.sample < 1:
        raise ConfigError(f"a sample of {again.sample} queries; give 1 or more")
    size = min(again.sample, run.queries)
    return stream(again.seed, "replay", run.id).choice(run.queries, size, replace=False)


def _calls(run: StoredRun, hashes: Mapping[int, Sequence[str]]) -> Iterator[tuple[StoredCall, FloatArray]]:
    """The calls whose images were all kept, with them."""
    for call in run.calls():
        images = kept(run.path, hashes[call.first]) if call.first in hashes else None
        if images is not None:
            yield call, images
