"""A study of the demo's two victims, in milliseconds a scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simkit.zoo.manifest import Manifest
from studies.study.detectors import method
from studies.study.plan import plan
from studies.study.unit import Study, Unit

IMAGES: dict[str, Any] = {"data": "digits", "search_images": 32, "verify_images": 32}


def study_of(zoo: Path, folder: Path, **settings: Any) -> Study:
    """The zoo in `zoo`, its scans in `folder`. settings: put over the images."""
    spec = Manifest.load(zoo).spec
    given = IMAGES | {"budget": 2_000} | settings
    return Study(zoo, spec.name, spec.split, folder / "results.jsonl", folder / "ledgers", given)


def units(study: Study, *detectors: str) -> tuple[Unit, ...]:
    """What is left of scanning all its victims with these detectors."""
    return plan(study, Manifest.load(study.zoo).victims, [method(name) for name in detectors]).todo
