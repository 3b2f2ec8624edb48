"""Mitigation of the demo's backdoored victim: what it stops, what it asks, and what it refuses before a query."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db import check, reads
from db.stored import StoredRun
from oracles.spec import load
from simkit.errors import ConfigError, DataError
from simkit.search.synthesis import SYNTHETIC
from simkit.zoo.manifest import MANIFEST
from studies.cli.demo_digits import SETTINGS
from studies.cli.main import main
from studies.mitigate import mitigate
from studies.mitigate.result import MitigationResult, ScreenConfig
from studies.mitigate.screening import Asked
from studies.scan import scan
from tests.fakes import planted_images
from tests.studies.marked import TRIGGERS, MarkedNet, preset

CONFIG = ScreenConfig(images=150)


@pytest.fixture(scope="module")
def scan_db(demo_victims: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run 1: the backdoored victim, found; run 2: the clean one."""
    db, zoo = tmp_path_factory.mktemp("mitigate") / "scan.db", demo_victims / "zoo"
    victims = sorted(json.loads((zoo / MANIFEST).read_text())["victims"], key=lambda v: v["truth"])
    for victim, verdict in zip(victims, ("backdoored", "clean"), strict=True):
        found = scan(zoo / victim["file"], data="digits", preset="random-patch", db=db, **SETTINGS)
        assert found.verdict == verdict
    return db


@pytest.fixture(scope="module")
def result(scan_db: Path) -> MitigationResult:
    return mitigate(scan_db, 1, config=CONFIG)


def test_it_stops_the_backdoor_and_keeps_the_model_useful(result: MitigationResult) -> None:
    assert result.at.success is not None
    assert result.without.success is not None
    assert result.without.success.hits > 0.9 * result.triggered
    assert result.at.success.hits < 0.1 * result.triggered
    assert result.at.accuracy.hits > 0.8 * result.without.accuracy.hits
    assert result.others_rejected.hits < 0.1 * result.clean
    assert result.ranking is not None
    assert (result.ranking.auroc or 0.0) > 0.9


def test_it_asks_twice_an_image_of_images_that_the_scan_did_not_use(scan_db: Path, result: MitigationResult) -> None:
    assert result.db == scan_db.with_suffix(".mitigation.db")
    assert result.queries == 2 * (result.clean + result.triggered)
    queries = reads.queries(result.db, result.run)
    assert len(queries) == result.queries
    assert set(queries["candidate"]) == {-1, 0}
    assert check.check(result.db) == check.check(scan_db) == []
    row, scanned = reads.result(result.db, result.run), reads.result(scan_db, 1)
    assert row is not None
    assert scanned is not None
    assert (row.verdict, row.flagged, row.spent) == (scanned.verdict, scanned.flagged, result.queries)
    assert row.clean_accuracy == result.without.accuracy.rate
    assert "run 1 of scan.db, whose verdict this is" in row.notes


@pytest.mark.parametrize("family", TRIGGERS)
def test_inputs_are_screened_with_a_trigger_of_any_family(family: str, tmp_path: Path) -> None:
    images = planted_images(200)
    pixels = np.rint(images.array.transpose(0, 2, 3, 1) * 255).astype(np.uint8)
    np.savez(tmp_path / "planted.npz", x_test=pixels, y_test=images.labels)
    settings: dict[str, Any] = {"data": str(tmp_path / "planted.npz"), "search_images": 64, "verify_images": 48}
    model, db = MarkedNet(TRIGGERS[family]), tmp_path / "scan.db"
    assert scan(model, preset=preset(family), db=db, **settings).flagged == (2,)
    found = mitigate(db, asked=Asked(model=model), config=ScreenConfig(images=40))
    assert (found.clean, found.queries) == (40, 80)
    assert found.others_rejected.hits < 5
    again = mitigate(db, asked=Asked(model=model), config=ScreenConfig(images=40))
    assert (again.run, again.points) == (found.run, found.points)
    assert len(reads.queries(found.db)) == 80
    assert check.check(found.db) == []


def test_another_threshold_asks_nothing(scan_db: Path, result: MitigationResult) -> None:
    again = mitigate(scan_db, 1, config=ScreenConfig(images=150, threshold=1.0))
    assert (again.run, again.queries) == (result.run, result.queries)
    assert again.at == next(point for point in result.points if point.threshold == 1.0)
    assert len(reads.runs(result.db)) == 1


