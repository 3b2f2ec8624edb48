"""The records that are written to and read from a ledger, and their form on disk."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from db.errors import StorageError

FloatArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int32]

PURPOSES = ("check", "search", "verify", "external")


class CallLike(Protocol):
    """One answered call, as a recorder receives it.

    step: id from `open_step`, or None (`external`). rows: int32 (N, 2), image and candidate, -1 where unknown. labels:
    int32 (N,). scores: float32 (N,) or None. codec: the format of `answers`, which are N records of equal length.
    """

    @property
    def step(self) -> int | None: ...

    @property
    def rows(self) -> IntArray: ...

    @property
    def labels(self) -> IntArray: ...

    @property
    def scores(self) -> FloatArray | None: ...

    @property
    def codec(self) -> str: ...

    @property
    def answers(self) -> bytes: ...


@dataclass(frozen=True, eq=False)
class StoredCall:
    """One recorded call: the id of its step or None, rows int32 (N, 2), and the answers in `codec`.

    first: number of queries of the run that were answered before it.
    """

    step: int | None
    rows: IntArray
    codec: str
    answers: bytes
    first: int

    def followed_by(self, rest: StoredCall) -> StoredCall:
        """This call and the one after it, which has the same step and codec, as one."""
        rows = np.concatenate([self.rows, rest.rows])
        return StoredCall(self.step, rows, self.codec, self.answers + rest.answers, self.first)


@dataclass(frozen=True)
class StoredRefusal:
    """One recorded refusal: the id of its step, the number of refused queries, and the reason in one word."""

    step: int
    queries: int
    reason: str


OBJECTS = ("oracle", "config", "environment")
"""The fields of a run that are JSON objects."""


@dataclass(frozen=True)
class RunInfo:
    """The model, data and settings of a run. `key`, a hexadecimal SHA-256, identifies it.

    Two runs with the same key must have the same hashes, seed and budget. oracle, config, environment: JSON objects.
    budget: number of queries, 1 or more, or None for no limit.
    """

    key: str
    model: str
    model_hash: str
    data: str
    data_hash: str
    oracle: str
    config: str
    seed: int
    budget: int | None
    environment: str


@dataclass(frozen=True)
class KeptRun:
    """A stored run. environment: the parsed JSON of its `RunInfo`."""

    id: int
    key: str
    environment: Mapping[str, Any]


@dataclass(frozen=True)
class VerdictRow:
    """How a run ended. The result of a scan, its JSON and its line of results are made from this record.

    A new field needs a column in `db.tables`, a migration, and a default for older verdicts.

    verdict: backdoored, clean, undecided or invalid. stopped: decided, budget, converged or refused. flagged: the
    flagged classes. score: higher is more suspicious; NaN is stored as None. spent, refused: numbers of queries, equal
    to the ledger's counts. seconds: wall time. clean_accuracy: in [0, 1]. cost: price of the queries spent, in the
    currency of the oracle's price. api_seconds: simulated time that the calls took at the service. cost and api_seconds
    are None if the oracle states no price or no times. threshold: a class is flagged just when its score is above it.
    rule_limit: the rule's own setting, such as a share of the image; None in verdicts from before schema 5, whose
    `threshold` is that setting. ruled_out: what a clean verdict rules out, None for others and older ones.
    """

    verdict: str
    stopped: str
    flagged: tuple[int, ...]
    score: float | None
    rule: str
    threshold: float | None
    threshold_source: str
    spent: int
    refused: int
    seconds: float
    clean_accuracy: float | None
    notes: str
    cost: float | None = None
    api_seconds: float | None = None
    rule_limit: float | None = None
    ruled_out: tuple[Mapping[str, Any], ...] | None = None


@dataclass(frozen=True, eq=False)
class TriggerRow:
    """The trigger found for one class, of any family, in one of two forms.

    mask: float32 (1, H, W), pattern: float32 (C, H, W): the form of the family `patch`. parameters: the form of every
    other family, a JSON object with `family`, `image_shape` (C, H, W) and what else the family needs. The form that a
    trigger does not have is None. mask_size: pixels that it changes. strength: in `unit`; None for a patch that is to
    be written, since it is the mask size. success_rate: successes / trials on images that the search did not use, None
    without trials. censored: the trigger never reached the required success rate.
    """

    target_class: int
    mask: FloatArray | None
    pattern: FloatArray | None
    mask_size: float
    success_rate: float | None
    successes: int
    trials: int
    censored: bool
    family: str = "patch"
    parameters: str | None = None
    strength: float | None = None
    unit: str = "pixels"


def check_call(call: CallLike) -> None:
    """Raise StorageError unless rows, labels, scores and answers are of the same N >= 1 queries."""
    queries = len(call.rows)
    if queries == 0 or call.rows.shape != (queries, 2):
        raise StorageError(f"a call with rows of shape {call.rows.shape}; give (N, 2), one row per query")
    if call.rows.dtype.kind != "i" or call.labels.dtype.kind != "i":
        raise StorageError(f"a call with rows {call.rows.dtype} and labels {call.labels.dtype}; give int32")
    if call.labels.shape != (queries,) or (call.scores is not None and call.scores.shape != (queries,)):
        raise StorageError(f"a call of {queries} rows with another number of labels or scores; give one per row")
    if not call.codec or len(call.answers) == 0 or len(call.answers) % queries:
        raise StorageError(f"{len(call.answers)} bytes of answers, codec {call.codec!r}, for {queries} queries")


def pack_rows(call: CallLike) -> str:
    """The call's rows as JSON `[[image, candidate, label, score], ...]`; score is null where missing or not finite.

    Nine significant digits restore a float32 exactly.
    """
    queries = len(call.rows)
    ids: list[Any] = call.rows.ravel().tolist()
    flat: list[Any] = [None] * (4 * queries)
    flat[0::4], flat[1::4], flat[2::4] = ids[0::2], ids[1::2], call.labels.tolist()
    flat[3::4], number = _scores(call.scores, queries)
    # formatting the whole call at once takes less than half the time of json.dumps
    return "[" + (f"[%d,%d,%d,{number}]," * queries)[:-1] % tuple(flat) + "]"


def _scores(scores: FloatArray | None, queries: int) -> tuple[list[Any], str]:
    if scores is None:
        return ["null"] * queries, "%s"
    if bool(np.isfinite(scores).all()):
        return scores.tolist(), "%.9g"
    return [f"{s:.9g}" if np.isfinite(s) else "null" for s in scores.tolist()], "%s"


def unpack_rows(rows: str) -> IntArray:
    """The ids of a packed call: int32 (N, 2), image and candidate."""
    packed = [row[:2] for row in json.loads(rows)]
    return np.array(packed, dtype=np.int32).reshape(-1, 2)


def checksum(codec: str, rows: str, answers: bytes) -> int:
    """CRC-32 of a call's payload."""
    return zlib.crc32(answers, zlib.crc32(f"{codec}\n{rows}\n".encode()))


