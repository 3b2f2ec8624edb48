"""Scans whose trigger is a wave, a blend, a warp or of a user's own family, from the first query to the report."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from db.check import check
from db.merge import merge
from oracles.oracle import Oracle
from simkit.errors import ConfigError
from simkit.search.contract import Task
from simkit.transforms.contract import Transform, same
from simkit.verdict import SequentialTest
from studies.cli.scan_words import show
from studies.ledgers.run_settings import OwnCode
from studies.replay.ask_again import AskAgain, replay
from studies.replay.rebuild import ReplayInputs
from studies.report.gather import gather
from studies.report.page import render
from studies.scan import ScanResult, scan
from studies.scan.config import ScanConfig
from studies.scan.prepare import prepare
from studies.scan.run import run_scan
from studies.study.unit import _class_line
from tests.fakes import planted_images
from tests.studies.marked import SHAPE, TRIGGERS, MarkedOracle, preset
from tests.studies.scans import IMAGES, scanned, told

EXAMPLE = Path(__file__).parents[3] / "examples" / "family.py"


def scan_of(family: str, model: Oracle | None = None, **settings: Any) -> ScanResult:
    own = {"preset": preset(family), "search": {}, "driver": {}, "name": "victim", "budget": 500}
    return scanned(model or MarkedOracle(TRIGGERS[family]), **(own | settings))


@pytest.mark.parametrize("family", TRIGGERS)
class TestEveryFamily:
    def test_it_is_found_kept_and_told(self, family: str, tmp_path: Path) -> None:
        trigger, db = TRIGGERS[family], tmp_path / "scan.db"
        result = scan_of(family, db=db, out=tmp_path / "triggers")
        assert (result.verdict, result.flagged) == ("backdoored", (2,))
        assert same(result.classes[2].trigger, trigger)
        of_class = result.to_json()["classes"][2]
        assert (of_class["family"], of_class["strength"]) == (family, pytest.approx(trigger.strength))
        assert of_class["trigger"] == trigger.to_json()
        assert json.loads(json.dumps(result.to_json()["trigger"]))["json"].endswith(".json")
        assert result.triggers is not None
        (png,) = result.triggers.png
        with Image.open(png) as picture:
            assert picture.width > picture.height
        model = MarkedOracle(trigger)
        assert told(scan_of(family, model, db=db)) == told(result)
        assert model.images_seen == 0
        line = _class_line(result.classes[2])
        assert (line.family, line.unit) == (family, trigger.unit)
        assert line.strength == pytest.approx(trigger.strength)
        assert check(db) == []

    def test_the_command_says_which_trigger_it_is(self, family: str, capsys: pytest.CaptureFixture[str]) -> None:
        config = ScanConfig.of({"preset": preset(family), "verify_images": 48, "search_images": 64, "budget": 500})
        prepared = prepare(MarkedOracle(TRIGGERS[family]), config, IMAGES)
        show(run_scan(prepared), prepared)
        first, *rest = capsys.readouterr().out.splitlines()
        words = TRIGGERS[family].words
        assert first == f"backdoored, class 2: {words} turned unseen images into the flagged class"
        assert any("trigger" in line and "success_rate" in line for line in rest)
        assert sum(words in line for line in rest) >= 4

    def test_a_clean_model_stays_clean(self, family: str) -> None:
        assert scan_of(family, MarkedOracle(TRIGGERS[family], target=None)).verdict == "clean"

    def test_an_interrupted_scan_goes_on_as_if_nothing_had_been(self, family: str, tmp_path: Path) -> None:
        db, trigger = tmp_path / "scan.db", TRIGGERS[family]
        unbroken = scan_of(family)
        for stop_at in (1, 3, 5):
            with pytest.raises(KeyboardInterrupt):
                scan_of(family, MarkedOracle(trigger, stop_at=stop_at), db=db)
        assert told(scan_of(family, db=db)) == told(unbroken)

    def test_a_replay_rebuilds_every_query_and_the_verdict(self, family: str, tmp_path: Path) -> None:
        db = tmp_path / "scan.db"
        spent = scan_of(family, db=db).spent
        given = ReplayInputs(images=IMAGES, own=OwnCode(preset(family)))
        result = replay(db, None, AskAgain(MarkedOracle(TRIGGERS[family])), given)
        assert (result.stored, result.rebuilt, result.compared.equal) == (spent,) * 3
        assert (result.verdict, result.holds) == (True, True)

    def test_a_merged_ledger_is_reported_with_pictures(self, family: str, tmp_path: Path) -> None:
        scan_of(family, db=tmp_path / "scan.db")
        merge(tmp_path / "merged.db", [tmp_path / "scan.db"])
        (run,) = gather(tmp_path / "merged.db").runs
        assert same(run.reversed[0].reversed, TRIGGERS[family])
        assert TRIGGERS[family].words.capitalize() in render(gather(tmp_path / "merged.db"))

    def test_a_notebook_draws_it(self, family: str) -> None:
        result = scan_of(family)
        assert f">{TRIGGERS[family].words}</td>" in result._repr_html_()
        sizes = result.plot_mask_sizes()
        assert f"{TRIGGERS[family].words}, flagged" in [text.get_text() for text in sizes.texts]
        assert sizes.get_xlim()[1] < 144, "a bar of all pixels would hide those of patches"
        labels = [label.get_text() for label in result.plot_triggers().get_xticklabels()]
        assert TRIGGERS[family].words in labels[0].replace("\n", " ")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example of the documentation as a module."""
    spec = importlib.util.spec_from_file_location("own_family_of_the_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_family_of_ones_own_is_found_kept_and_told(example: ModuleType, tmp_path: Path) -> None:
    ramp: Transform = example.Ramp(SHAPE, 0.0, 0.3)
    own: dict[str, Any] = {"preset": example.RAMPS, "name": "victim", "search_images": 64, "verify_images": 160}
    own |= {"driver": {"check_images": 16}, "images": planted_images(240)}
    db = tmp_path / "scan.db"
    result = scan(MarkedOracle(ramp), **own, db=db, out=tmp_path / "triggers")
    assert (result.verdict, result.flagged) == ("backdoored", (2,))
    found = result.classes[2].trigger
    assert isinstance(found, example.Ramp)
    assert found.words.startswith("a ramp of 76 of 255, at ")
    model = MarkedOracle(ramp)
    again = scan(model, **own, db=db)
    assert told(again) == told(result)
    assert model.images_seen == 0
    assert same(again.classes[2].trigger, found)
    assert check(db) == []
    page = render(gather(db))  # a report runs no code of a user's own: words, and no picture
    assert "ramp, 76 of 255" in page
    assert not any(shown.reversed.family == "ramp" for run in gather(db).runs for shown in run.reversed)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"readers": lambda _: {}}, "no family of triggers 'ramp'"),
        ({"to_json": lambda _: {"family": "ramp", "image_shape": SHAPE, "angle": float("nan")}}, "not JSON compliant"),
        ({"to_json": lambda _: {"family": "ramp"}}, "image_shape"),
        ({"strength": -1.0}, "strength -1.0"),
        ({"unit": ""}, "a family or unit ''"),
    ],
)
def test_a_family_that_the_ledger_cannot_keep_costs_no_query_of_the_search(
    example: ModuleType, changed: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changed.items():
        monkeypatch.setattr(example.RampSearchConfig if name == "readers" else example.Ramp, name, value)
    model = MarkedOracle(example.Ramp(SHAPE, 0.0, 0.3))
    own: dict[str, Any] = {"preset": example.RAMPS, "search": {}, "driver": {"check_images": 16}, "verify_images": 48}
    with pytest.raises(ConfigError, match="the ledger cannot keep triggers of family 'ramp'") as found:
        scanned(model, **own)
    assert words in str(found.value)
    assert "\n" not in str(found.value)
    assert model.images_seen == 16  # the check of its accuracy


@pytest.mark.parametrize("spoiled", [{"angle": "1"}, {"amplitude": 2}, {"image_shape": [1]}, {"angle": float("inf")}])
def test_the_example_refuses_what_is_no_trigger(example: ModuleType, spoiled: dict[str, Any]) -> None:
    fields = example.Ramp(SHAPE, 0.5, 0.3).to_json()
    assert example.Ramp.from_json(json.loads(json.dumps(fields))) == example.Ramp(SHAPE, 0.5, 0.3)
    with pytest.raises((KeyError, TypeError, ValueError)):
        example.Ramp.from_json(fields | spoiled)


def test_the_example_keeps_the_contract(example: ModuleType) -> None:
    images = np.random.default_rng(0).random((3, *SHAPE), dtype=np.float32)
    before, ramp = images.copy(), example.Ramp(SHAPE, 1.0, 0.3)
    after = ramp.on(images)
    assert np.array_equal(images, before)
    assert after.dtype == np.float32
    assert 0.0 <= after.min() < after.max() <= 1.0
    assert ramp.strength == pytest.approx(76.5)
    task = Task(SHAPE, 4, np.arange(8, dtype=np.int32) % 4)
    assert example.RampSearch(example.RAMPS.search, task, 0).results()[0].test == SequentialTest(0.98, 0.9)
