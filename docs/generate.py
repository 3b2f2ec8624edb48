"""Pages and tables that are made from the code, so that they cannot fall behind it: commands, settings, the schema."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from db.tables import metadata, schema
from oracles.remote.config import RemoteConfig
from oracles.spec import OracleSpec
from simkit.detectors.registry import DETECTORS
from simkit.field_docs import field_docs
from simkit.search.annealing import AnnealingConfig
from simkit.search.b3d import B3DConfig
from simkit.search.driver import DriverConfig
from simkit.search.presets import PRESETS
from simkit.search.race import RaceConfig
from simkit.search.random_patch import RandomPatchConfig
from simkit.search.refine import RefineConfig
from simkit.search.sparsity import SparsityConfig
from simkit.search.synthesis import SynthesisConfig
from simkit.verdict import RULES, Rule
from studies.render.formats import source_words
from studies.scan.config import ScanConfig
from studies.service.config import ModelEntry, ServiceConfig, WatchEntry
from studies.service.keys import Key
from studies.study.config import DetectorEntry, ReportEntry, StudyConfig, WorkersEntry, ZooEntry
from studies.study.schema import descriptions
from studies.study.tune_config import TuneConfig

STUDY_TABLES: Mapping[str, type[BaseModel]] = {
    **{"zoos": ZooEntry, "detectors": DetectorEntry},
    **{"workers": WorkersEntry, "report": ReportEntry, "tune": TuneConfig},
}
"""The tables of a study file that have keys of their own."""


SEARCHES: Mapping[str, type] = {
    **{"search": B3DConfig, "search.sparsity": SparsityConfig, "race": RaceConfig, "random-patch": RandomPatchConfig},
    **{"annealing": AnnealingConfig, "driver": DriverConfig, "synthesis": SynthesisConfig, "refine": RefineConfig},
}
"""The settings of a preset by where they are set; `search` of each kind has a table of its own."""

_HEADINGS = {
    **{"search": "`search` of the B3D presets", "search.sparsity": "`search.sparsity` of the B3D presets"},
    **{name: f"`search` of the {name} preset" for name in ("random-patch", "annealing")},
    **{"race": "`search` of the race presets"},
}


def write(folder: Path) -> None:
    """Write every generated file into `folder`."""
    folder.mkdir(exist_ok=True)
    pages = {
        "cli.md": commands(),
        "scan_settings.md": settings(ScanConfig),
        "oracle_spec.md": settings(OracleSpec),
        "study_file.md": settings(StudyConfig),
        **{f"study_file_{name}.md": settings(entry) for name, entry in STUDY_TABLES.items()},
        "service_file.md": settings(ServiceConfig),
        "service_model.md": settings(ModelEntry),
        "service_watch.md": settings(WatchEntry),
        "api_key.md": settings(Key),
        "presets.md": presets(),
        "search_settings.md": search_settings(),
        "schema.md": tables(),
    }
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


def commands() -> str:
    """Every command with its arguments and options, as `--help` tells them; the page has the title."""
    wanted = [sys.executable, "-m", "typer", "studies.cli.main", "utils", "docs", "--name", "simkit"]
    told = subprocess.run([*wanted, "--title", "Commands"], capture_output=True, text=True, check=True)
    # the lists of commands cut their sentences short; each has a section of its own below
    return re.sub(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n", "", told.stdout).removeprefix("# Commands\n\n")


def settings(model: type[BaseModel]) -> str:
    """A table of a pydantic model: each field with its description and its default."""
    meanings = descriptions(model)
    rows = [(f"`{name}`", meanings.get(name, ""), _default(field)) for name, field in model.model_fields.items()]
    return table(("setting", "meaning", "default"), rows)


def search_settings() -> str:
    """A table for each dataclass of SEARCHES, with the sentence below each field and its default."""
    parts = []
    for name, kind in SEARCHES.items():
        meanings = field_docs(kind)
        rows = [(f"`{field.name}`", meanings[field.name], _plain_default(field)) for field in fields(kind)]
        parts.append(f"### {_HEADINGS.get(name, f'`{name}`')}\n\n{table(('setting', 'meaning', 'default'), rows)}")
    return "\n".join(parts)


def as_plain_text(docstring: str, names: list[str]) -> str:
    """A docstring, which is plain text, in reStructuredText; `name: meaning` becomes an entry of a list."""
    paragraphs = [" ".join(part.split()) for part in inspect.cleandoc(docstring).split("\n\n")]
    text = re.sub(r"([*|\\]|_\b)", r"\\\1", "\n\n".join(paragraphs))
    text = re.sub(r"`([^`]*)`", lambda code: f"``{code[1].replace(chr(92), '')}``", text)
    text = re.sub(r"(?<=\.) (?=(?:Raises|Warns) )", "\n\n", text)
    if not names:
        return text
    known = "|".join(map(re.escape, names))
    return re.sub(rf"(?<![\w{{\"`])((?:{known})(?:, (?:{known}))*): ", r"\n\n* **\1**: ", text)


def with_factories(signature: str | None, thing: object) -> str | None:
    """A signature with the defaults that a dataclass makes anew for each object as calls: `Test()`, `Test(...)`."""
    if signature is None or not isinstance(thing, type) or not is_dataclass(thing):
        return signature
    made = [field.default_factory for field in fields(thing) if field.init]
    for factory in (one for one in made if one is not MISSING):
        words = type(factory()).__name__ + ("()" if isinstance(factory, type) else "(...)")
        signature = signature.replace("<factory>", words, 1)
    return signature


def no_words(page: str) -> list[str]:
    """What a page shows of Python's insides: addresses of functions and objects, `<factory>` and `<lambda>`."""
    return re.findall(r"\b0x[0-9a-f]{6,}|(?:<|&lt;)(?:factory|lambda)(?:>|&gt;)", page)


