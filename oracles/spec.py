"""A stack of oracles as a small piece of data, to and from TOML and JSON, and the one order it is built in."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from oracles.errors import InvalidSpec
from oracles.guard import SHARE, WINDOW, NearDuplicateBlock, Patient, RateLimit, RateLimited, ServiceClock
from oracles.meter import Allowance, Metered, Recorded, Recorder
from oracles.oracle import Oracle
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

Noise = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0.0, le=1e9)]

_NEEDED = {
    **{"rate_burst": "rate_limit", "rate_policy": "rate_limit"},
    **{"near_duplicate_share": "near_duplicate", "near_duplicate_window": "near_duplicate"},
}
"""Fields that say nothing without another one."""


class OracleSpec(BaseModel):
    """What stands between a caller and a model; the default tells every score exactly. Raises InvalidSpec.

    top_k: tell only the k best classes. label_only: tell only the best. threshold: leave out scores below it, in
    [0, 1]. decimals: round scores to as many places, 0 to 6. score_noise, input_noise: standard deviations, on
    probabilities and on pixels. quantized: images pass through 8 bits. seed: of both noises.

    rate_limit: images let through, as `10/second` or `1800/minute`, or calls, as `15 calls/second`; rate_burst: at once
    (as many as the limit). rate_policy: a call that comes too soon has to `wait` (so if nothing is said), or is refused
    and comes again when told to (`refuse`). near_duplicate: calls are refused whose images are as near as this to
    earlier ones, as root mean square difference a pixel. near_duplicate_share: a call is refused where more than this
    share of its images is (0.5 if nothing is said). near_duplicate_window: earlier images that are remembered (1000 if
    nothing is said). price_per_thousand: of queries, in any money. seconds_per_call,
    seconds_per_query: what an answer takes. real_time: all these seconds are slept too, and not only counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    top_k: Annotated[int, Field(ge=1)] | None = None
    label_only: bool = False
    threshold: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    decimals: Annotated[int, Field(ge=0, le=MAX_DECIMALS)] | None = None
    score_noise: Noise = 0.0
    quantized: bool = False
    input_noise: Noise = 0.0
    seed: Annotated[int, Field(ge=0)] = 0
    rate_limit: str | None = None
    rate_burst: Annotated[int, Field(ge=1)] | None = None
    rate_policy: Literal["wait", "refuse"] | None = None
    near_duplicate: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    near_duplicate_share: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    near_duplicate_window: Annotated[int, Field(ge=1)] | None = None
    price_per_thousand: Amount | None = None
    seconds_per_call: Amount | None = None
    seconds_per_query: Amount | None = None
    real_time: bool = False

    if not TYPE_CHECKING:  # checkers keep the constructor with its fields; everybody gets one typed line

        def __init__(self, /, **fields: object) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise InvalidSpec(_one_line(error)) from None

    @model_validator(mode="after")
    def _one_restriction(self) -> OracleSpec:
        if self.label_only and self.top_k is not None:
            raise ValueError("label_only and top_k exclude each other; keep one")
        return self

    @field_validator("rate_limit")
    @classmethod
    def _rate(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                RateLimit.parse(text)
            except InvalidSpec as error:
                raise ValueError(str(error)) from None
        return text

    @model_validator(mode="after")
    def _guards(self) -> OracleSpec:
        for name, needed in _NEEDED.items():
            if getattr(self, name) is not None and getattr(self, needed) is None:
                raise ValueError(f"{name} is set without {needed}; set that too, or neither")
        if self.real_time and not self.timed:
            raise ValueError("real_time needs a rate_limit or seconds_per_call or seconds_per_query; set one")
        return self

    @property
    def timed(self) -> bool:
        """Whether it states anything that takes simulated time."""
        return any(v is not None for v in (self.rate_limit, self.seconds_per_call, self.seconds_per_query))

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
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise InvalidSpec(f"the oracle spec is not TOML: {error}") from None
        return cls(**fields)

    def to_json(self) -> str:
        """Every field that is set, as one JSON line."""
        return json.dumps(self.model_dump(exclude_none=True))

    def to_toml(self) -> str:
        """Every field that is set, one a line; the fields are flat, and JSON's scalars are TOML's."""
        fields = self.model_dump(exclude_none=True)
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())


