"""Scans that are given no images: what they know of the model, what they pay, and that they go on and are replayed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from db.check import check
from db.stored import StoredRun
from oracles.errors import InvalidSpec, ModelError
from simkit.detectors.blackbox.data_free import DataFreeSearch
from simkit.errors import ConfigError
from simkit.search.presets import Preset
from simkit.search.random_patch import RandomPatchConfig
from studies.ledgers.run_settings import OwnCode, stored_config
from studies.ledgers.run_words import command_of
from studies.replay.ask_again import AskAgain, replay
from studies.replay.other_rules import replayed
from studies.replay.rebuild import ReplayInputs
from studies.scan import ScanResult, detect, scan
from studies.scan.config import ScanConfig
from studies.scan.models import stated_shape
from studies.scan.prepare import prepare
from studies.scan.run import run_scan
from studies.scan.run_key import run_info
from tests.fakes import PlantedOracle, corner_plant
from tests.simkit.search.scans import DRIVER
from tests.simkit.search.test_images import MAKING, PRICE
from tests.studies.scan.test_ledger_run import Stopping
from tests.studies.scans import IMAGES, TemplateNet, arrays, told
from tests.studies.study.detectors import Imagines

SHAPE = (1, 12, 12)
COUNTS: dict[str, Any] = {"search_images": 64, "verify_images": 48}
PATCHES = Preset(RandomPatchConfig(rounds=60), "small_patch", DRIVER, synthesis=MAKING)
SMALL_B3D: dict[str, Any] = {
    "preset": "b3d-ss",
    "search": {"steps": 6, "samples": 10, "grid": 6},
    "synthesis": {"draws": 150, "samples": 8, "steps": 1},
}


def data_free(model: Any = None, **settings: Any) -> ScanResult:
    """A scan that knows the model's image shape and number of classes alone."""
    given = COUNTS | {"preset": PATCHES, "image_shape": SHAPE} | settings
    return scan(TemplateNet(2) if model is None else model, **given)


@pytest.mark.parametrize("target", [None, 2])
def test_a_verdict_without_images(target: int | None) -> None:
    model = TemplateNet(target)
    result = data_free(model)
    assert (result.verdict, result.flagged) == (("clean", ()) if target is None else ("backdoored", (target,)))
    assert (result.image_queries, result.clean_accuracy) == (PRICE, None)
    assert PRICE < result.spent <= model.seen.images
    assert f"synthesised with {PRICE:,} queries" in result.notes
    assert result.to_json()["queries"]["images"] == PRICE


