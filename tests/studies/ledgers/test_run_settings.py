"""Settings out of a ledger: the same run key as before."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from db.records import RunInfo
from db.stored import StoredRun
from simkit.errors import ConfigError
from simkit.search.b3d import B3DConfig
from simkit.search.refine import RefineConfig
from studies.ledgers.run_settings import OwnCode, stored_config
from studies.scan.config import ScanConfig
from studies.scan.prepare import prepare
from studies.scan.run_key import run_info
from tests.studies.own_code import CORNER, Dimmed
from tests.studies.scans import IMAGES, SETTINGS, TemplateNet, scanned

CHANGED: list[dict[str, Any]] = [
    {},
    {"preset": "b3d-slides", "search": {"samples": 7, "sparsity": {"weight": 0.5}}},
    {"preset": "b3d", "oracle": "label", "search": {"mask_limit": None}, "rule": {"threshold": 0.25}},
    {"preset": "random-patch", "driver": {"confirmation": {"works": 0.9}, "first_look": 3}, "seed": 2**63 - 1},
    {"oracle": {"decimals": 2, "top_k": 3, "score_noise": 0.05, "seed": 3}, "budget": 2**60},
    {"preset": "auto", "seed": 5},
    {"preset": "auto", "turns": False},
    {"preset": "auto", "refine": asdict(RefineConfig.within(500))},  # as it was before it asked anything
    {"preset": "auto", "refine": {"standing": {"share": 0.02, "test": {"works": 0.9}}}},
    {"preset": "auto", "refine": 2_000},
    {
        "preset": "b3d",
        "rule": {"name": "anomaly_index", "threshold": 3},
        "mean": 0.5,
        "std": 0.25,
        "output": "logits",
        "chunk": 7,
    },
    {"preset": "race", "rule": {"name": "small_patch"}, "precision": "bfloat16", "search_images": 60},
]


def info_of(settings: dict[str, Any]) -> RunInfo:
    prepared = prepare(TemplateNet(), ScanConfig.of({"verify_images": 48, "search_images": 64} | settings), IMAGES)
    return run_info(prepared.model, prepared.images, prepared.config)


@pytest.mark.parametrize("settings", CHANGED, ids=str)
def test_the_settings_of_a_run_give_its_key_again(settings: dict[str, Any]) -> None:
    info = info_of(settings)
    config = stored_config(info).model_copy(update={"data": ""})
    prepared = prepare(TemplateNet(), config, IMAGES)
    assert run_info(prepared.model, prepared.images, config).key == info.key


def test_only_what_differs_from_the_preset_is_told() -> None:
    config = stored_config(info_of({"preset": "b3d-slides", "search": {"samples": 7, "sparsity": {"weight": 0.5}}}))
    assert config.search == {"samples": 7, "sparsity": {"weight": 0.5}}
    assert config.driver == config.rule == {}
    assert config.data == "planted"


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        ("search.kind", "Theirs", "Theirs"),
        ("search.new", 1, "new"),
        ("driver.new", 1, "new"),
        ("rule.name", "theirs", "theirs"),
        ("new", 1, "new"),
        ("oracle.new", 1, "new"),
        ("search.samples", None, "samples"),
    ],
)
def test_settings_of_other_code_are_one_line(where: str, value: object, told: str) -> None:
    info = info_of({"preset": "b3d-slides"})
    config = json.loads(info.config)
    *path, last = where.split(".")
    table = config[path[0]] if path else config
    table[last] = value
    with pytest.raises(ConfigError, match=told) as raised:
        stored_config(replace(info, config=json.dumps(config)))
    assert "\n" not in str(raised.value)


def test_a_setting_that_the_run_did_not_know_yet() -> None:
    info = info_of({"preset": "b3d-slides"})
    config = json.loads(info.config)
    del config["search"]["samples"]
    with pytest.raises(ConfigError, match=r"search\.samples cannot be restored"):
        stored_config(replace(info, config=json.dumps(config)))


def test_settings_that_miss_a_part_are_one_line() -> None:
    info = info_of({"preset": "b3d-slides"})
    for part in ("restriction", "search", "driver", "rule", "preset"):
        told = {name: value for name, value in json.loads(info.config).items() if name != part}
        with pytest.raises(ConfigError, match="another version of simkit") as raised:
            stored_config(replace(info, config=json.dumps(told)))
        assert "\n" not in str(raised.value)


def test_a_restriction_that_a_run_had_not_is_not_left_unused() -> None:
    with pytest.raises(ConfigError, match="no restriction"):
        stored_config(info_of({"preset": "b3d-slides"}), OwnCode(restriction=Dimmed()))


def test_code_of_ones_own_must_be_given_and_be_the_same() -> None:
    info = info_of({"preset": CORNER, "restriction": Dimmed()})
    config = stored_config(info, OwnCode(CORNER, Dimmed()))
    assert config.preset == CORNER
    assert config.restriction == Dimmed()
    for own, told in [
        (OwnCode(), "restriction|preset"),
        (OwnCode(preset=CORNER), "Dimmed"),
        (OwnCode(replace(CORNER, search=B3DConfig()), Dimmed()), "CornerConfig"),
    ]:
        with pytest.raises(ConfigError, match=told):
            stored_config(info, own)


def test_a_run_read_back_is_the_run_that_was_begun(tmp_path: Path) -> None:
    result = scanned(TemplateNet(target=1), budget=3_000, db=tmp_path / "scan.db")
    run = StoredRun.read(tmp_path / "scan.db")
    assert (run.id, run.state, run.queries) == (result.run, "done", result.spent)
    config = stored_config(run.info).model_copy(update={"data": ""})
    prepared = prepare(TemplateNet(target=1), config, IMAGES)
    assert run_info(prepared.model, prepared.images, config).key == run.info.key
    assert config.preset == SETTINGS["preset"]
