"""The JSON Schema of a study file, for editors: every key with what its docstring says of it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from oracles.spec import OracleSpec
from simkit.errors import ConfigError
from simkit.files import make_folder, write_atomically
from studies.study.config import DetectorEntry, ReportEntry, StudyConfig, WorkersEntry, ZooEntry
from studies.study.tune_config import TuneConfig

SCHEMA = "study.schema.json"
"""What the file with it is called, beside a study file and in the documentation."""

_MODELS = (StudyConfig, ZooEntry, DetectorEntry, WorkersEntry, ReportEntry, OracleSpec, TuneConfig)


def schema() -> str:
    """The schema as it is kept in files."""
    told = StudyConfig.model_json_schema()
    told = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA} | told
    _nest(told["$defs"])
    told["properties"]["services"]["additionalProperties"] = False  # pydantic tells the pattern of names, no more
    known = {model.__name__: model for model in _MODELS}
    for name, table in ((StudyConfig.__name__, told), *told["$defs"].items()):
        _describe(table, known.get(name))
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """One sentence per field: the description where the field is declared, else what the docstring says of it."""
    written = field_sentences(model.__doc__ or "", list(model.model_fields))
    sentences = {name: f"{meaning[0].upper()}{meaning[1:]}." for name, meaning in written.items()}
    declared = {name: field.description for name, field in model.model_fields.items() if field.description}
    return sentences | declared


def field_sentences(docstring: str, names: list[str]) -> dict[str, str]:
    """What a docstring says of each field: the text between `name:`, or `a, b:`, and the next one."""
    text = " ".join(docstring.split())
    known = "|".join(map(re.escape, names))
    starts = list(re.finditer(rf"(?<![\w{{\"])((?:{known})(?: \([^)]*\))?(?:, (?:{known})(?: \([^)]*\))?)*): ", text))
    ends = [*(match.start() for match in starts), len(text)][1:]
    found: dict[str, str] = {}
    for match, end in zip(starts, ends, strict=True):
        meaning = text[match.end() : end].strip().rstrip(".;")
        for part in re.split(r", (?![^(]*\))", match[1]):
            name, _, note = part.partition(" ")
            found[name] = f"{meaning} {note}".strip()
    return found


def _describe(table: dict[str, Any], model: Any) -> None:
    """Put a sentence to each property, and keep of the docstring the first one."""
    table.pop("title", None)
    properties = table.get("properties", {})
    for name in properties:
        properties[name] = _without_none(properties[name])
    if model is None:
        return
    table["description"] = " ".join(model.__doc__.split("\n\n")[0].split())
    for name, sentence in descriptions(model).items():
        properties[name]["description"] = sentence


def _without_none(prop: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: a key is there or not."""
    kept = {name: value for name, value in prop.items() if name != "title" and value is not None}
    kinds = [kind for kind in kept.get("anyOf", ()) if kind != {"type": "null"}]
    return kept | ({"anyOf": kinds} if len(kinds) > 1 else {}) if len(kinds) != 1 else _only(kept, kinds[0])


def _only(prop: dict[str, Any], kind: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in prop.items() if name != "anyOf"} | kind


def _nest(defs: dict[str, Any]) -> None:
    """What is tuned may stand in tables of tables, which pydantic is told of by a validator."""
    ranges = defs[TuneConfig.__name__]["properties"]["space"]["additionalProperties"]
    ranges["anyOf"].append({"$ref": "#/$defs/Nested"})
    defs["Nested"] = {"type": "object", "additionalProperties": ranges}


EXAMPLES = ("curve", "tune")


def write_example(path: Path, example: str) -> Path:
    """Write the example to `path`, and the schema that editors read beside it; returns where the schema is.

    Raises ConfigError where there is such a file already, and for an example that there is not; StorageError.
    """
    if example not in EXAMPLES:
        raise ConfigError(f"no example {example!r}; choose from {', '.join(EXAMPLES)}")
    if path.exists():
        raise ConfigError(f"{path}: is there already; name another file")
    text = files("studies.study").joinpath("examples", f"{example}.toml").read_bytes()
    beside = path.parent / SCHEMA
    make_folder(path.parent)
    write_atomically(beside, schema().encode())
    write_atomically(path, text)
    return beside