@pytest.mark.parametrize("settings", [{}, SMALL_B3D, SMALL_B3D | {"oracle": "label"}, {"oracle": "top2"}], ids=str)
def test_plain_sql_tells_what_the_images_cost(settings: dict[str, Any], tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    result = data_free(budget=3_000, db=db, **settings)
    with sqlite3.connect(db) as ledger:
        spend = dict(ledger.execute("SELECT purpose, charged FROM spend").fetchall())
        by_state = ledger.execute(
            "SELECT sum(charged) FROM calls JOIN steps ON steps.id = step_id"
            " WHERE json_extract(state, '$.synthesis') IS NOT NULL"
        ).fetchone()
    assert spend["check"] == by_state[0] == result.image_queries > 0
    assert sum(spend.values()) == result.spent
    assert check(db) == []


def test_a_scan_with_images_paid_nothing_for_them() -> None:
    assert scan(TemplateNet(), images=IMAGES, preset="random-patch", budget=300, **COUNTS).image_queries == 0


def test_a_broken_scan_goes_on_and_pays_nothing_twice(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"image_shape": None, "name": "planted"}
    once = data_free(PlantedOracle(plant=corner_plant(3)), **settings)
    victim = Stopping(plant=corner_plant(3))
    for stop_at in (1, 2, 5, 9):
        victim.stop_at = stop_at
        with pytest.raises(KeyboardInterrupt):
            data_free(victim, db=tmp_path / "scan.db", **settings)
    assert _same(once, data_free(victim, db=tmp_path / "scan.db", **settings))
    assert victim.images_seen == once.spent


def _same(one: ScanResult, other: ScanResult) -> bool:
    return told(one) == told(other) and arrays(one) == arrays(other)


@pytest.mark.parametrize("settings", [{}, {"oracle": "noisy"}, {"budget": 400}, {"budget": PRICE + 300}], ids=str)
def test_every_query_is_built_again(settings: dict[str, Any], tmp_path: Path) -> None:
    db = tmp_path / "scan.db"
    result = data_free(db=db, **settings)
    found = replay(db, again=AskAgain(TemplateNet(2)), given=ReplayInputs(own=OwnCode(PATCHES)))
    assert found.holds
    assert (found.rebuilt, found.verdict) == (result.spent, True)
    (reading,) = replayed(db, given=ReplayInputs(own=OwnCode(PATCHES)))
    assert (reading.verdict, reading.spent) == (result.verdict, result.spent)


@pytest.mark.parametrize("settings", [{}, {"synthesis": {"draws": 200, "noise": "white"}}, {"seed": 4}], ids=str)
def test_the_settings_of_a_run_give_its_key_again(settings: dict[str, Any]) -> None:
    told = COUNTS | {"preset": "b3d-ss", "image_shape": SHAPE} | settings
    first = prepare(TemplateNet(), ScanConfig.of(told))
    info = run_info(first.model, first.images, first.config)
    config = stored_config(info)
    assert (config.data, config.image_shape, config.synthesis) == ("synthetic", SHAPE, settings.get("synthesis", {}))
    again = prepare(TemplateNet(), config)
    assert run_info(again.model, again.images, again.config).key == info.key
    command, _ = command_of(info)
    assert command is not None
    assert "--preset b3d-ss" in command
    assert "image_shape=[1, 12, 12]" in command


def test_a_shape_that_the_model_states_and_one_that_is_set_are_the_same_run() -> None:
    keys = set()
    for shape in (None, SHAPE):
        config = ScanConfig.of(COUNTS | {"preset": "b3d-ss", "image_shape": shape, "name": "planted"})
        ready = prepare(PlantedOracle(), config)
        keys.add(run_info(ready.model, ready.images, ready.config).key)
    assert len(keys) == 1


def test_what_makes_other_images_makes_another_run() -> None:
    runs: list[dict[str, Any]] = [{}, {"seed": 1}, {"synthesis": {"draws": 999}}, {"search_images": 65}]
    keys = set()
    for settings in runs:
        ready = prepare(TemplateNet(), ScanConfig.of(COUNTS | {"preset": "b3d-ss", "image_shape": SHAPE} | settings))
        keys.add(run_info(ready.model, ready.images, ready.config).key)
    assert len(keys) == len(runs)


def test_a_scan_with_images_is_known_by_what_it_was_before() -> None:
    identity = ScanConfig.of({"data": "digits"}).identity()
    assert not {"synthesis", "image_shape"} & identity.keys()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image_shape": None}, r"does not state the shape of its images; set image_shape, for example"),
        ({"data": "digits"}, "makes its own images; leave out data"),
        ({"images": IMAGES}, "makes its own images; leave out data"),
        ({"image_size": 8}, "makes its own images; leave out data"),
        ({"image_shape": (1, 12)}, "image_shape"),
        ({"image_shape": (1, 0, 12)}, "image_shape"),
        ({"preset": "b3d"}, "image_shape applies to presets that make images"),
        ({"preset": "b3d", "image_shape": None}, "or choose preset b3d-ss"),
        ({"preset": "b3d", "synthesis": {"draws": 3}}, "makes no images; leave out synthesis"),
        ({"preset": "b3d-ss", "synthesis": {"drawn": 3}}, "synthesis has no setting 'drawn'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_told_before_a_query(settings: dict[str, Any], said: str) -> None:
    model = TemplateNet()
    with pytest.raises(ConfigError, match=said):
        data_free(model, **settings)
    assert model.seen.images == 0


def test_another_shape_than_the_model_states_is_told() -> None:
    with pytest.raises(ConfigError, match=r"but the model takes images \(1, 12, 12\); leave it out"):
        data_free(PlantedOracle(), image_shape=(3, 12, 12))
    with pytest.raises(InvalidSpec, match="give n_classes"):
        data_free(lambda images: images)


def test_a_function_needs_shape_and_classes() -> None:
    victim = PlantedOracle(plant=corner_plant(1))

    def answering(images: Any) -> Any:
        return victim.query(torch.from_numpy(np.asarray(images))).values  # type: ignore[union-attr]

    assert data_free(answering, n_classes=4).flagged == (1,)


@pytest.mark.usefixtures("read_here")
def test_what_states_its_shape(tmp_path: Path, demo_victims: Path) -> None:
    weights = numpy_helper.from_array(np.zeros((64, 10), np.float32), "w")
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    x, y = (helper.make_tensor_value_info(n, 1, s) for n, s in (("x", [8, 1, 8, 8]), ("y", [8, 10])))
    graph = helper.make_graph(nodes, "g", [x], [y], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    script = tmp_path / "m.pt"
    torch.jit.script(nn.Flatten()).save(str(script))  # type: ignore[no-untyped-call]
    assert stated_shape(tmp_path / "m.onnx") == (1, 8, 8)
    assert stated_shape(f"{demo_victims / 'zoo'}:0") == (1, 8, 8)
    assert stated_shape(PlantedOracle()) == SHAPE
    assert stated_shape("python:tests.studies.scan.test_no_images:VICTIM") == SHAPE
    for silent in (TemplateNet(), script, "python:tests.studies.scan.test_no_images:_same"):
        assert stated_shape(silent) is None
    with pytest.raises(ModelError):
        stated_shape(tmp_path / "none.onnx")


VICTIM = PlantedOracle()


def test_a_detector_without_images_says_the_same_as_a_scan() -> None:
    found = detect(DataFreeSearch(PATCHES, 0, 64, 48), TemplateNet(2), image_shape=SHAPE, budget=5_000)
    scanned = data_free(budget=5_000)
    assert (found.verdict, found.flagged, found.spent) == (scanned.verdict, scanned.flagged, scanned.spent)
    assert found.image_queries == PRICE
    assert arrays(found) == arrays(scanned)


def test_a_detector_that_takes_queries_alone_gets_no_images(tmp_path: Path) -> None:
    result = detect(Imagines(), PlantedOracle(), name="planted", db=tmp_path / "detect.db")
    assert (result.verdict, result.spent) == ("clean", 0)
    assert StoredRun.read(tmp_path / "detect.db").info.data == "none"
    with pytest.raises(ConfigError, match="takes no images; leave out data"):
        detect(Imagines(), PlantedOracle(), images=IMAGES)
    with pytest.raises(ConfigError, match="set image_shape"):
        detect(Imagines(), TemplateNet())


def test_a_budget_below_the_price_of_the_images() -> None:
    config = ScanConfig.of(COUNTS | SMALL_B3D | {"image_shape": SHAPE, "budget": 200})
    result = run_scan(prepare(TemplateNet(), config))
    assert (result.verdict, result.stopped, result.spent, result.image_queries) == ("undecided", "budget", 150, 150)
    assert all(c.censored for c in result.classes)