def test_a_killed_one_goes_on(
    scan_db: Path, result: MitigationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from oracles.torch_model import TorchOracle

    answered, query = [0], TorchOracle.query

    def dying(self: TorchOracle, *given: object) -> object:
        answered[0] += 1
        if answered[0] == 3:
            raise KeyboardInterrupt
        return query(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(TorchOracle, "query", dying)
    db = tmp_path / "killed.db"
    with pytest.raises(KeyboardInterrupt):
        mitigate(scan_db, 1, config=CONFIG, db=db)
    assert reads.runs(db)["spent"].tolist() == [256]
    again = mitigate(scan_db, 1, config=CONFIG, db=db)
    assert answered[0] == 3 + -(-result.queries // 128) - 2
    assert again.points == result.points
    assert again.queries == result.queries


def test_noisy_answers_are_never_alike_and_need_another_threshold(scan_db: Path, tmp_path: Path) -> None:
    found = mitigate(scan_db, 1, Asked(oracle=load("noisy")), CONFIG, tmp_path / "noisy.db")
    higher = next(point for point in found.points if point.threshold == 2.0)
    assert found.at.success is not None
    assert higher.success is not None
    assert found.at.success.hits > 0.5 * found.triggered
    assert higher.success.hits < 0.2 * found.triggered


@pytest.mark.parametrize("service", ["label", "top1"])
def test_a_service_that_tells_less(scan_db: Path, service: str, tmp_path: Path) -> None:
    asked = Asked(oracle=load(service))
    found = mitigate(scan_db, 1, asked, CONFIG, tmp_path / "less.db")
    assert found.at.success is not None
    assert found.at.success.hits < 0.1 * found.triggered
    assert found.others_rejected.hits < 0.1 * found.clean


def test_without_a_zoo_clean_images_alone_are_asked_about(scan_db: Path, demo_victims: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    shutil.copy(demo_victims / "zoo" / f"{Path(str(reads.runs(scan_db)['model'][0])).name}", model)
    db = tmp_path / "alone.db"
    scan(model, data="digits", preset="random-patch", db=db, **SETTINGS)
    alone = mitigate(db, config=CONFIG)
    assert (alone.triggered, alone.at.success, alone.queries) == (0, None, 2 * alone.clean)
    known = mitigate(db, asked=Asked(zoos=(demo_victims / "zoo",)), config=CONFIG)
    assert known.triggered > 0


def test_what_cannot_be_done_says_so_and_asks_nothing(scan_db: Path, demo_victims: Path, tmp_path: Path) -> None:
    db, other = tmp_path / "none.db", tmp_path / "digits.npz"
    clean = str(reads.runs(scan_db)["model"][1])
    with pytest.raises(ConfigError, match="is clean: it flags no class, so there is no trigger"):
        mitigate(scan_db, 2, config=CONFIG, db=db)
    with pytest.raises(ConfigError, match="not the model of run 1"):
        mitigate(scan_db, 1, Asked(model=clean), CONFIG, db)
    with pytest.raises(ConfigError, match=r"queries are needed, but the budget is 10"):
        mitigate(scan_db, 1, config=ScreenConfig(images=20, budget=10), db=db)
    with pytest.raises(ConfigError, match="only read; name another file"):
        mitigate(scan_db, 1, config=CONFIG, db=scan_db)
    with pytest.raises(DataError, match="no such data"):
        mitigate(scan_db, 1, Asked(data=str(other)), CONFIG, db)
    assert not db.exists()


def test_a_scan_without_data_needs_some(scan_db: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored = StoredRun.read(scan_db, 1)
    blank = dataclasses.replace(stored, info=dataclasses.replace(stored.info, data=SYNTHETIC))
    monkeypatch.setattr(StoredRun, "read", lambda *_: blank)
    with pytest.raises(ConfigError, match="run 1 had no data, but screening needs labelled images; give data"):
        mitigate(scan_db, 1, db=tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def test_the_command(scan_db: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    named = [str(scan_db), "--images", "40", "--db", str(tmp_path / "told.db")]
    assert main(["mitigate", *named, "--run", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main(["mitigate", *named, "--run", "1", "--threshold", "0.05", "--mean"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "changes their answer by less than 0.05 nats" in lines[0]
    assert lines[1].startswith(f"{told['clean']} clean images: ")
    assert f"{told['triggered']} triggered images: " in "\n".join(lines)
    assert lines[-1] == f"{told['queries']:,} queries; ledger: {tmp_path / 'told.db'}, run 1"
    assert main(["mitigate", *named, "--run", "2"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
