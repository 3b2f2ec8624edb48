"""The specification of a stack of oracles, to and from TOML and JSON, and the one order in which it is built."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from oracles.errors import InvalidSpec, likely
from oracles.guard import (
    SHARE,
    WINDOW,
    Clock,
    Earlier,
    NearDuplicateBlock,
    Patient,
    RateLimit,
    RateLimited,
    ServiceClock,
)
from oracles.meter import Allowance, Metered, Recorded, Recorder
from oracles.oracle import Oracle
from oracles.outside import TEXT_BYTES, read_outside, reason
from oracles.replay import Replayed
from oracles.restrict import (
    MAX_DECIMALS,
    InputNoise,
    KeepTopK,
    LabelOnly,
    Quantized,
    Rounded,
    ScoreNoise,
    Thresholded,
)
from oracles.resume import Past, Remembered
from oracles.spec_words import one_line
from oracles.watch.settings import WatchSpec
from oracles.watch.watched import Coarsened, Suspicion, Watched

Noise = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0.0, le=1e9)]

CURRENCY = r"^[A-Za-z$€£¥]{1,10}$"
"""What a currency may be: a short text that is safe to print."""

_NOTHING = Earlier()

_NEEDED = {
    **{"rate_burst": "rate_limit", "rate_policy": "rate_limit"},
    **{"near_duplicate_share": "near_duplicate", "near_duplicate_window": "near_duplicate"},
    **{"currency": "price_per_thousand"},
}
"""Fields that have no effect without another one."""

_LATER = frozenset({"currency", "watch"})
"""Fields that the settings of older runs, and so their keys, do not have."""


class OracleSpec(BaseModel):
    """What a service answers and refuses; the default answers every score exactly. Raises InvalidSpec."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    top_k: int | None = Field(default=None, ge=1, description="Answer only the top k classes with their scores.")
    label_only: bool = Field(default=False, description="Answer only the top class (label-only, hard-label).")
    threshold: float | None = Field(
        default=None, ge=0.0, le=1.0, description="Scores below this are set to 0; in [0, 1]."
    )
    decimals: int | None = Field(
        default=None, ge=0, le=MAX_DECIMALS, description="Round scores to this many places, 0 to 6."
    )
    score_noise: Noise = Field(default=0.0, description="Standard deviation of Gaussian noise on the probabilities.")
    quantized: bool = Field(default=False, description="Round images to 8 bits before the model.")
    input_noise: Noise = Field(
        default=0.0, description="Standard deviation of Gaussian noise on the pixels, in [0, 1]."
    )
    seed: int = Field(default=0, ge=0, description="Seed of both kinds of noise.")
    rate_limit: str | None = Field(
        default=None, description="Images per time (`10/second`, `1800/minute`), or calls per time (`15 calls/second`)."
    )
    rate_burst: int | None = Field(
        default=None, ge=1, description="Images or calls let through at once; as many as the limit by default."
    )
    rate_policy: Literal["wait", "refuse"] | None = Field(
        default=None,
        description="A call over the limit waits (`wait`, the default) or is refused and repeated (`refuse`).",
    )
    near_duplicate: float | None = Field(
        default=None,
        gt=0.0,
        allow_inf_nan=False,
        description="Refuse calls with images this close to earlier ones; root mean square difference per pixel.",
    )
    near_duplicate_share: float | None = Field(
        default=None, ge=0.0, lt=1.0, description="Share of a call's images above which it is refused; 0.5 by default."
    )
    near_duplicate_window: int | None = Field(
        default=None, ge=1, description="Number of earlier images that are remembered; 1000 by default."
    )
    watch: WatchSpec | None = Field(
        default=None, description="A detector of probing and what follows its alarms; a table of its own."
    )
    price_per_thousand: Amount | None = Field(
        default=None, description="Price of 1000 queries; shown as money only with its currency."
    )
    currency: str | None = Field(default=None, pattern=CURRENCY, description="Currency of the price, such as `USD`.")
    seconds_per_call: Amount | None = Field(default=None, description="Seconds that each answered call takes.")
    seconds_per_query: Amount | None = Field(default=None, description="Seconds that each answered image takes.")
    real_time: bool = Field(default=False, description="Sleep the simulated seconds as well.")

    if not TYPE_CHECKING:  # type checkers see pydantic's constructor; at run time an error is one line

        def __init__(self, /, **fields: object) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise InvalidSpec(one_line(error, OracleSpec.model_fields)) from None

    @model_validator(mode="after")
    def _one_restriction(self) -> OracleSpec:
        if self.label_only and self.top_k is not None:
            raise ValueError("label_only and top_k exclude each other; keep one")
        return self

    @field_validator("rate_limit")
    @classmethod
    def _rate(cls, text: str | None) -> str | None:
        if text is not None:
            RateLimit.parse(text)  # InvalidSpec is a ValueError
        return text

    @model_validator(mode="after")
    def _guards(self) -> OracleSpec:
        for name, needed in _NEEDED.items():
            if getattr(self, name) is not None and getattr(self, needed) is None:
                raise ValueError(f"{name} is set without {needed}; set that too, or neither")
        if self.real_time and not self.timed:
            raise ValueError("real_time needs a rate_limit or seconds_per_call or seconds_per_query; set one")
        return self

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without later fields that are not set: they were added later, and run keys hold every field."""
        fields: dict[str, Any] = handler(self)
        return {name: v for name, v in fields.items() if name not in _LATER or getattr(self, name) is not None}

    @property
    def timed(self) -> bool:
        """Whether any field takes simulated time."""
        slow = None if self.watch is None else self.watch.seconds
        return any(v is not None for v in (self.rate_limit, self.seconds_per_call, self.seconds_per_query, slow))

    def without_scores(self) -> OracleSpec:
        """The same service, label-only since its model has no scores. Raises InvalidSpec if the spec is about them."""
        plain = OracleSpec()
        for name in ("top_k", "threshold", "decimals", "score_noise"):
            if getattr(self, name) != getattr(plain, name):
                raise InvalidSpec(f"oracle spec: {name} is about scores, and the function answers labels; leave it out")
        return self.model_copy(update={"label_only": True})

    @classmethod
    def from_json(cls, text: str) -> OracleSpec:
        """Read one JSON object. Raises InvalidSpec."""
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidSpec(f"the oracle spec is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise InvalidSpec(f"the oracle spec is a JSON {type(fields).__name__}; give an object of fields")
        return cls(**fields)

    @classmethod
    def from_toml(cls, text: str) -> OracleSpec:
        """Read a TOML table. Raises InvalidSpec."""
        try:
            fields: dict[str, Any] = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
            raise InvalidSpec(f"the oracle spec is not TOML: {error}") from None
        return cls(**fields)

    def to_json(self) -> str:
        """Every field that is set, as one JSON line."""
        return json.dumps(self.model_dump(exclude_none=True))

    def to_toml(self) -> str:
        """Every field that is set, one per line, the table `watch` last. JSON and TOML write scalars alike."""
        fields = self.model_dump(exclude_none=True)
        watch = fields.pop("watch", None)
        return _lines(fields) + ("" if watch is None else f"\n[watch]\n{_lines(watch)}")


def _lines(fields: dict[str, Any]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())


BUILT_IN = {
    "scores": OracleSpec(),
    "label": OracleSpec(label_only=True),
    "noisy": OracleSpec(decimals=2, score_noise=0.05),
}
"""Specs by name. `top1`, `top2`, ... are names as well."""


def load(source: str | Path) -> OracleSpec:
    """A spec from a `.toml` or `.json` file, a JSON object as text, or a name: scores, label, noisy, topK (`top3`).

    Raises InvalidSpec.
    """
    text = str(source).strip()
    if text.startswith("{"):
        return OracleSpec.from_json(text)
    if text in BUILT_IN:
        return BUILT_IN[text]
    if top := re.fullmatch(r"top(\d{1,6})", text):
        return OracleSpec(top_k=int(top[1]))
    readers = {".toml": OracleSpec.from_toml, ".json": OracleSpec.from_json}
    reader = readers.get(Path(text).suffix.lower())
    if reader is None:
        names = likely(text, (*BUILT_IN, "top3"), "give")
        more = "" if names.endswith("?") else ", a .toml or .json file, or a JSON object"
        raise InvalidSpec(f"no oracle spec {text!r}{names}{more}")
    try:
        return reader(read_outside(text, TEXT_BYTES).text)
    except InvalidSpec as error:
        raise InvalidSpec(f"{text}: {error}") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8
        raise InvalidSpec(f"cannot read the oracle spec {text!r}: {reason(error)}") from None


def build(
    spec: OracleSpec,
    model: Oracle,
    allowance: Allowance,
    recorder: Recorder | None = None,
    *,
    past: Past | None = None,
    clock: ServiceClock | None = None,
) -> Oracle:
    """Stack the wrappers of `spec` on `model`, always in the same order.

    Outermost first: Patient > Recorded > RateLimited > NearDuplicateBlock > Watched > Replayed > Coarsened > Metered >
    LabelOnly | KeepTopK > Thresholded > Rounded > ScoreNoise > Quantized > InputNoise > model. recorder: None keeps no
    record. past: what earlier processes of this run asked; it is replayed before the model is asked, and the noise
    continues after it. clock: the simulated time of the service. Raises InvalidSpec if the model has fewer classes than
    `top_k`.
    """
    clock = ServiceClock(spec.real_time) if clock is None else clock
    past = Past(0, ()) if past is None else past  # also a new run may go on in the middle of a call
    suspicion = Suspicion()
    live = _coarsened(spec, Metered(service(spec, model, past.queries), allowance), suspicion)
    replayed = Replayed(live, past.calls, past.refused)
    clock.skip(lambda: replayed.replaying)
    oracle = _guarded(spec, _watched(spec, replayed, clock, suspicion), clock)
    if recorder is not None:
        oracle = Recorded(oracle, Remembered(recorder, replayed, past), suspicion.waiting)
    return Patient(oracle, clock, spec.seconds_per_call or 0.0, spec.seconds_per_query or 0.0) if spec.timed else oracle


def provided(
    spec: OracleSpec,
    model: Oracle,
    allowance: Allowance,
    clock: Clock,
    earlier: Earlier,
    suspicion: Suspicion | None = None,
) -> Oracle:
    """What a provider runs for one caller: the stack of `build` without the records, the replay and the caller's side.

    suspicion: what is held against the caller; whoever records the answers records the alarms that wait in it. Raises
    InvalidSpec if the model has fewer classes than `top_k`.
    """
    suspicion = Suspicion() if suspicion is None else suspicion
    live = _coarsened(spec, Metered(service(spec, model, earlier.queries), allowance), suspicion)
    return _guarded(spec, _watched(spec, live, clock, suspicion, earlier.queries), clock, earlier)


def service(spec: OracleSpec, model: Oracle, first: int = 0) -> Oracle:
    """The model with the restrictions and noise of `spec`, without guards, budget and records.

    Used to ask a stored query again. first: queries of the run answered before this one; the noise depends on it.
    """
    return _restricted(spec, _noisy(spec, model, first))


def _guarded(spec: OracleSpec, oracle: Oracle, clock: Clock, earlier: Earlier = _NOTHING) -> Oracle:
    if spec.near_duplicate is not None:
        share = SHARE if spec.near_duplicate_share is None else spec.near_duplicate_share
        oracle = NearDuplicateBlock(
            oracle, spec.near_duplicate, share, spec.near_duplicate_window or WINDOW, earlier.seen
        )
    if spec.rate_limit is not None:
        limit = RateLimit.parse(spec.rate_limit, spec.rate_burst)
        oracle = RateLimited(oracle, limit, clock, spec.rate_policy == "refuse", earlier.taken)
    return oracle


def _coarsened(spec: OracleSpec, oracle: Oracle, suspicion: Suspicion) -> Oracle:
    if spec.watch is None or spec.watch.action != "coarse":
        return oracle
    return Coarsened(oracle, spec.watch.decimals, suspicion)


def _watched(spec: OracleSpec, oracle: Oracle, clock: Clock, suspicion: Suspicion, first: int = 0) -> Oracle:
    return oracle if spec.watch is None else Watched(oracle, spec.watch, suspicion, clock, first)


def _noisy(spec: OracleSpec, oracle: Oracle, first: int) -> Oracle:
    if spec.input_noise > 0.0:
        oracle = InputNoise(oracle, spec.input_noise, spec.seed, first)
    if spec.quantized:
        oracle = Quantized(oracle)
    if spec.score_noise > 0.0:
        oracle = ScoreNoise(oracle, spec.score_noise, spec.seed, first)
    return oracle


def _restricted(spec: OracleSpec, oracle: Oracle) -> Oracle:
    if spec.decimals is not None:
        oracle = Rounded(oracle, spec.decimals)
    if spec.threshold is not None:
        oracle = Thresholded(oracle, spec.threshold)
    if spec.top_k is not None:
        return KeepTopK(oracle, spec.top_k)
    return LabelOnly(oracle) if spec.label_only else oracle
