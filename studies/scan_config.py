"""The settings of one scan: one place for Python, the command line and the run's identity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from oracles import spec as oracle_specs
from oracles.spec import OracleSpec
from oracles.torch_model import Output, Precision, TorchOptions
from simkit.errors import ConfigError, complaint
from simkit.search.presets import Preset, preset
from simkit.verdict import RULES, Rule

T = TypeVar("T")
Positive = Annotated[int, Field(ge=1, le=2**63 - 1)]


class ScanConfig(BaseModel):
    """Everything that determines a scan besides the model and the images. Raises ConfigError, InvalidSpec.

    data: see `simkit.data.load`; empty where images are given. budget: queries; None for no limit. oracle: a spec, or
    what `oracles.spec.load` takes. preset: a name in PRESETS; search, driver, rule: settings put over it, e.g.
    {"samples": 50}; rule takes `name` and `threshold`. seed: of images and search. search_images, verify_images:
    disjoint test images to search on and to try triggers on. output (None: as the file says, else found out), mean,
    std, precision, chunk, device: see `TorchOptions`. architecture: for weights alone. name: of the model in the
    ledger; an Oracle needs one there, and modules that differ only in their code need two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    data: str = ""
    budget: Positive | None = None
    oracle: OracleSpec = OracleSpec()
    preset: str = "efficient"
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    search_images: Positive = 128
    verify_images: Positive = 128
    output: Output | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    precision: Precision = "float32"
    chunk: Positive = TorchOptions.chunk
    device: str = "cpu"
    architecture: str | None = None
    name: str | None = None
    search: dict[str, Any] = {}
    driver: dict[str, Any] = {}
    rule: dict[str, Any] = {}

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        """Also one number, or numbers with commas between them, as on the command line."""
        if isinstance(value, str):
            return tuple(value.split(","))
        return (value,) if isinstance(value, int | float) else value

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ScanConfig:
        """A config from plain values, wholly checked: also its preset, its rule and its torch options."""
        values = dict(settings)
        if isinstance(data := values.get("data"), Path):
            values["data"] = str(data)
        if isinstance(oracle := values.get("oracle"), str | Path):
            values["oracle"] = oracle_specs.load(oracle)
        elif isinstance(oracle, Mapping):
            values["oracle"] = OracleSpec(**oracle)
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"scan: {complaint(error, cls.model_fields)}") from None
        config.resolved()
        config.resolved_rule()
        config.torch_options(None)
        return config

    def resolved(self) -> Preset:
        """The preset with the settings put over it."""
        chosen = preset(self.preset).for_answers(labels_only=self.oracle.label_only)
        search = with_fields(chosen.search, self.search, "search")
        return replace(chosen, search=search, driver=with_fields(chosen.driver, self.driver, "driver"))

    def resolved_rule(self) -> Rule:
        """The decision rule; a threshold that is set here says so in its source."""
        settings = {"name": preset(self.preset).rule} | self.rule
        if unknown := settings.keys() - {"name", "threshold"}:
            raise ConfigError(f"rule has no setting {min(unknown)!r}; set name or threshold")
        if settings["name"] not in RULES:
            raise ConfigError(f"no rule {settings['name']!r}; choose from {', '.join(RULES)}")
        rule = RULES[settings["name"]]
        if "threshold" not in settings:
            return rule
        return replace(
            rule, threshold=_valid(float, settings["threshold"], "rule.threshold"), source="set for this run"
        )

    def torch_options(self, output: Output | None) -> TorchOptions:
        """How the model is run. output: what its file says of it; a setting goes before."""
        chosen = self.output or output or "auto"
        return TorchOptions(chosen, self.mean, self.std, self.precision, self.chunk, self.device)

    def identity(self) -> dict[str, Any]:
        """What of this config makes a run what it is, every preset written out, as plain values for JSON."""
        resolved, rule = self.resolved(), self.resolved_rule()
        own = self.model_dump(mode="json", exclude={"data", "name", "search", "driver", "rule", "preset"})
        return own | {
            "search": {"kind": type(resolved.search).__name__} | asdict(resolved.search),
            "driver": asdict(resolved.driver),
            "rule": {"name": rule.name, "threshold": rule.threshold},
        }


def with_fields(config: T, settings: Mapping[str, Any], where: str) -> T:
    """A copy of a frozen dataclass with `settings` put in, nested ones too. Raises ConfigError that names the field."""
    assert is_dataclass(config)
    kinds, changed = get_type_hints(type(config)), {}
    for name, value in settings.items():
        here = f"{where}.{name}"
        if name not in {f.name for f in fields(config)}:
            known = ", ".join(f.name for f in fields(config))
            raise ConfigError(f"{where} has no setting {name!r}; it has {known}")
        old = getattr(config, name)
        if is_dataclass(old) and isinstance(value, Mapping):
            changed[name] = with_fields(old, value, here)
        else:
            changed[name] = _valid(kinds[name], value, here)
    return cast(T, replace(cast(Any, config), **changed))


def _valid(kind: Any, value: object, where: str) -> Any:
    try:
        valid = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ConfigError(f"{where} = {value!r}: {error.errors(include_url=False)[0]['msg']}") from None
    if isinstance(valid, float) and not math.isfinite(valid):
        raise ConfigError(f"{where} = {value!r}: give a finite number")
    return valid
