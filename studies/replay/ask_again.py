"""Rebuilds every stored query of a run, sends it again, and compares the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from db import reads
from db.records import RunInfo, StoredCall
from oracles.answers import Answer, FloatArray, Scores, TopK, decode, encode, top_label
from oracles.errors import InvalidSpec, ModelError
from oracles.oracle import Oracle
from oracles.remote.target import is_remote
from oracles.spec import OracleSpec, service
from oracles.torch_model import TorchOracle
from simkit.errors import ConfigError
from simkit.progress import OnProgress
from simkit.seeding import stream
from studies.replay.rebuild import NOTHING, Rebuilt, Replay, ReplayInputs
from studies.scan.config import ScanConfig
from studies.scan.models import Model, OpenedModel, open_model
from studies.scan.run_key import as_decided, environment
from studies.scan.user_code import PREFIX

_MADE_WITH = ("simkit", "torch", "numpy", "machine", "platform")


@dataclass(frozen=True)
class AskAgain:
    """Which queries are sent again, and to which model.

    model: None for the one that the ledger names. sample: number of queries drawn at random with `seed`, None for all.
    """

    model: Model | None = None
    sample: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class ReplayResult:
    """The outcome of replaying a run.

    model: the queried model; same_model: whether it is that of the run. stored: number of queries in the ledger.
    rebuilt: number of queries whose images were rebuilt. asked: number of queries sent, in whole calls. compared: the
    sample, or all queries sent. not_replayable: number of queries by reason. verdict: whether the run's verdict follows
    from its answers, None without a verdict. broken: why the remaining queries could not be rebuilt. made_with:
    differences between the environments then and now.
    """

    run: int
    model: str
    same_model: bool
    stored: int
    rebuilt: int
    asked: int
    compared: Compared
    not_replayable: dict[str, int]
    verdict: bool | None
    broken: str | None
    made_with: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether all compared queries have the stored answers, and all queries of the scan could be rebuilt."""
        return self.compared.different == 0 and self.broken is None and self.verdict is not False

    def to_json(self) -> dict[str, Any]:
        """The result as plain values for JSON."""
        compared = self.compared
        fields = {name: value for name, value in vars(self).items() if name != "compared"} | {"holds": self.holds}
        counts = {"queries": compared.queries, "equal": compared.equal, "different": compared.different}
        return fields | {
            "made_with": list(self.made_with),
            "compared": counts | {"other_label": compared.labels, "largest_difference": compared.largest},
        }


def replay(
    db: str | Path,
    run: int | None = None,
    again: AskAgain = AskAgain(),
    given: ReplayInputs = NOTHING,
    progress: OnProgress | None = None,
) -> ReplayResult:
    """Rebuild every stored query of `run` from its settings, seed and answers, send it again, and compare the answers.

    The last bits of scores depend on the batch, so whole calls are sent, even if a sample has one query of them. The
    ledger is only read, and nothing is charged. run: None for the only one. A given model may differ from that of the
    run. Raises StorageError, ConfigError, DataError and ModelError before any query.
    """
    source = Replay.read(Path(db), run, given)
    refuse_changed_answers(Path(db), source.run.id, source.config.oracle)
    wanted = _sampled(source, again)
    with torch_threads(int(json.loads(source.run.info.environment).get("threads", torch.get_num_threads()))):
        opened, oracle = _model(source, again.model)
        asker = _Asker(source.config, oracle, wanted)
        rebuilt = source.rebuild(asker.ask, progress)
    return _result(source, opened, asker, rebuilt)


