"""What the searches of a preset miss, counted on `tune` victims: makes the table in `studies/scan/measured.py`.

python benchmarks/coverage.py results/race-ablation.jsonl

Only victims count whose trigger is within the limit of the search's rule, and lines whose settings are those of the
preset today. `clean_value` may be higher, which only ends a search earlier: a scan that detected the backdoor would
have taken the same course with the lower value. One that did not makes an error here, since its course is unknown.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simkit.search.presets import PRESETS, Preset
from studies.scan.measured import Measurement
from studies.study.result_file import read_lines
from studies.study.result_line import ResultLine

IMAGE = 32 * 32
"""Pixels of the victims' images."""


def measured(lines: Iterable[ResultLine], name: str, preset: Preset) -> Measurement:
    """The count over the lines of this preset, by all scores. Raises ValueError where a victim's is unknown."""
    search: Any = preset.search
    settings, rule = json.loads(json.dumps(asdict(search))), preset.decision_rule()
    kept = {line.model_hash: line for line in lines if _counts(line, settings, preset)}.values()
    victims = [line for line in kept if (_pixels(line.stratum) or IMAGE) <= rule.threshold * IMAGE]
    missed = [line for line in victims if not set(line.flagged) & set(line.target_classes)]
    if unknown := [line for line in missed if line.config["search"].get("clean_value") != settings.get("clean_value")]:
        raise ValueError(f"{unknown[0].zoo}:{unknown[0].index} may have been ended too early; scan it again")
    return Measurement(
        stage=name,
        search=type(search).__name__,
        settings=settings,
        rule=rule.name,
        limit=rule.threshold,
        answers="scores",
        family="patch",
        zoos=tuple(sorted({line.zoo for line in victims})),
        strata=tuple(sorted({line.stratum for line in victims})),
        victims=len(victims),
        missed=len(missed),
    )


def _counts(line: ResultLine, settings: dict[str, Any], preset: Preset) -> bool:
    if (line.split, line.truth) != ("tune", "backdoored") or line.config.get("stages"):
        return False
    rule, oracle = line.config["rule"], line.config["oracle"]
    if oracle["label_only"] or oracle["top_k"] is not None or rule["name"] != preset.decision_rule().name:
        return False
    if rule["threshold"] != preset.decision_rule().threshold:
        return False
    stored = _plain(line.config["search"])
    ends, earlier = stored.pop("clean_value", None), settings.get("clean_value")
    others = {name: value for name, value in settings.items() if name != "clean_value"}
    return stored == others and (ends or 0) >= (earlier or 0)


def _plain(stored: Any) -> Any:
    """Stored settings without the class and code of each table."""
    if isinstance(stored, dict):
        return {name: _plain(value) for name, value in stored.items() if name not in ("kind", "code")}
    return stored


def _pixels(stratum: str) -> int | None:
    if sides := re.fullmatch(r"(\d+)x(\d+)", stratum):
        return int(sides[1]) * int(sides[2])
    scattered = re.fullmatch(r"scattered-(\d+)", stratum)
    return int(scattered[1]) if scattered else None


if __name__ == "__main__":
    every = [line for path in sys.argv[1:] for line in read_lines(Path(path))]
    print(measured(every, "race", PRESETS["race"]))
