"""Detectors in a ledger: what they asked, what they paid, what they said."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from db import check
from db.errors import StorageError
from db.stored import StoredRun
from simkit.detectors.access import QueryDataAccess
from simkit.detectors.blackbox.trigger_search import TriggerSearch
from simkit.detectors.whitebox.activation_clustering import ActivationClustering
from simkit.detectors.whitebox.data_free_cleanse import DataFreeCleanse
from simkit.detectors.whitebox.neural_cleanse import NeuralCleanse
from simkit.errors import ConfigError, ContractError
from simkit.search.presets import Preset
from simkit.search.random_patch import RandomPatchConfig
from simkit.verdict import ClassResult, Verdict
from studies.cli.main import main
from studies.ledgers.run_settings import stored_config
from studies.scan import ScanResult, detect, run_key, scan
from studies.scan.ledger_run import PaidElsewhere
from tests.fakes import corner_plant
from tests.simkit.search.scans import DRIVER
from tests.studies.scans import IMAGES, TemplateNet, arrays

PRESET = Preset(RandomPatchConfig(rounds=60), "small_patch", DRIVER)
IMAGE_COUNTS: dict[str, Any] = {"search_images": 56, "verify_images": 56}


@dataclass(frozen=True)
class Asks:
    """Asks `calls` times about all its images and then says `verdict`."""

    calls: int = 2
    flagged: tuple[int, ...] = ()
    breaks: bool = False

    def detect(self, access: QueryDataAccess) -> Verdict:
        for _ in range(self.calls):
            access.oracle.query(access.images.pixels)
        if self.breaks:
            raise KeyboardInterrupt
        return Verdict("backdoored" if self.flagged else "clean", "decided", self.flagged, 0.5, (), None)


@dataclass(frozen=True)
class Says:
    """Says that a trigger for class 0 worked at this rate."""

    rate: float
    trials: int

    def detect(self, access: QueryDataAccess) -> Verdict:
        access.oracle.query(access.images.pixels[:1])
        found = ClassResult(0, corner_plant(0).trigger, 4.0, self.rate, censored=True, trials=self.trials)
        return Verdict("clean", "decided", (), None, (found,), None)


@dataclass(frozen=True)
class Contradicts:
    """Says `backdoored` and names no class."""

    def detect(self, access: QueryDataAccess) -> Verdict:
        return Verdict("backdoored", "decided", (), 0.5, (), None)


def detected(detector: Any, model: Any = None, **settings: Any) -> ScanResult:
    return detect(detector, model or TemplateNet(), images=IMAGES, **(IMAGE_COUNTS | settings))


def rows(path: Path, sql: str) -> list[Any]:
    with sqlite3.connect(path) as ledger:
        return ledger.execute(sql).fetchall()


def test_a_search_says_the_same_as_a_scan_with_its_preset() -> None:
    told = detected(TriggerSearch(PRESET), TemplateNet(2), budget=5000)
    scanned = scan(TemplateNet(2), images=IMAGES, preset=PRESET, budget=5000, **IMAGE_COUNTS)
    assert (told.verdict, told.flagged, told.spent) == (scanned.verdict, scanned.flagged, scanned.spent)
    assert (told.verdict, told.flagged) == ("backdoored", (2,))
    assert arrays(told) == arrays(scanned)


@dataclass(frozen=True)
class Looks:
    """Looks for more than steps behind what it is given to open them."""

    found: list[str] = field(default_factory=list, compare=False)

    def detect(self, access: QueryDataAccess) -> Verdict:
        access.oracle.query(access.images.pixels[:1])
        self.found.extend(name for name in dir(access.steps) if not name.startswith("_"))
        return Verdict("clean", "decided", (), 0.5, (), None)


def test_a_detector_can_open_steps_and_write_nothing_else() -> None:
    detector = Looks()
    detected(detector)
    assert detector.found == ["open_step"]


def test_queries_of_a_detector_of_ones_own_are_external_and_counted(tmp_path: Path) -> None:
    model, db = TemplateNet(), tmp_path / "asks.db"
    result = detected(Asks(), model, db=db)
    assert (result.verdict, result.rule, result.threshold, result.spent) == ("clean", "Asks", None, 224)
    assert rows(db, "SELECT purpose, charged FROM spend") == [("external", 224)]
    assert check.check(db) == []
    assert detected(Asks(), TemplateNet(), db=db).run == result.run
    assert detected(Asks(calls=1), TemplateNet(), db=db).run != result.run


def test_purposes_of_a_search_are_recorded(tmp_path: Path) -> None:
    detected(TriggerSearch(PRESET), TemplateNet(2), db=tmp_path / "search.db")
    purposes = {purpose for (purpose,) in rows(tmp_path / "search.db", "SELECT purpose FROM spend")}
    assert purposes == {"check", "search", "verify"}


def test_running_out_is_undecided() -> None:
    result = detected(Asks(calls=3), budget=250)
    assert (result.verdict, result.stopped, result.spent, result.refused) == ("undecided", "budget", 224, 112)


def test_a_service_stands_before_the_model() -> None:
    seen: list[str] = []

    @dataclass(frozen=True)
    class Looks:
        def detect(self, access: QueryDataAccess) -> Verdict:
            seen.append(type(access.oracle.query(access.images.pixels)).__name__)
            return Verdict("clean", "decided", (), None, (), None)

    detected(Looks(), oracle="label")
    assert seen == ["Labels"]


def test_a_detector_that_was_broken_off_does_not_go_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        detected(Asks(breaks=True), db=tmp_path / "broken.db")
    with pytest.raises(StorageError, match="interrupted and cannot resume"):
        detected(Asks(breaks=True), db=tmp_path / "broken.db")


@pytest.mark.parametrize("breaks", [False, True])
def test_a_run_that_was_paid_for_elsewhere_is_refused_until_new_run(
    breaks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, net = tmp_path / "asks.db", TemplateNet()
    with suppress(KeyboardInterrupt):
        detected(Asks(breaks=breaks), db=db)
    monkeypatch.setitem(run_key.__dict__, "np", SimpleNamespace(__version__="1.0"))
    with pytest.raises(PaidElsewhere, match=r"run 1 .* numpy .*, now 1\.0: a new run would pay again .* --new-run"):
        detected(Asks(breaks=breaks), net, db=db)
    assert net.seen.images == 0
    with pytest.warns(UserWarning, match=r"now 1\.0; this starts a new run"), suppress(KeyboardInterrupt):
        detected(Asks(breaks=breaks), db=db, new_run=True)
    assert rows(db, "SELECT sum(charged) FROM calls GROUP BY run_id") == [(224,), (224,)]
    if not breaks:
        assert detected(Asks(), net, db=db).run == 2
    assert net.seen.images == 0


def test_a_run_of_another_budget_or_detector_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = tmp_path / "asks.db"
    detected(Asks(), db=db, budget=1_000)
    monkeypatch.setitem(run_key.__dict__, "np", SimpleNamespace(__version__="1.0"))
    assert detected(Asks(), db=db, budget=1_001).spent == detected(Asks(calls=2, flagged=(1,)), db=db).spent == 224


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: detected(Asks(flagged=(4,))), ContractError, "class 4 is flagged, but the classes are 0 to 3"),
        (lambda: detected(Contradicts()), ContractError, r"backdoored with the flagged classes \[\]"),
        (lambda: detected(Says(0.5, 3)), ContractError, "class 0: a success rate of 0.5 in 3 trials is 1.5 hits"),
        (lambda: detected(Asks(), preset="b3d-slides"), ConfigError, "preset is a setting of a scan"),
        (lambda: detected(object()), ConfigError, "no method detect"),
    ],
)
def test_what_is_wrong_is_told(call: Callable[[], ScanResult], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call()


def test_a_class_may_be_flagged_without_a_trigger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = tmp_path / "asks.db"
    result = detected(Asks(flagged=(1,)), db=db)
    assert (result.verdict, result.flagged, result.classes) == ("backdoored", (1,), ())
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["flagged"] == [1]
    assert check.check(db) == []
    for command in (["db", "runs", str(db)], ["db", "runs", str(db), "--json"], ["report", str(db)]):
        assert main(command) == 0
    assert re.search(r"Asks .* backdoored +1 ", capsys.readouterr().out)
    page = (tmp_path / "asks.db.html").read_text()
    assert "Asks flags class 1 but has no trigger to show." in page


def test_its_run_is_not_taken_for_a_scan(tmp_path: Path) -> None:
    run = detected(Asks(), db=tmp_path / "asks.db").run
    assert run is not None
    with pytest.raises(ConfigError, match=r"of the detector .*Asks and no scan"):
        stored_config(StoredRun.read(tmp_path / "asks.db", run).info)


@pytest.mark.parametrize("detector", [NeuralCleanse(), DataFreeCleanse(), ActivationClustering()])
def test_a_detector_with_weights_is_not_run_on_an_oracle(detector: Any, tmp_path: Path) -> None:
    access = {NeuralCleanse: "WeightAccess", DataFreeCleanse: "ModelAccess"}.get(type(detector), "TrainingDataAccess")
    with pytest.raises(ConfigError, match=f"takes {access}, and an oracle answers queries only"):
        detect(detector, TemplateNet(), images=IMAGES, db=tmp_path / "none.db", **IMAGE_COUNTS)
    assert not (tmp_path / "none.db").exists()