def refuse_changed_answers(db: Path, run: int, spec: OracleSpec) -> None:
    """Raise ConfigError for a run whose answers an alarm changed, so that the model alone cannot give them again."""
    watch = spec.watch
    if watch is None or watch.action not in ("coarse", "cached"):
        return
    first = next(row["first_alarm"] for row in reads.listed(db) if row["run"] == run)
    if first is not None:
        raise ConfigError(
            f"run {run}: the service changed answers after its alarm at query {first} "
            f"(action {watch.action}), so the model alone cannot give them again; replay a run without one"
        )


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Use this number of torch threads in the body, since answers depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Asker:
    """Sends rebuilt calls again, all or those with a sampled query, and keeps the comparison."""

    def __init__(self, config: ScanConfig, model: Oracle, wanted: NDArray[np.int64] | None) -> None:
        self._config, self._model, self._wanted = config, model, wanted
        self.asked, self.compared = 0, Compared()

    def ask(self, images: torch.Tensor, call: StoredCall) -> None:
        rows = self._rows(call)
        if len(rows) == 0 and not self._undecided():
            return
        model = self._config.restricted(self._model, call.first)
        answer = service(self._config.oracle, model, call.first).query(images)
        self.asked += len(images)
        self.compared = self.compared.and_also(compared(call.codec, call.answers, answer, rows))

    def _rows(self, call: StoredCall) -> NDArray[np.intp]:
        if self._wanted is None:
            return np.arange(len(call.rows))
        first, last = np.searchsorted(self._wanted, [call.first, call.first + len(call.rows)])
        return (self._wanted[first:last] - call.first).astype(np.intp)

    def _undecided(self) -> bool:
        """Whether it is still unknown if a given model outputs logits or probabilities, as its first answer shows."""
        return isinstance(self._model, TorchOracle) and self._model.output == "auto"


def _sampled(source: Replay, again: AskAgain) -> NDArray[np.int64] | None:
    """The ordinals of the sample in ascending order, drawn from all queries of the scan, whatever their purpose."""
    if again.sample is None:
        return None
    if again.sample < 1:
        raise ConfigError(f"a sample of {again.sample} queries; give 1 or more")
    own = np.ones(source.run.queries, dtype=np.bool_)
    for external in source.run.external:
        own[external.start : external.stop] = False
    ordinals = np.flatnonzero(own)
    size = min(again.sample, len(ordinals))
    return np.sort(stream(again.seed, "replay", source.run.id).choice(ordinals, size, replace=False))


def _model(source: Replay, given: Model | None) -> tuple[OpenedModel, Oracle]:
    """The model as the run queried it; a given other model is opened as for a new scan."""
    opened = _opened(source, given)
    if opened.sha256 != source.run.info.model_hash:
        return opened, opened.oracle
    return opened, as_decided(opened.oracle, json.loads(source.run.info.environment))


def _opened(source: Replay, given: Model | None) -> OpenedModel:
    info, named = source.run.info, source.config.model_copy(update={"name": source.run.info.model})
    opened = _open(source, given, source.config)
    if opened.sha256 == info.model_hash:
        return opened
    if (renamed := _open(source, given, named)).sha256 == info.model_hash:  # a module is hashed with its name
        return renamed
    if given is None:
        raise ModelError(f"{info.model}: is no longer the model of run {source.run.id}; give the model to query")
    return opened


def _open(source: Replay, given: Model | None, config: ScanConfig) -> OpenedModel:
    if given is None and source.run.info.model.startswith(PREFIX):
        reason = "is code, which is never run because a ledger names it"
        raise ModelError(f"the model of run {source.run.id}, {source.run.info.model}, {reason}; give the model")
    if given is None and is_remote(source.run.info.model):
        reason = "is a service, which is never asked, and perhaps paid, because a ledger names it"
        raise ModelError(f"the model of run {source.run.id}, {source.run.info.model}, {reason}; give the model")
    try:
        return open_model(_named(source.run.info, given), source.images.search, config)
    except (ModelError, InvalidSpec) as error:
        if given is not None:
            raise
        raise ModelError(f"the model of run {source.run.id} cannot be opened ({error}); give the model") from error


def _named(info: RunInfo, given: Model | None) -> Model:
    return info.model if given is None else given


