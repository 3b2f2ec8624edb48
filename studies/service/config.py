"""The file of a service: which models it serves, behind what, for whom and where."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from db.postgres import is_postgres
from oracles import spec as oracle_specs
from oracles.errors import likely
from oracles.outside import TEXT_BYTES, read_outside, reason
from oracles.spec import OracleSpec
from simkit.errors import ConfigError
from studies.service.keys import MODEL_NAME
from studies.service.session import check_servable

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
_PATHS = ("db", "keys", "console_token", "tls_certificate", "tls_key")
_UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}

Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Text = Annotated[str, Field(min_length=1)]


def _tuples(value: object) -> object:
    """Lists as tuples, all the way down, since a frozen model has no lists and TOML no tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _spec(value: object) -> object:
    """An oracle's spec from a table, a name or a file, as everywhere."""
    value = OracleSpec(**value) if isinstance(value, dict) else value
    value = oracle_specs.load(value) if isinstance(value, str) else value
    if isinstance(value, OracleSpec):
        check_servable(value)
    return value


class ModelEntry(BaseModel):
    """A model of the service."""

    model_config = _STRICT

    name: str = Field(pattern=MODEL_NAME, description="Its name in paths.")
    file: Text = Field(
        description="A model file, `DIR:7` for an entry of a zoo, or `python:package.module:NAME`; relative to"
        " the service's file."
    )
    oracle: OracleSpec = Field(
        default=OracleSpec(), description="What is withheld from every key: a table, a name such as `top3`, or a file."
    )
    classes: Positive | tuple[Text, ...] | None = Field(
        default=None, description="Names of the classes by id, or their number; by default their ids are their names."
    )
    image_shape: tuple[Positive, Positive, Positive] | None = Field(
        default=None, description="Channels, height and width, for a model that does not state them."
    )
    datatype: Literal["FP32", "UINT8"] = Field(default="FP32", description="Type of the tensors, in the metadata.")
    max_batch: Positive = Field(default=128, description="Images per call.")
    settings: dict[str, Any] = Field(
        default={}, description="How the model is run, as with `--set`, such as `{mean = [0.5, 0.5, 0.5]}`."
    )
    places: dict[str, str] = Field(
        default={}, description="What the paths of some formats need besides, such as `project` and `iteration`."
    )

    _lists = field_validator("classes", "image_shape", mode="before")(_tuples)
    _oracle = field_validator("oracle", mode="before")(_spec)

    @field_validator("classes")
    @classmethod
    def _two_or_more(cls, classes: int | tuple[str, ...] | None) -> int | tuple[str, ...] | None:
        names = classes if isinstance(classes, tuple) else ()
        if len(set(names)) < len(names):
            raise ValueError("two classes have one name; answers could not be told apart")
        if classes is not None and (classes if isinstance(classes, int) else len(names)) < 2:
            raise ValueError("give two classes or more")
        return classes


class WatchEntry(BaseModel):
    """A detector of probing, and what follows its alarms."""

    model_config = _STRICT

    detector: Text = Field(description="Its name, such as `blacklight`, `prada` or `piha`.")
    action: Literal["log", "slow", "coarse", "cached", "ban"] = Field(default="log", description="What an alarm does.")
    models: tuple[Text, ...] | None = Field(default=None, description="Models that it watches; by default all.")
    settings: dict[str, Any] = Field(
        default={}, description="Those of the detector and the action: `threshold`, `memory`, `seconds`, `decimals`."
    )

    _lists = field_validator("models", mode="before")(_tuples)


