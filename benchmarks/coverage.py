"""What the searches of a preset miss, counted on `tune` victims: makes the table in `studies/scan/measured.py`.

python -m benchmarks.coverage results/race-ablation.jsonl results/stage-lengths.jsonl results/auto-stages.jsonl

It prints the module; with `--write` it writes it in place of the one that is there.

Only victims count whose trigger is within the limit of the search's rule, and lines whose settings are those of the
preset today, but for those of an early end that neither has, and for the smallest image that is searched. A race that
was longer sent the same queries up to the length of the preset's (`tests/benchmarks/test_carried.py`), so that its line
counts as well: what it found after as many queries as the preset has is missed. Of several lines of a victim the one of
the least length counts.

A race of families is counted by family. Victims whose trigger works on one class only (`source-specific`) are of no
family.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.strengths import SHAPE, share_of_limit
from simkit.search.presets import PRESETS, Preset
from simkit.search.stage_names import stage_names
from simkit.transforms.breeding import Family
from studies.scan.canonical import digest
from studies.scan.measurement import Measurement, in_effect
from studies.scan.ruled_out import OfFamilies
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine

MODULE = Path(__file__).resolve().parents[1] / "studies" / "scan" / "measured.py"

_HEAD = '''"""What searches missed on `tune` victims, as written by `benchmarks/coverage.py`."""

from __future__ import annotations

from studies.scan.measurement import Measurement

MEASURED: tuple[Measurement, ...] = (
'''

MOST = 120 - len("        strata=,")
"""Characters of a tuple that fit on one line."""


def measured(
    lines: Iterable[ResultLine], name: str, preset: Preset, family: Family | None = None, *, labels: bool = False
) -> Measurement:
    """The count over the lines of this preset, of patches or of one of its families, by labels or by all scores."""
    preset = preset.for_answers(labels_only=labels)
    search: Any = preset.search
    settings, rule = json.loads(json.dumps(asdict(search))), preset.decision_rule()
    those = sorted((line for line in lines if _counts(line, settings, preset, labels)), key=_length, reverse=True)
    kept = {line.model_hash: line for line in those}.values()
    victims = [line for line in kept if share_of_limit(line, rule, family) <= 1.0]
    missed = [line for line in victims if not _found(line, settings)]
    return Measurement(
        stage=name,
        search=type(search).__name__,
        settings=digest(in_effect(settings)),
        rule=rule.name,
        limit=rule.threshold,
        answers="labels" if labels else "scores",
        family="patch" if family is None else family.name,
        size=SHAPE[1:],
        zoos=tuple(sorted({line.zoo for line in victims})),
        strata=tuple(sorted({line.stratum for line in victims})),
        victims=len(victims),
        missed=len(missed),
    )


def counted(lines: Sequence[ResultLine]) -> tuple[Measurement, ...]:
    """Every count with a victim: the races of `auto` with their lengths there, then those of presets of their own."""
    stages = zip(stage_names(PRESETS["auto"]), PRESETS["auto"].stages, strict=True)
    races = [*stages, *((name, PRESETS[name]) for name in stage_names(PRESETS["auto"]))]
    entries = (
        measured(lines, name, preset, family, labels=labels)
        for labels in (False, True)
        for name, preset in races
        for family in families_of(preset)
    )
    return tuple(dict.fromkeys(entry for entry in entries if entry.victims))


def families_of(preset: Preset) -> tuple[Family | None, ...]:
    """The families of a race, which are the same by labels; None for patches alone."""
    return preset.search.families_on(SHAPE) if isinstance(preset.search, OfFamilies) else (None,)


def module(entries: Iterable[Measurement]) -> str:
    """The text of the module with these entries."""
    return _HEAD + "".join(map(_written, entries)) + ")\n"


def _written(entry: Measurement) -> str:
    values = {name: json.dumps(value) if isinstance(value, str) else value for name, value in asdict(entry).items()}
    values |= {name: _tuple(getattr(entry, name)) for name in ("zoos", "strata")}
    return "    Measurement(\n" + "".join(f"        {name}={value},\n" for name, value in values.items()) + "    ),\n"


def _tuple(texts: Sequence[str]) -> str:
    """A tuple as the formatter writes it: one element on one line, several on a line if they fit."""
    quoted = [json.dumps(text) for text in texts]
    one = f"({', '.join(quoted)}{',' * (len(texts) == 1)})"
    return one if len(one) <= MOST else "(\n" + "".join(f"            {text},\n" for text in quoted) + "        )"


def _counts(line: ResultLine, settings: dict[str, Any], preset: Preset, labels: bool) -> bool:
    if (line.split, line.truth) != ("tune", "backdoored") or line.config.get("stages"):
        return False
    rule, oracle = line.config["rule"], line.config["oracle"]
    if oracle["label_only"] is not labels or oracle["top_k"] is not None or rule["name"] != preset.decision_rule().name:
        return False
    if rule["threshold"] != preset.decision_rule().threshold:
        return False
    there, here = in_effect(_plain(line.config["search"])), in_effect(settings)
    return there | {"queries": here.get("queries")} == here and _length(line) >= here.get("queries", 0)


def _length(line: ResultLine) -> int:
    """The queries of the search that the line is of; 0 where its settings have none."""
    return int(line.config["search"].get("queries") or 0)


def _found(line: ResultLine, settings: Mapping[str, Any]) -> bool:
    """Whether a target class was flagged, by a longer search within the queries of these settings."""
    soon = _length(line) == settings.get("queries", 0) or line.decided_after <= settings["queries"]
    return soon and bool(set(line.flagged) & set(line.target_classes))


def _plain(stored: Any) -> Any:
    """Stored settings without the class and code of each table."""
    if isinstance(stored, dict):
        return {name: _plain(value) for name, value in stored.items() if name not in ("kind", "code")}
    return stored


if __name__ == "__main__":
    every = [line for path in sys.argv[1:] if path != "--write" for line in read_lines(Path(path))]
    text = module(counted(every))
    if "--write" in sys.argv:
        MODULE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