def _result(source: Replay, opened: OpenedModel, asker: _Asker, rebuilt: Rebuilt) -> ReplayResult:
    run = source.run
    external = sum(map(len, run.external))
    rest = run.queries - external - rebuilt.queries
    lost = {"external": external, "after the answers lead elsewhere": rest}
    broken = rebuilt.broken or (
        f"the run ends with {rest} queries that do not follow from its answers" if rest else None
    )
    return ReplayResult(
        run=run.id,
        model=opened.name,
        same_model=opened.sha256 == run.info.model_hash,
        stored=run.queries,
        rebuilt=rebuilt.queries,
        asked=asker.asked,
        compared=asker.compared,
        not_replayable={reason: queries for reason, queries in lost.items() if queries},
        verdict=_same_verdict(source, rebuilt),
        broken=broken,
        made_with=tuple(differences(run.info)),
    )


def _same_verdict(source: Replay, rebuilt: Rebuilt) -> bool | None:
    stored, now = reads.result(source.run.path, source.run.id), rebuilt.verdict
    if stored is None or now is None:
        return None
    if stored.rule_limit is None:  # from before schema 5: other scores of some rules, and `clean` before the last stage
        same = stored.verdict == now.verdict or (stored.verdict, now.verdict) == ("clean", "undecided")
        return same and stored.flagged == now.flagged
    then = (stored.verdict, stored.stopped, stored.flagged, stored.score)
    return then == (now.verdict, now.stopped, now.flagged, now.score)


def differences(info: RunInfo) -> Iterator[str]:
    """What is different between the environment of a run and this one, in words."""
    here, there = environment(), json.loads(info.environment)
    for name in _MADE_WITH:
        if there.get(name) != here[name]:
            yield f"{name} {there.get(name)}, now {here[name]}"


BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Compared:
    """Counts of queries whose answers were compared.

    different: answers that are not equal bit by bit. labels: those of them with another top class. largest: largest
    difference of a score, None where no scores can be compared.
    """

    queries: int = 0
    different: int = 0
    labels: int = 0
    largest: float | None = None

    @property
    def equal(self) -> int:
        return self.queries - self.different

    def and_also(self, other: Compared) -> Compared:
        """The sum of two comparisons."""
        largest = max((v for v in (self.largest, other.largest) if v is not None), default=None)
        return Compared(
            self.queries + other.queries, self.different + other.different, self.labels + other.labels, largest
        )


def compared(codec: str, stored: bytes, answer: Answer, rows: NDArray[np.intp]) -> Compared:
    """Compare the stored answers of one call with `answer` to the same images, in these `rows` only."""
    before = decode(codec, stored)
    differ = _differ((codec, stored), encode(answer), len(answer))[rows]
    labels = (top_label(before) != top_label(answer))[rows]
    return Compared(len(rows), int(differ.sum()), int(labels.sum()), _largest(before, answer, rows))


def _differ(before: tuple[str, bytes], after: tuple[str, bytes], queries: int) -> BoolArray:
    if before[0] != after[0] or len(before[1]) != len(after[1]):
        return np.ones(queries, dtype=np.bool_)
    first, second = (np.frombuffer(data, np.uint8).reshape(queries, -1) for _, data in (before, after))
    differ: BoolArray = (first != second).any(axis=1)
    return differ


def _largest(before: Answer, after: Answer, rows: NDArray[np.intp]) -> float | None:
    if isinstance(before, Scores) and isinstance(after, Scores):
        return _span(before.values[rows], after.values[rows])
    if isinstance(before, TopK) and isinstance(after, TopK) and before.classes.shape == after.classes.shape:
        same = before.classes[rows] == after.classes[rows]  # compare scores of the same class at the same rank
        return _span(before.values[rows][same], after.values[rows][same])
    return None


def _span(before: FloatArray, after: FloatArray) -> float | None:
    if before.shape != after.shape:
        return None
    spans = np.abs(before.astype(np.float64) - after)
    finite = spans[np.isfinite(spans)]  # NaN differs from a number, but by no finite amount
    return float(finite.max()) if finite.size else None