def check_json(text: str, what: str) -> Any:
    """The parsed text. Raises StorageError unless SQLite can read it too; Python's JSON may have NaN and Infinity."""
    try:
        parsed = json.loads(text, parse_constant=_refuse_constant)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{what} is not JSON ({error}); write it with json.dumps(..., allow_nan=False)") from error
    return parsed


def check_object(text: str, what: str) -> dict[str, Any]:
    """The parsed text of a JSON object. Raises StorageError where it is none."""
    parsed = check_json(text, what)
    if not isinstance(parsed, dict):
        raise StorageError(f"{what} is no JSON object")
    return parsed


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def unpack_run(row: Sequence[Any]) -> RunInfo:
    """The record from its columns. Raises StorageError where OBJECTS are none, as in a stranger's ledger."""
    info = RunInfo(*row)
    for name in OBJECTS:
        check_object(getattr(info, name), f"the {name} of run {info.key[:8]}")
    return info


def pack_verdict(verdict: VerdictRow) -> tuple[Any, ...]:
    """The verdict in the order of VERDICT_COLUMNS."""
    return tuple(_PACKED[str(field.type)](getattr(verdict, field.name)) for field in fields(VerdictRow))


def unpack_verdict(row: Sequence[Any]) -> VerdictRow:
    """The record from a row of VERDICT_COLUMNS. Raises StorageError where `ruled_out` is none."""
    values = dict(zip((field.name for field in fields(VerdictRow)), row, strict=True))
    lists: dict[str, Any] = {"flagged": tuple(json.loads(values["flagged"]))}
    if values["ruled_out"] is not None:
        lists["ruled_out"] = _ruled_out(values["ruled_out"])
    return VerdictRow(**values | lists)


_RULED_OUT: Mapping[str, tuple[type, ...]] = {
    **{"stage": (str,), "family": (str, type(None)), "sought": (str,), "victims": (int,), "missed": (int, type(None))},
    **{"low": (int, float, type(None)), "high": (int, float, type(None)), "zoos": (list,)},
}
"""The fields of an entry of `ruled_out`, and the types of their values."""


def _ruled_out(text: str) -> tuple[Mapping[str, Any], ...]:
    """The entries of `ruled_out`, which may come from a stranger's file."""
    entries = check_json(text, "what the verdict rules out")
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        names = ", ".join(_RULED_OUT)
        raise StorageError(f"what the verdict rules out is no list of {names} with numbers that fit each other")
    return tuple(entries)


def _is_entry(entry: Any) -> bool:
    """Whether it has exactly the fields of an entry, and counts of victims with a share just where some were tried."""
    if not isinstance(entry, dict) or entry.keys() != _RULED_OUT.keys():
        return False
    if any(type(value) not in _RULED_OUT[name] for name, value in entry.items()):
        return False
    victims, missed, low, high = (entry[name] for name in ("victims", "missed", "low", "high"))
    if None in (missed, low, high):
        fits = (victims, missed, low, high) == (0, None, None, None)
    else:
        fits = 0 <= missed <= victims > 0 and 0 <= low <= high <= 1
    return fits and all(isinstance(zoo, str) for zoo in entry["zoos"])


VERDICT_COLUMNS = ", ".join(field.name for field in fields(VerdictRow))


def _real(value: float | None) -> float | None:
    return None if value is None else float(value)


_PACKED: Mapping[str, Callable[[Any], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "float | None": _real,
    "tuple[int, ...]": lambda classes: json.dumps([int(c) for c in classes]),
    "tuple[Mapping[str, Any], ...] | None": lambda rows: None if rows is None else json.dumps(rows, allow_nan=False),
}
"""How a field of a verdict is written, by its type."""