BUILT_IN = {
    "scores": OracleSpec(),
    "label": OracleSpec(label_only=True),
    "noisy": OracleSpec(decimals=2, score_noise=0.05),
}
"""Specs with a name; `top1`, `top2`, ... are names too."""


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
        names = ", ".join(BUILT_IN)
        raise InvalidSpec(f"no oracle spec {text!r}; give {names}, top3, a .toml or .json file, or a JSON object")
    try:
        return reader(Path(text).read_text(encoding="utf-8"))
    except InvalidSpec as error:
        raise InvalidSpec(f"{text}: {error}") from None
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the path
        raise InvalidSpec(f"cannot read the oracle spec {text!r}: {error}") from None


def build(
    spec: OracleSpec,
    model: Oracle,
    allowance: Allowance,
    recorder: Recorder | None = None,
    *,
    past: Past | None = None,
    clock: ServiceClock | None = None,
) -> Oracle:
    """Stack the wrappers of `spec` on `model`, in the one order.

    Outermost first: Patient > Recorded > RateLimited > NearDuplicateBlock > Replayed > Metered > LabelOnly | KeepTopK >
    Thresholded > Rounded > ScoreNoise > Quantized > InputNoise > model. recorder: None keeps no record. past: what this
    run asked before, told again before the model is asked, and where the noise goes on. clock: keeps the time of the
    service. Raises InvalidSpec if the model has fewer classes than `top_k`.
    """
    clock = ServiceClock(spec.real_time) if clock is None else clock
    oracle: Oracle = Metered(service(spec, model, 0 if past is None else past.queries), allowance)
    if past is not None:
        oracle = replayed = Replayed(oracle, past.calls, past.refused)
        clock.skip(lambda: replayed.replaying)
        recorder = None if recorder is None else Remembered(recorder, replayed, past.refusals)
    oracle = _guarded(spec, oracle, clock)
    if recorder is not None:
        oracle = Recorded(oracle, recorder)
    return Patient(oracle, clock, spec.seconds_per_call or 0.0, spec.seconds_per_query or 0.0) if spec.timed else oracle


def service(spec: OracleSpec, model: Oracle, first: int = 0) -> Oracle:
    """The model as `spec` lets it answer, without guards, budget and books: for asking a stored query again.

    first: queries of the run answered before this one, which its noise is a function of.
    """
    return _restricted(spec, _blurred(spec, model, first))


def _guarded(spec: OracleSpec, oracle: Oracle, clock: ServiceClock) -> Oracle:
    if spec.near_duplicate is not None:
        share = SHARE if spec.near_duplicate_share is None else spec.near_duplicate_share
        oracle = NearDuplicateBlock(oracle, spec.near_duplicate, share, spec.near_duplicate_window or WINDOW)
    if spec.rate_limit is not None:
        limit = RateLimit.parse(spec.rate_limit, spec.rate_burst)
        oracle = RateLimited(oracle, limit, clock, refuse=spec.rate_policy == "refuse")
    return oracle


def _blurred(spec: OracleSpec, oracle: Oracle, first: int) -> Oracle:
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


def _one_line(error: ValidationError) -> str:
    first, *more = error.errors(include_url=False)
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        detail = f"there is no field {place!r}; the fields are {', '.join(OracleSpec.model_fields)}"
    elif place:
        detail = f"{place} = {first['input']!r}: {first['msg'].removeprefix('Value error, ')}"
    else:
        detail = first["msg"].removeprefix("Value error, ")
    return f"oracle spec: {detail}" + (f" (and {len(more)} more)" if more else "")
