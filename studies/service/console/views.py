"""What the pages show, as plain words: gathered from the ledger, the file of keys and the running service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from db.service_views import Activity, AlarmOf, Refusals, Spending, activity, asked_calls, spending
from oracles.spec import OracleSpec
from studies.render.formats import moment, money_words, number
from studies.service.deliveries import RateState
from studies.service.keys import Key, KeyFile
from studies.service.models import Opened

KEYS_A_PAGE = 100
ALARMS = 50
IMAGES = 48
NONE = "–"  # noqa: RUF001 (an en dash is meant)

Rates = Callable[[Key], tuple[RateState, ...]]


@dataclass(frozen=True)
class KeyRow:
    """A key as it stands. state: one word or two, such as `valid` or `used up`. rate: one line per limit. last: when
    it was answered last. cost: of what it spent."""

    key: Key
    state: str
    spent: int
    remaining: str
    rate: tuple[str, ...]
    last: str
    cost: str


@dataclass(frozen=True)
class ModelRow:
    """A model of the service. restrictions: what is withheld from every key."""

    name: str
    images: str
    classes: int
    max_batch: int
    datatype: str
    restrictions: str
    charged: int


@dataclass(frozen=True)
class Overview:
    """The first page. page, pages: of the keys, from 1. stale: whether the file of keys has a mistake now."""

    keys: tuple[KeyRow, ...]
    page: int
    pages: int
    valid: int
    all_keys: int
    models: tuple[ModelRow, ...]
    charged: int
    refused: tuple[Refusals, ...]
    alarms: tuple[AlarmOf, ...]
    alarm_count: int
    names: Mapping[str, str]
    stale: bool


@dataclass(frozen=True)
class Image:
    """An image that was asked. query: its place among the queries of its key on the model, from 0."""

    sha256: str
    model: str
    query: int
    at: str
    kept: bool


@dataclass(frozen=True)
class KeyPage:
    """The page of one key. before: the address of older images, None if there are none. left_out: images of a call of
    this page that are not listed."""

    row: KeyRow
    restrictions: str
    by_model: tuple[tuple[str, int, int], ...]
    spending: Spending
    refused: tuple[Refusals, ...]
    alarms: tuple[AlarmOf, ...]
    alarm_count: int
    images: tuple[Image, ...]
    left_out: int
    before: int | None


def overview(db: Path, keys: KeyFile, models: Sequence[Opened], rates: Rates, page: int) -> Overview:
    """The first page. page: of the keys; one that there is not is the nearest. Raises StorageError, ConfigError."""
    held, every = activity(db, most_alarms=ALARMS), keys.all()
    used = _by_key(held)
    ordered = sorted(every, key=lambda key: -used.get(key.id, _UNUSED).last)  # stable: else in the order of the file
    pages = max(1, -(-len(every) // KEYS_A_PAGE))
    page = min(max(page, 1), pages)
    rows = [_row(key, used.get(key.id, _UNUSED), held, rates) for key in ordered]
    charged: dict[str, int] = {}
    for use in held.uses:
        charged[use.model] = charged.get(use.model, 0) + use.charged
    return Overview(
        keys=tuple(rows[(page - 1) * KEYS_A_PAGE : page * KEYS_A_PAGE]),
        page=page,
        pages=pages,
        valid=sum(row.state == "valid" for row in rows),
        all_keys=len(rows),
        models=tuple(_model(opened, charged) for opened in models),
        charged=sum(charged.values()),
        refused=held.refused,
        alarms=held.alarms,
        alarm_count=held.alarm_count,
        names={key.id: key.name for key in every},
        stale=bool(keys.problem),
    )


def key_page(db: Path, key: Key, rates: Rates, before: int | None = None) -> KeyPage:
    """The page of a key. before: shows images older than those of that page. Raises StorageError."""
    held = activity(db, key.id, ALARMS)
    calls = asked_calls(db, key.id, 2**62 if before is None else before, IMAGES)
    images = [
        Image(sha256, call.model, call.first + place, moment(call.at), sha256 in call.kept)
        for call in calls
        for place, sha256 in enumerate(call.hashes[:IMAGES])
    ]
    older = calls[-1].id if calls and asked_calls(db, key.id, calls[-1].id, 1) else None
    return KeyPage(
        row=_row(key, _by_key(held).get(key.id, _UNUSED), held, rates),
        restrictions=restrictions(key.oracle),
        by_model=tuple((use.model, use.calls, use.charged) for use in held.uses),
        spending=spending(db, key.id),
        refused=held.refused,
        alarms=held.alarms,
        alarm_count=held.alarm_count,
        images=tuple(images),
        left_out=sum(max(0, len(call.hashes) - IMAGES) for call in calls),
        before=older,
    )


def restrictions(spec: OracleSpec) -> str:
    """The settings of a spec that are set, in one line."""
    return _settings(spec.model_dump(exclude_unset=True), " = ") or "none"


def _settings(fields: Mapping[str, object], sign: str) -> str:
    """The fields as `a = 1, b = 2`; those of a table within, such as a detector's, in brackets."""
    words = (
        f"{name}{sign}({_settings(value, ': ')})" if isinstance(value, dict) else f"{name}{sign}{value}"
        for name, value in fields.items()
    )
    return ", ".join(words)


@dataclass(frozen=True)
class _Used:
    """What a key spent, and when it was answered last (Unix time, 0 for never)."""

    spent: int = 0
    last: float = 0.0


_UNUSED = _Used()


def _by_key(held: Activity) -> dict[str, _Used]:
    used: dict[str, _Used] = {}
    for use in held.uses:
        before = used.get(use.caller, _UNUSED)
        used[use.caller] = _Used(before.spent + use.charged, max(before.last, use.last))
    return used


def _row(key: Key, used: _Used, held: Activity, rates: Rates) -> KeyRow:
    left = None if key.cap is None else max(0, key.cap - used.spent)
    return KeyRow(
        key=key,
        state=_state(key, held.banned.get(key.id), left),
        spent=used.spent,
        remaining="no limit" if left is None else number(left),
        rate=_rates(key, rates(key)),
        last=moment(used.last) if used.last else "never",
        cost=_cost(key, used.spent),
    )


def _state(key: Key, banned: float | None, left: int | None) -> str:
    """As the gate checks it: the first that applies."""
    if key.revoked:
        return "revoked"
    if key.expired:
        return "expired"
    if key.is_banned(banned):
        return "banned"
    return "used up" if left == 0 else "valid"


def _rates(key: Key, states: Sequence[RateState]) -> tuple[str, ...]:
    """One line per limit that the key has met, with what is left; its own limit stands there also before."""
    told = []
    if key.rate is not None and "key" not in {state.name for state in states}:
        told.append(f"{key.rate}, unused")
    for state in states:
        limit = key.rate if state.name == "key" else state.name
        unit = " calls" if state.calls else ""
        told.append(f"{limit}: {number(max(0, state.left))} of {number(state.quota)}{unit} left")
    return tuple(told)


def _cost(key: Key, spent: int) -> str:
    if key.price_per_thousand is None or not key.currency:
        return NONE
    return money_words(spent / 1000 * key.price_per_thousand, key.currency)


def _model(opened: Opened, charged: Mapping[str, int]) -> ModelRow:
    about = opened.interface
    return ModelRow(
        name=about.model,
        images=" × ".join(map(str, about.image_shape)),  # noqa: RUF001 (a multiplication sign is meant)
        classes=len(about.classes),
        max_batch=about.max_batch,
        datatype=about.datatype,
        restrictions=restrictions(opened.served.spec),
        charged=charged.get(about.model, 0),
    )
