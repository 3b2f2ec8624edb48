"""The JSON Schema of a study file, for editors: every key with its description."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from oracles.spec import OracleSpec
from oracles.watch.settings import WatchSpec
from simkit.errors import ConfigError
from simkit.files import make_folder, write_atomically
from studies.study.config import DetectorEntry, ReportEntry, StudyConfig, WorkersEntry, ZooEntry
from studies.study.tune_config import TuneConfig

SCHEMA = "study.schema.json"
"""The name of the schema's file, beside a study file and in the documentation."""

_MODELS = (StudyConfig, ZooEntry, DetectorEntry, WorkersEntry, ReportEntry, OracleSpec, WatchSpec, TuneConfig)


def schema() -> str:
    """The text of the schema's file."""
    document = StudyConfig.model_json_schema()
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA} | document
    _nest(document["$defs"])
    document["properties"]["services"]["additionalProperties"] = False  # pydantic states only the pattern of names
    models = {model.__name__: model for model in _MODELS}
    for name, table in ((StudyConfig.__name__, document), *document["$defs"].items()):
        _describe(table, models.get(name))
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """The description of each field, as given where the field is declared."""
    return {name: field.description for name, field in model.model_fields.items() if field.description}


def _describe(table: dict[str, Any], model: Any) -> None:
    """Give a table the first paragraph of its model's docstring, and each property its description."""
    table.pop("title", None)
    properties = table.get("properties", {})
    for name in properties:
        properties[name] = _without_none(properties[name])
    if model is None:
        return
    table["description"] = " ".join(model.__doc__.split("\n\n")[0].split())
    for name, sentence in descriptions(model).items():
        properties[name]["description"] = sentence  # pydantic leaves out one that equals the field's own docstring


def _without_none(prop: dict[str, Any]) -> dict[str, Any]:
    """The property without null, which TOML does not have: a key is set or missing."""
    kept = {name: value for name, value in prop.items() if name != "title" and value is not None}
    kinds = [kind for kind in kept.get("anyOf", ()) if kind != {"type": "null"}]
    return kept | ({"anyOf": kinds} if len(kinds) > 1 else {}) if len(kinds) != 1 else _only(kept, kinds[0])


def _only(prop: dict[str, Any], kind: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in prop.items() if name != "anyOf"} | kind


def _nest(defs: dict[str, Any]) -> None:
    """Allow nested tables in the tuning space, which only a validator of the model knows of."""
    ranges = defs[TuneConfig.__name__]["properties"]["space"]["additionalProperties"]
    ranges["anyOf"].append({"$ref": "#/$defs/Nested"})
    defs["Nested"] = {"type": "object", "additionalProperties": ranges}


EXAMPLES = ("curve", "tune")


def write_example(path: Path, example: str) -> Path:
    """Write the example to `path`, and beside it the schema that editors read; returns the schema's path.

    Raises ConfigError for an existing file and for an unknown example; StorageError.
    """
    if example not in EXAMPLES:
        raise ConfigError(f"no example {example!r}; choose from {', '.join(EXAMPLES)}")
    if path.exists():
        raise ConfigError(f"{path}: exists already; name another file")
    text = files("studies.study").joinpath("examples", f"{example}.toml").read_bytes()
    beside = path.parent / SCHEMA
    make_folder(path.parent)
    write_atomically(beside, schema().encode())
    write_atomically(path, text)
    return beside
