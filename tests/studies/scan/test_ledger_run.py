"""Runs that begin late, break off, and go on: nothing is lost, nothing paid twice, nothing decided twice."""

from __future__ import annotations

import itertools
import json
import sqlite3
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from db import reads
from db.check import check
from db.errors import StorageError
from db.records import TriggerRow, VerdictRow
from db.run import Run
from oracles.answers import Answer
from oracles.errors import ModelError
from oracles.oracle import Tag
from simkit.errors import ConfigError
from studies.scan import run_key
from studies.scan.config import ScanConfig
from studies.scan.plan_length import BudgetBelowPlan
from studies.scan.prepare import Prepared, prepare
from studies.scan.run import default_db, run_scan
from tests.fakes import NotANumberOracle, PlantedOracle, corner_plant
from tests.studies.scans import CHECKED, IMAGES, SETTINGS, TemplateNet, arrays, scanned, told


class Stopping(PlantedOracle):
    """Raises `error` instead of its answer number `stop_at`, counted over everything it was ever asked."""

    stop_at = -1
    error: BaseException = KeyboardInterrupt()
    calls = 0

    def query(self, images: torch.Tensor, tag: Tag | None = None) -> Answer:
        self.calls += 1
        if self.calls == self.stop_at:
            raise self.error
        return super().query(images, tag)


@pytest.mark.parametrize("oracle", ["scores", "noisy", "label"])
def test_an_interrupted_scan_goes_on_as_if_nothing_had_been(oracle: str, tmp_path: Path) -> None:
    plant = corner_plant(3)
    unbroken = scanned(PlantedOracle(plant=plant), budget=3_000, oracle=oracle)
    victim = Stopping(plant=plant)
    for stop_at in (1, 5, 9, 40):
        victim.stop_at = stop_at
        with pytest.raises(KeyboardInterrupt):
            scanned(victim, budget=3_000, oracle=oracle, db=tmp_path / "scan.db", name="victim")
    result = scanned(victim, budget=3_000, oracle=oracle, db=tmp_path / "scan.db", name="victim")
    assert told(result) == told(unbroken)
    assert arrays(result) == arrays(unbroken)
    assert victim.images_seen == result.spent
    assert check(tmp_path / "scan.db") == []


def test_a_model_that_fails_costs_nothing_and_may_be_mended(tmp_path: Path) -> None:
    victim = Stopping(plant=corner_plant(0))
    victim.stop_at, victim.error = 3, ModelError("out of memory")
    with pytest.raises(ModelError):
        scanned(victim, budget=3_000, db=tmp_path / "scan.db", name="victim")
    result = scanned(victim, budget=3_000, db=tmp_path / "scan.db", name="victim")
    assert result.flagged == (0,)
    assert victim.images_seen == result.spent == len(reads.queries(tmp_path / "scan.db"))