def field_list(model: type[BaseModel]) -> str:
    """The fields of a model and their descriptions in reStructuredText."""
    entries = (f"* **{name}**: {as_plain_text(text, [])}" for name, text in descriptions(model).items())
    return "\n".join(["", *entries, ""])


def presets() -> str:
    """The presets and the decision rules there are."""
    rows = [
        (f"`{name}`", DETECTORS[name].about, f"`{type(p.search).__name__}`", _rule(p.rule))
        for name, p in PRESETS.items()
    ]
    rules = [(f"`{rule.name}`", f"{rule.threshold:g}", source_words(rule.source)) for rule in RULES.values()]
    return f"{table(('preset', 'what it does', 'search', 'rule'), rows)}\n{table(('rule', 'threshold', 'from'), rules)}"


def _rule(rule: str | Rule) -> str:
    """The name of a preset's rule, with the threshold where the preset has one of its own."""
    return f"`{rule}`" if isinstance(rule, str) else f"`{rule.name}`, threshold {rule.threshold:g}"


def tables() -> str:
    """The tables and views of a ledger with their columns."""
    parts = []
    for made in metadata.sorted_tables:
        rows = [(f"`{c.name}`", str(c.type).lower(), "" if c.nullable else "required") for c in made.columns]
        parts.append(f"### `{made.name}`\n\n{table(('column', 'type', ''), rows)}")
    views = [name for name in schema() if name not in metadata.tables]
    parts += [f"### `{name}` (view)\n\n```sql\n{_view(name)}\n```\n" for name in views]
    return "\n".join(parts)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _view(name: str) -> str:
    from db import tables as made

    return str(getattr(made, f"{name.upper()}_VIEW")).strip()


def _plain_default(field: Any) -> str:
    """A number or a text as it is written; a table of settings has its own heading."""
    value = field.default_factory() if field.default is MISSING else field.default
    return "a table" if is_dataclass(value) else f"`{value!r}`"


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, RemoteConfig):
        return "see [a scan over HTTP](services.md#a-scan-over-http)"
    return "all scores, exactly" if isinstance(value, OracleSpec) else f"`{value!r}`"


if __name__ == "__main__":
    write(Path(__file__).parent / "generated")
