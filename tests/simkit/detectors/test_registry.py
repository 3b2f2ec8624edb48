"""The registry says of each detector what the detector itself is, and reads no torch."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from oracles.budget import Budget
from oracles.meter import Metered
from simkit.detectors.access import QueryAccess, QueryDataAccess, stated_access
from simkit.detectors.registry import DETECTORS, REPAIRS, TITLES, current_name, current_settings, preset_help
from simkit.search.presets import PRESETS
from studies.study.detectors import methods
from tests.fakes import PlantedOracle, planted_images

METHODS = methods()


def test_every_preset_and_no_other_is_registered_as_one() -> None:
    assert {name for name, entry in DETECTORS.items() if entry.preset} == set(PRESETS)
    assert list(METHODS) == list(DETECTORS)
    assert {name: method.title for name, method in METHODS.items()} == dict(TITLES)


@pytest.mark.parametrize("name", DETECTORS)
def test_an_entry_says_what_the_detector_is(name: str) -> None:
    entry, method = DETECTORS[name], METHODS[name]
    assert (entry.name, entry.access) == (name, method.access.__name__)
    assert entry.staged == (entry.preset and PRESETS[name].then is not None)
    assert entry.preset == (method.preset is not None)
    assert entry.schedule == getattr(method.detector, "schedule", None)
    assert entry.about[0].islower()
    assert not entry.about.endswith(".")


@pytest.mark.parametrize("name", [n for n, e in DETECTORS.items() if not e.preset and e.access.startswith("Query")])
def test_a_detector_that_returns_no_triggers_says_so(name: str) -> None:
    metered, images = Metered(PlantedOracle(), Budget(None)), planted_images(64)
    data = DETECTORS[name].access == "QueryDataAccess"
    access = QueryDataAccess(metered, images, None) if data else QueryAccess(metered, None)
    verdict = METHODS[name].detector.detect(access)
    assert bool(verdict.classes) is DETECTORS[name].triggers


@pytest.mark.parametrize("name", REPAIRS)
def test_an_entry_says_what_the_repair_is(name: str) -> None:
    entry = REPAIRS[name]
    module, _, kind = str(entry.made).partition(":")
    access = stated_access(getattr(import_module(module), kind).repair)
    assert access is not None
    assert (entry.name, entry.access) == (name, access.__name__)
    assert name not in DETECTORS


def test_former_names_are_todays_names() -> None:
    assert (current_name("efficient"), current_name("slides"), current_name("own:NAME")) == (
        "b3d",
        "b3d-slides",
        "own:NAME",
    )
    assert current_settings({"preset": "efficient", "seed": 1}) == {"preset": "b3d", "seed": 1}
    assert current_settings({"detector": {"kind": "x"}}) == {"detector": {"kind": "x"}}
    former = [name for entry in DETECTORS.values() for name in entry.former_names]
    assert len(former) == len(set(former))
    assert DETECTORS.keys().isdisjoint(former)


def test_the_help_names_every_preset_once() -> None:
    words = preset_help().replace(";", "").split()
    assert all(name in words for name in PRESETS)
    assert "aeva" not in words


@pytest.mark.process
def test_the_registry_needs_no_torch() -> None:
    code = "import sys, simkit.detectors.registry; sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    subprocess.run([sys.executable, "-c", code], check=True)
