"""Stored queries rebuilt and asked again: equal where nothing changed, told where something did."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from db.check import check
from db.errors import StorageError
from db.ledger import Ledger
from db.records import checksum
from db.stored import StoredRun
from oracles.budget import Budget
from oracles.errors import ModelError
from oracles.oracle import Oracle
from oracles.resume import Past
from oracles.spec import build
from simkit.errors import ConfigError, DataError
from studies.ledgers.run_settings import OwnCode
from studies.replay.ask_again import AskAgain, ReplayResult, replay
from studies.replay.rebuild import Replay, ReplayInputs
from studies.scan.config import ScanConfig
from studies.scan.prepare import prepare
from studies.scan.run_key import run_info
from tests.fakes import NotANumberOracle, PlantedOracle, corner_plant, planted_images
from tests.studies.own_code import CORNER, DIMMED
from tests.studies.scan.test_ledger_run import Stopping
from tests.studies.scans import IMAGES, SETTINGS, TemplateNet, scanned

SHORT_B3D: dict[str, Any] = {"preset": "b3d", "search": {"steps": 12, "samples": 10, "grid": 6}}
SCANS: list[dict[str, Any]] = [
    {},
    {"oracle": "noisy"},
    {"oracle": {"score_noise": 0.1, "input_noise": 0.05, "seed": 5}},
    {"oracle": "top3"},
    {"oracle": "label"},
    {"oracle": {"quantized": True, "threshold": 0.2, "top_k": 2}},
    {"budget": 100},
    {"budget": 17},
    {"budget": 7},
    {"budget": None, "search": {"rounds": 5}},
    {"oracle": {"near_duplicate": 0.05, "near_duplicate_share": 0.2, "score_noise": 0.05}},
    {"oracle": {"rate_limit": "50/second", "rate_policy": "refuse", "decimals": 2}},
    {"preset": CORNER, "search": {}, "driver": {}, "restriction": DIMMED},
    SHORT_B3D,
    SHORT_B3D | {"oracle": "label"},
]
GIVEN = ReplayInputs(images=IMAGES)


def victim() -> PlantedOracle:
    return PlantedOracle(plant=corner_plant(3))


def scan_into(db: Path, model: Any = None, **settings: Any) -> None:
    scanned(model or victim(), db=db, name="victim", **({"budget": 3_000} | settings))


def again(model: Any = None, **asked: Any) -> AskAgain:
    return AskAgain(model or victim(), **asked)


def counted(result: ReplayResult) -> tuple[int, int, int, int]:
    return result.stored, result.rebuilt, result.compared.queries, result.compared.equal


@pytest.mark.parametrize("settings", SCANS, ids=lambda settings: json.dumps(settings, default=str)[:60])
def test_every_stored_query_has_the_same_answer_again(settings: dict[str, Any], tmp_path: Path) -> None:
    db, model = tmp_path / "scan.db", victim()
    scan_into(db, **settings)
    before, given = db.read_bytes(), ReplayInputs(images=IMAGES, own=OwnCode(CORNER, DIMMED))
    if "restriction" not in settings:
        given = GIVEN
    result = replay(db, None, again(model), given)
    queries = StoredRun.read(db).queries
    assert counted(result) == (queries,) * 4
    assert model.images_seen == result.asked == queries
    assert (result.verdict, result.holds, result.same_model, result.not_replayable) == (True, True, True, {})
    assert db.read_bytes() == before
    assert check(db) == []


@pytest.mark.parametrize("oracle", ["scores", "noisy"])
def test_a_sample_is_compared_in_whole_calls(oracle: str, tmp_path: Path) -> None:
    db, model = tmp_path / "scan.db", victim()
    scan_into(db, oracle=oracle)
    result = replay(db, 1, again(model, sample=20, seed=4), GIVEN)
    assert (result.compared.queries, result.compared.equal) == (20, 20)
    assert 20 <= result.asked == model.images_seen < result.stored
    assert result == replay(db, 1, again(sample=20, seed=4), GIVEN)
    assert replay(db, 1, again(sample=10**9), GIVEN).compared.queries == result.stored
    with pytest.raises(ConfigError, match="sample of 0"):
        replay(db, 1, again(sample=0), GIVEN)


@pytest.mark.parametrize("stop_at", [2, 9, 40])
def test_an_unfinished_run_as_far_as_it_goes_and_a_resumed_one_wholly(stop_at: int, tmp_path: Path) -> None:
    db, model = tmp_path / "scan.db", Stopping(plant=corner_plant(3))
    model.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        scan_into(db, model, oracle="noisy", preset="random-patch", search={"rounds": 60, "largest_side": 1})
    result = replay(db, 1, AskAgain(Stopping(plant=corner_plant(3))), GIVEN)
    assert counted(result) == (StoredRun.read(db).queries,) * 4
    assert (result.verdict, result.holds) == (None, True)
    scan_into(db, model, oracle="noisy", preset="random-patch", search={"rounds": 60, "largest_side": 1})
    result = replay(db, 1, AskAgain(Stopping(plant=corner_plant(3))), GIVEN)
    assert counted(result) == (StoredRun.read(db).queries,) * 4
    assert result.verdict is True


@pytest.mark.parametrize("after", [0, 200])
def test_a_run_that_ended_with_nan_is_as_good_as_any(after: int, tmp_path: Path) -> None:
    def failing() -> NotANumberOracle:
        oracle = NotANumberOracle()
        oracle.after = after
        return oracle

    db = tmp_path / "scan.db"
    scan_into(db, failing())
    result = replay(db, 1, AskAgain(failing()), GIVEN)
    assert counted(result) == (StoredRun.read(db).queries,) * 4
    assert result.verdict is True


def test_images_without_labels(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    images = type(IMAGES).unlabelled(IMAGES.pixels, "unlabelled")
    from studies.scan import scan

    scan(victim(), images=images, db=db, name="victim", budget=3_000, **SETTINGS)
    result = replay(db, 1, again(), ReplayInputs(images=images))
    assert counted(result) == (StoredRun.read(db).queries,) * 4
    assert result.verdict is True


def test_external_queries_are_told_and_noise_goes_on_behind_them(tmp_path: Path) -> None:
    db, model = tmp_path / "scan.db", Stopping(plant=corner_plant(3))
    settings: dict[str, Any] = {"oracle": "noisy", "search": {"rounds": 30}, "budget": 3_000}
    config = ScanConfig.of(SETTINGS | settings | {"name": "victim"})
    prepared = prepare(model, config, IMAGES)
    with Ledger.open(db) as ledger:
        run = ledger.begin(run_info(prepared.model, prepared.images, config))
        build(config.oracle, model, Budget(100), run).query(IMAGES.pixels[:5])
    # a search of its own in the same run, behind the external call: a ledger that only a replay can read on
    _scan_behind(prepared.images, config, model, db)
    result = replay(db, 1, AskAgain(Stopping(plant=corner_plant(3))), GIVEN)
    assert result.not_replayable == {"external": 5}
    assert counted(result) == (result.stored, result.stored - 5, result.stored - 5, result.stored - 5)
    sampled = replay(db, 1, AskAgain(Stopping(plant=corner_plant(3)), sample=10**6), GIVEN)
    assert sampled.compared.queries == result.stored - 5


def _scan_behind(images: Any, config: ScanConfig, model: Oracle, db: Path) -> None:
    from simkit.search.evaluator import Evaluator

    source = Replay.read(db, 1, GIVEN)
    with Ledger.open(db) as ledger:
        run = ledger.begin(source.run.info)
        oracle = build(config.oracle, model, Budget(3_000, spent=5), run, past=Past(5, ()))
        for _ in source.relay(None, config.budget).run(Evaluator(oracle, run)):
            pass


def test_another_model_is_counted_and_no_failure(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    scanned(TemplateNet(target=1), db=db, budget=2_000)
    result = replay(db, 1, AskAgain(TemplateNet(target=2)), GIVEN)
    assert not result.same_model
    assert result.compared.queries == result.stored
    assert result.compared.different > 0
    assert 0 < result.compared.labels <= result.compared.different
    assert 0.5 < (result.compared.largest or 0.0) <= 1.0
    same = replay(db, 1, AskAgain(TemplateNet(target=1)), GIVEN)
    assert (same.same_model, same.compared.different, same.compared.largest) == (True, 0, 0.0)
    scanned(TemplateNet(target=1), db=db, budget=2_000, name="mine")
    assert replay(db, 2, AskAgain(TemplateNet(target=1)), GIVEN).same_model


def test_a_model_that_is_gone_and_images_that_are_others(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    scan_into(db)
    with pytest.raises(ModelError, match=r"run 1 cannot be opened.*give the model"):
        replay(db, 1, AskAgain(), GIVEN)
    with pytest.raises(DataError, match=r"run 1 used other images"):
        replay(db, 1, again(), ReplayInputs(images=planted_images(112, seed=2)))
    with pytest.raises(DataError, match=r"images of run 1 cannot be read.*give data"):
        replay(db, 1, again())
    with pytest.raises(StorageError, match="no run 2"):
        replay(db, 2, again(), GIVEN)


def test_the_threads_are_those_of_the_run_while_it_is_replayed(tmp_path: Path) -> None:
    db, seen = tmp_path / "scan.db", []
    scan_into(db, budget=100)

    def tell(_done: int, _total: int | None, _note: str = "", /) -> None:
        seen.append(torch.get_num_threads())

    torch.set_num_threads(2)
    try:
        replay(db, 1, again(), GIVEN, tell)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert set(seen) == {1}


def tampered(db: Path, number: int, right_checksum: bool, every: bool = False) -> None:
    """Another bit in the first answer of a call, or all its answers the other way round."""
    with sqlite3.connect(db) as connection:
        sql = "SELECT codec, rows, answers, crc32 FROM calls WHERE number = ?"
        codec, rows, answers, crc32 = connection.execute(sql, (number,)).fetchone()
        backwards = np.frombuffer(answers, "<f4").reshape(-1, 4)[:, ::-1].tobytes()
        changed = backwards if every else bytes([answers[0] ^ 1]) + answers[1:]
        crc32 = checksum(codec, rows, changed) if right_checksum else crc32
        connection.execute("UPDATE calls SET answers = ?, crc32 = ? WHERE number = ?", (changed, crc32, number))


@pytest.mark.parametrize("number", [0, 3, 20])
def test_a_changed_answer_is_found_if_its_checksum_was_changed_too(number: int, tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    scan_into(db)
    tampered(db, number, right_checksum=True)
    result = replay(db, 1, again(), GIVEN)
    assert result.compared.different == 1
    assert 0.0 < (result.compared.largest or 0.0) < 1e-6
    assert not result.holds
    rest = result.not_replayable.get("after the answers lead elsewhere", 0)
    assert result.rebuilt + rest == result.stored
    assert (rest > 0) == (result.broken is not None)


def test_after_a_changed_answer_that_matters_the_rest_cannot_be_rebuilt(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    scan_into(db)
    tampered(db, 9, right_checksum=True, every=True)
    result = replay(db, 1, again(), GIVEN)
    queries = [len(call.rows) for call in StoredRun.read(db).calls()]
    assert result.compared.different == queries[9]
    assert result.rebuilt == sum(queries[:10])
    assert result.not_replayable == {"after the answers lead elsewhere": sum(queries[10:])}
    assert "other code" in (result.broken or "")
    assert result.verdict is None
    assert not result.holds


def test_a_changed_answer_under_its_old_checksum_is_damage(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    scan_into(db)
    tampered(db, 20, right_checksum=False)
    with pytest.raises(StorageError, match="call 20 is damaged"):
        replay(db, 1, again(), GIVEN)


def test_an_answer_of_another_form_is_no_answer(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    scan_into(db)
    with sqlite3.connect(db) as connection:
        rows, answers = connection.execute("SELECT rows, answers FROM calls WHERE number = 9").fetchone()
        crc32 = checksum("morse/4", rows, answers)
        connection.execute("UPDATE calls SET codec = 'morse/4', crc32 = ? WHERE number = 9", (crc32,))
    result = replay(db, 1, again(), GIVEN)
    assert "cannot be read" in (result.broken or "")
    assert result.compared.different == 0
    assert not result.holds


def test_the_result_is_json(tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    scan_into(db, budget=100)
    told = replay(db, 1, again(), GIVEN).to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["compared"] == {
        **{"queries": told["stored"], "equal": told["stored"], "different": 0, "other_label": 0},
        "largest_difference": 0.0,
    }


def test_pixels_are_what_the_model_was_asked(tmp_path: Path) -> None:
    """Known answer: the images of the first check are the images themselves."""
    db = tmp_path / "scan.db"
    scan_into(db, budget=100)
    source, seen = Replay.read(db, 1, GIVEN), []
    source.rebuild(lambda images, call: seen.append((images.numpy().copy(), call.first)))
    assert np.array_equal(seen[0][0], source.images.search.pixels[:16].numpy())
    assert [first for _, first in seen] == list(np.cumsum([0, *(len(images) for images, _ in seen[:-1])]))


@pytest.mark.parametrize("action", ["coarse", "cached", "log"])
def test_answers_that_the_service_changed_after_an_alarm_are_not_compared_with_the_model(
    action: str, tmp_path: Path
) -> None:
    scan_into(tmp_path / "scan.db", oracle={"watch": {"detector": "piha", "action": action, "threshold": 0.5}})
    if action == "log":
        assert replay(tmp_path / "scan.db", None, again(), GIVEN).holds
        return
    with pytest.raises(ConfigError, match=f"after its alarm at query .*{action}"):
        replay(tmp_path / "scan.db", None, again(), GIVEN)