class ServiceConfig(BaseModel):
    """A service. Paths are relative to its file, or to the working folder."""

    model_config = _STRICT

    listen: str = Field(default="127.0.0.1:8000", description="Address and port; port 0 takes a free one.")
    db: Text = Field(description="The provider's ledger; or, for several replicas, `postgresql://USER@HOST/DATABASE`.")
    keys: Text = Field(description="The file of API keys, made by `simkit keys new`.")
    model: Annotated[tuple[ModelEntry, ...], Field(min_length=1)] = Field(
        description="The models, as [[model]] tables."
    )
    watch: tuple[WatchEntry, ...] = Field(default=(), description="Detectors of probing, as [[watch]] tables.")
    keep_pictures: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Bytes that the images asked may take in the ledger, such as `200 MB`; 0 keeps none."
    )
    console_token: Text | None = Field(
        default=None,
        description="File that holds the admin token of the console; else `SIMKIT_CONSOLE_TOKEN` is the token.",
    )
    hosts: tuple[Text, ...] = Field(default=(), description="Host names that requests may name, besides the address.")
    tls_certificate: Text | None = Field(default=None, description="File of the certificate for HTTPS; needs tls_key.")
    tls_key: Text | None = Field(default=None, description="File of the key of tls_certificate.")
    behind_proxy: bool = Field(
        default=False, description="Listen on another address than this machine's without TLS, which a proxy adds."
    )

    @field_validator("model", "watch", "hosts", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("keep_pictures", mode="before")
    @classmethod
    def _bytes(cls, value: object) -> object:
        found = re.fullmatch(r"(\d{1,12}) ?(|kB|MB|GB)", value) if isinstance(value, str) else None
        return int(found[1]) * _UNITS[found[2]] if found else value

    @field_validator("model")
    @classmethod
    def _named_apart(cls, models: tuple[ModelEntry, ...]) -> tuple[ModelEntry, ...]:
        if len({entry.name for entry in models}) < len(models):
            raise ValueError("two models have one name; give each its own")
        return models

    @model_validator(mode="after")
    def _reachable(self) -> ServiceConfig:
        host, _ = self.address
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together; set both or neither")
        if not (_is_loopback(host) or self.tls_certificate or self.behind_proxy):
            raise ValueError(
                f"listen = {self.listen!r}: keys would travel in the clear; set tls_certificate and tls_key, or"
                " behind_proxy = true where a proxy adds TLS"
            )
        models = {entry.name for entry in self.model}
        for entry in self.watch:
            if unknown := sorted(set(entry.models or ()) - models):
                raise ValueError(f"watch: no model {unknown[0]!r}; the models are {', '.join(sorted(models))}")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port. Raises ValueError."""
        host, colon, port = self.listen.rpartition(":")
        if not (colon and host and re.fullmatch(r"\d{1,5}", port) and int(port) < 2**16):
            raise ValueError(f"listen = {self.listen!r}: give an address and a port, such as 127.0.0.1:8000")
        return host.strip("[]"), int(port)

    @classmethod
    def of(cls, fields: dict[str, Any], folder: Path) -> ServiceConfig:
        """A config from plain values, with paths made relative to `folder`. Raises ConfigError in one line."""
        try:
            config = cls.model_validate(fields)
        except ValidationError as error:
            raise ConfigError(_problems(error)) from None
        models = tuple(
            entry if entry.file.startswith("python:") else entry.model_copy(update={"file": str(folder / entry.file)})
            for entry in config.model
        )
        paths = {name: getattr(config, name) for name in _PATHS}
        placed = {name: str(folder / path) for name, path in paths.items() if not (path is None or is_postgres(path))}
        return config.model_copy(update={"model": models, **placed})

    @classmethod
    def load(cls, path: Path) -> ServiceConfig:
        """Read a service's file. Raises ConfigError in one line that names the file and what to change."""
        try:
            fields = tomllib.loads(read_outside(path, TEXT_BYTES).text)
            return cls.of(fields, path.absolute().parent)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {reason(error)}; give the file of a service") from None
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: is no TOML: {error}") from None


_TABLES: dict[str, type[BaseModel]] = {"model": ModelEntry, "watch": WatchEntry}
_SHOWN = 3


def _problems(error: ValidationError) -> str:
    """The first three problems in one line, with places as the file has them: `[[model]] 1, oracle`."""
    found: dict[tuple[str, str], str] = {}
    for one in error.errors(include_url=False):
        loc = one["loc"]
        if one["type"] == "too_short" and one["input"]:  # its entries are wrong, and told themselves
            continue
        inside = len(loc) > 2 and loc[0] in _TABLES and isinstance(loc[1], int)
        table = f"[[{loc[0]}]] {int(loc[1]) + 1}, " if inside else ""
        name = str(loc[2] if inside else loc[0]) if loc else ""  # what follows are pydantic's names of alternatives
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            known = (_TABLES[str(loc[0])] if inside else ServiceConfig).model_fields
            said = f"{table}no setting {name!r}{likely(name, known, 'the settings are')}"
        elif one["type"] == "missing" and len(loc) == (3 if inside else 1):
            said = f"{table}{name}: is not there; give it"
        else:
            value = one["input"]
            shown = f" = {value!r}" if isinstance(value, str | int | float) and len(repr(value)) <= 40 else ""
            said = f"{table}{name}{shown}: {message}" if name else message
        found.setdefault((table, name), said)
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(list(found.values())[:_SHOWN]) + more


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