@pytest.mark.parametrize("budget", range(1, 80, 6))
def test_a_refusal_is_written_once_however_often_the_scan_is_killed(
    budget: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = scanned(PlantedOracle(), budget=budget)

    def stopped(self: Run, verdict: VerdictRow, triggers: list[TriggerRow]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "finish", stopped)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                scanned(PlantedOracle(), budget=budget, db=tmp_path / "scan.db", name="victim")
    result = scanned(PlantedOracle(), budget=budget, db=tmp_path / "scan.db", name="victim")
    assert told(result) == told(unbroken)
    assert check(tmp_path / "scan.db") == []


class ViewNet(nn.Module):
    """As people write them: `view` needs a number of features, so that no empty batch tells the classes."""

    def __init__(self, n_classes: int, side: int = 12) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * side * side, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.conv(images)
        scores: torch.Tensor = self.last(features.view(features.size(0), -1))
        return scores


class Stretched(ViewNet):
    """Answers more classes than its last weight has rows."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).repeat(1, 2)


@pytest.mark.parametrize("net", [ViewNet(7), ViewNet(4, side=28), Stretched(4)], ids=["classes", "side", "answer"])
def test_a_model_that_fails_at_its_first_answer_leaves_the_ledger_as_it_was(net: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        scanned(net, budget=500, db=tmp_path / "new.db")
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    scanned(ViewNet(4), budget=500, db=tmp_path / "scan.db")
    with pytest.raises(ModelError):
        scanned(net, budget=500, db=tmp_path / "scan.db")
    assert len(reads.runs(tmp_path / "scan.db")) == 1
    assert check(tmp_path / "scan.db") == []
    assert scanned(TemplateNet(), budget=500, db=tmp_path / "new.db").run == 1


class Probabilities(TemplateNet):
    """Rows that sum to 1, but only those of the first check: by any others they would be taken for logits."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = torch.softmax(super().forward(images), dim=1)
        return rows if self.seen.images <= 16 + CHECKED else rows * 0.9


def test_what_a_model_answers_is_decided_once(tmp_path: Path) -> None:
    db, net = tmp_path / "scan.db", Probabilities()
    result = scanned(net, budget=500, db=db)
    environment = json.loads(reads.runs(db)["environment"][0])
    assert environment["output"] == "probabilities"
    assert environment["output_evidence"] == "16 rows, sums 1 to 1 (1 decimal)"
    assert result.notes.endswith("of the model's rows were no probabilities; they were brought to a sum of 1")


class Template(nn.Module):
    """The scores of `TemplateNet` for flat images, in a module without weights, which is not asked before a scan."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = TemplateNet()(images.reshape(-1, 1, 12, 12)).detach()
        return rows


class OddLater:
    """Brings rows to a sum of 2 from its second call on. The call number `stop_at` is interrupted."""

    def __init__(self, stop_at: int) -> None:
        self.calls, self.stop_at = 0, stop_at

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        if len(rows) == 0:  # asks for the number of classes
            return rows
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        return rows if self.calls == 1 else torch.full_like(rows, 0.5)


@pytest.mark.parametrize("kind", ["function", "softmax", "softmax, told"])
@pytest.mark.parametrize("stop_at", [2, 3, 5])
def test_an_answer_after_a_resume_is_not_judged_as_the_first_of_the_run(
    stop_at: int, kind: str, tmp_path: Path
) -> None:
    net = TemplateNet()
    settings: dict[str, Any] = {"budget": 300, "n_classes": 4, "name": "victim"}
    if kind != "softmax":
        settings |= {"output": "probabilities"}

    def victim(odd: OddLater) -> Any:
        if kind == "function":
            return lambda pixels: odd(net(torch.from_numpy(pixels)).softmax(dim=1).detach())
        last = nn.Softmax(dim=1)
        last.register_forward_hook(lambda _module, _images, rows: odd(rows))
        return nn.Sequential(nn.Flatten(), Template(), last)

    unbroken = scanned(victim(OddLater(-1)), **settings)
    odd = OddLater(stop_at)
    with pytest.raises(KeyboardInterrupt):
        scanned(victim(odd), db=tmp_path / "a.db", **settings)
    result = scanned(victim(odd), db=tmp_path / "a.db", **settings)
    assert (result.verdict, result.spent) == (unbroken.verdict, unbroken.spent)


class Rounding:
    """Rounds to two decimals, as far as one `scale` goes; the calls numbered in `odd` have a row of another sum."""

    def __init__(self, scale: float, odd: tuple[int, ...]) -> None:
        self.scale, self.odd, self.calls, self.stop_at = scale, odd, 0, -1

    def __call__(self, pixels: Any) -> torch.Tensor:
        if self.calls + 1 == self.stop_at:
            self.stop_at = -1
            raise KeyboardInterrupt
        self.calls += 1
        rows: torch.Tensor = (
            (self.scale * TemplateNet()(torch.from_numpy(pixels)).softmax(dim=1)).detach().round(decimals=2)
        )
        if self.calls in self.odd:
            rows[0] = 0.5 * self.scale
        return rows


@pytest.mark.parametrize("output", ["auto", "probabilities"])
@pytest.mark.parametrize("scale", [1.0, 0.5, 100.0])
@pytest.mark.parametrize("odd", [(), (2,), (2, 3, 5)])
def test_the_notes_of_a_resumed_scan_are_those_of_an_unbroken_one(
    odd: tuple[int, ...], scale: float, output: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"budget": 300, "n_classes": 4, "name": "victim", "output": output}
    unbroken = scanned(Rounding(scale, odd), **settings)
    victim = Rounding(scale, odd)
    for victim.stop_at in (2, 3, 4, 6):
        with pytest.raises(KeyboardInterrupt):
            scanned(victim, db=tmp_path / "a.db", **settings)
    result = scanned(victim, db=tmp_path / "a.db", **settings)
    assert told(result) == told(unbroken)
    assert check(tmp_path / "a.db") == []
    if odd and scale != 0.5:
        assert f"{len(odd)} of the model's rows" in result.notes
    if scale != 1.0:
        assert "the answers were" in result.notes


def _kill_at_the_third_call(patched: pytest.MonkeyPatch) -> None:
    """The process ends before the third call of a run is stored."""
    record, recorded = Run.record, itertools.count(1)

    def killed(self: Run, call: Any) -> None:
        if next(recorded) == 3:
            raise KeyboardInterrupt
        record(self, call)

    patched.setattr(Run, "record", killed)


def test_odd_rows_of_a_call_that_was_not_stored_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed after the count was stored, and before the call was."""
    settings: dict[str, Any] = {"budget": 300, "n_classes": 4, "name": "victim", "output": "probabilities"}
    unbroken = scanned(Rounding(1.0, (2, 3)), **settings)
    with monkeypatch.context() as patched:
        _kill_at_the_third_call(patched)
        with pytest.raises(KeyboardInterrupt):
            scanned(Rounding(1.0, (2, 3)), db=tmp_path / "a.db", **settings)
    stored = json.loads(reads.runs(tmp_path / "a.db")["environment"][0])
    assert [count for _, count in stored["odd_rows"]] == [1, 2]
    again = Rounding(1.0, (1,))  # the call that was under way is sent again
    result = scanned(again, db=tmp_path / "a.db", **settings)
    assert result.notes == unbroken.notes
    assert "2 of the model's rows" in result.notes


def test_the_same_scan_elsewhere_is_told_apart_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = tmp_path / "scan.db"
    scanned(TemplateNet(), budget=100, db=db)
    monkeypatch.setitem(run_key.__dict__, "np", SimpleNamespace(__version__="1.0"))
    with pytest.raises(ConfigError, match=r"run 1 is the same scan made with numpy .*, now 1\.0: .* --new-run"):
        scanned(TemplateNet(), budget=100, db=db)
    assert len(reads.runs(db)) == 1
    with pytest.warns(UserWarning, match=r"run 1 is the same scan made with numpy .*, now 1\.0; this starts a new run"):
        scanned(TemplateNet(), budget=100, db=db, new_run=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", BudgetBelowPlan)
        scanned(TemplateNet(), budget=100, db=db)
        scanned(TemplateNet(), budget=101, db=db)
    assert len(reads.runs(db)) == 3


DAMAGE = {
    "another run": ("UPDATE calls SET crc32 = 0 WHERE run_id = 2", "run 2, call 0: the checksum differs"),
    "the same run": ("UPDATE verdicts SET spent = 7 WHERE run_id = 1", "verdicts: row 1 differs from what was written"),
    "a missing call": ("DELETE FROM calls WHERE run_id = 2 AND number = 0", "run 2, call 1: expected call 0"),
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON calls BEGIN UPDATE runs SET budget = 1; END", "the trigger 't'"),
}


@pytest.mark.parametrize(("sql", "words"), DAMAGE.values(), ids=DAMAGE)
def test_no_scan_is_made_in_a_ledger_that_the_check_refuses(sql: str, words: str, tmp_path: Path) -> None:
    """Neither the run that is damaged, nor another one, nor a new one."""
    db = tmp_path / "scan.db"
    for seed in (1, 2):
        scanned(PlantedOracle(plant=corner_plant(3)), budget=300, seed=seed, db=db, name="victim")
    connection = sqlite3.connect(db)
    connection.executescript(sql)
    connection.close()
    before = db.read_bytes()
    victim = PlantedOracle(plant=corner_plant(3))
    for seed in (1, 2, 3):
        with pytest.raises(StorageError, match=words):
            scanned(victim, budget=300, seed=seed, db=db, name="victim")
    assert victim.images_seen == 0
    assert db.read_bytes() == before


def test_another_number_of_threads_is_refused_before_a_query_and_goes_on_with_the_same(tmp_path: Path) -> None:
    db, net, threads = tmp_path / "scan.db", TemplateNet(), torch.get_num_threads()
    first = scanned(TemplateNet(), budget=100, db=db)
    try:
        torch.set_num_threads(threads + 1)
        with pytest.raises(ConfigError, match=f"threads {threads}, now {threads + 1}: a new run would pay again"):
            scanned(net, budget=100, db=db)
    finally:
        torch.set_num_threads(threads)
    assert net.seen.images == 0
    assert scanned(net, budget=100, db=db).to_json() == first.to_json()


def test_new_run_is_no_part_of_the_key_of_the_first_run(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    scanned(TemplateNet(), budget=100, db=db, new_run=True)
    scanned(TemplateNet(), budget=100, db=db)
    assert len(reads.runs(db)) == 1


def test_a_new_run_begins_anew_where_there_is_a_verdict_and_is_the_one_that_counts(tmp_path: Path) -> None:
    db, settings = tmp_path / "scan.db", {"budget": 300, "name": "victim"}
    failing, victim = NotANumberOracle(), NotANumberOracle()
    failing.after, victim.after = 20, 10**9
    assert scanned(failing, db=db, **settings).verdict == "invalid"
    assert (scanned(victim, db=db, **settings).verdict, victim.images_seen) == ("invalid", 0)
    anew = scanned(victim, db=db, new_run=True, **settings)
    assert (anew.verdict, anew.run, victim.images_seen) == ("undecided", 2, anew.spent)
    stored = scanned(victim, db=db, **settings)
    assert (stored.to_json(), victim.images_seen) == (anew.to_json(), anew.spent)
    assert scanned(victim, db=db, new_run=True, **settings).run == 3
    assert len(reads.runs(db)) == 3


def test_a_new_run_that_was_interrupted_goes_on_with_the_same_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = tmp_path / "scan.db"
    first = scanned(TemplateNet(), budget=300, db=db)

    with monkeypatch.context() as patched:
        _kill_at_the_third_call(patched)
        with pytest.raises(KeyboardInterrupt):
            scanned(TemplateNet(), budget=300, db=db, new_run=True)
    assert list(reads.runs(db)["state"]) == ["done", "open"]
    anew = scanned(TemplateNet(), budget=300, db=db, new_run=True)
    assert (anew.run, anew.spent) == (2, first.spent)
    assert list(reads.runs(db)["state"]) == ["done", "done"]


def test_the_default_ledger_is_the_one_that_was_paid_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMKIT_HOME", str(tmp_path))

    def prepared() -> Prepared:
        return prepare(TemplateNet(), ScanConfig.of(SETTINGS | {"budget": 100}), IMAGES)

    first = default_db(prepared())
    first.parent.mkdir(parents=True)
    run_scan(prepared(), first)
    monkeypatch.setitem(run_key.__dict__, "np", SimpleNamespace(__version__="1.0"))
    assert default_db(prepared()) == first
    with pytest.raises(ConfigError, match="--new-run"):
        run_scan(prepared(), first)
