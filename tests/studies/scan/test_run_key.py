"""Run keys are promises: a finished scan is found again by its key, whatever file its classes live in by then."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from db.stored import StoredRun
from oracles.torch_model import TorchOracle
from simkit.detectors.registry import current_settings
from simkit.search.images import ScanImages
from simkit.search.presets import PRESETS, Preset
from simkit.search.race import RaceConfig
from simkit.search.refine import RefineConfig
from simkit.search.turns import Turns
from studies.ledgers.run_settings import stored_config
from studies.scan import run_key
from studies.scan.canonical import canonical
from studies.scan.config import ScanConfig
from studies.scan.models import OpenedModel
from studies.scan.run_key import run_info, settings_of
from tests.fakes import planted_images
from tests.studies.scans import TemplateNet, scanned

PINNED = {
    ("b3d-slides", "scores"): "5fddb7d51d3e51783b81130be1d47e52b408512d8451259a6906e19e0267d170",
    ("b3d-slides", "label"): "d8a872f7d0c943ec1fe416b37b44531e01c1b52c57a41711de4fdee319f6f225",
    ("b3d", "scores"): "37275b5e791a80975f8692845d7d49e81b3a3d4a67c99431b941c6d1d0b28999",
    ("b3d", "label"): "0086aa57e8277ea2b519a70d83f9af4126969a47ec51a5b371e40b1c0e49d043",
    ("b3d-ss", "scores"): "5f2da6bfa2574407abd5e7d7a26e79f61daadcd102931c75feaf9d82fe48edf3",
    ("b3d-ss", "label"): "04bdfb9dbb59a203f4fd4ba9d8c5c3a39dafd50aae390eafe1344b1b1fdccc0b",
    ("race", "scores"): "b8bfc0b11a29e52d2a7296fb0b713fd2786810d049c07197bd7a6db492cb89ff",
    ("race", "label"): "ada55326c718b85e580862456bee59033497bcd1064325d2d2fe5e207de658b5",
    ("race-wide", "scores"): "12aab789451ceb408d7b60f4ee057f164a4644b437eefdb57d282fea9c20f036",
    ("race-wide", "label"): "00632d59d815580c8581786006c77e58e86eeb2169ec1510c08cc22d46595d33",
    ("random-patch", "scores"): "bffc34e694bd7b75a5f0a29c2bd428e74df1632113e26274792c968c9cec4315",
    ("random-patch", "label"): "5f98b379b86002a5d37088fff47207a2bc948e2e5a605fb67a817da381e5e1fb",
    ("annealing", "scores"): "0c6540ee0fd81f30f5e4dce924c7bce843c96336b4a753daf98d3d45ddf6abe8",
    ("annealing", "label"): "3234e96e677bb85d471b809931c74eedcbb79b502722854370f557764ac348cf",
}
"""By preset and oracle, as they were before the modules of `simkit.search` were moved."""

BEFORE = Path(__file__).parent / "ledgers_before" / "wings.db"
"""A scan of each kind of search, made at commit 1b4917f; see the README.md beside it."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pinned key and the ledger were made in this environment."""
    with closing(sqlite3.connect(f"file:{BEFORE}?immutable=1", uri=True)) as ledger:
        stored = json.loads(ledger.execute("SELECT environment FROM runs").fetchone()[0])
    monkeypatch.setattr(run_key, "version", lambda _: stored["simkit"])
    monkeypatch.setattr(torch, "__version__", stored["torch"])
    monkeypatch.setattr(torch, "get_num_threads", lambda: stored["threads"])
    monkeypatch.setattr(np, "__version__", stored["numpy"])


REFINES = ("auto", "race-wide", "race-families", "race-mosaics", "race-warps", "race-pictures", "b3d")

ROUNDS: dict[str, Any] = {
    **{"fresh": 4, "children": 12, "retests": 12, "clean_rounds": 15},
    **{"test": {"alpha": 0.01, "beta": 0.01}, "test_batch": 4},
}
"""The rounds of `race`, and so of the first stage of `auto`, before they were small."""

FORMER: dict[tuple[str, str], dict[str, Any]] = {
    **{("race-wide", oracle): {"refine": {"queries": 4000}} for oracle in ("scores", "label")},
    ("race", "scores"): {"search": {"clean_from": 1200, **ROUNDS}},
    ("race", "label"): {"search": {"clean_from": 1200, "clean_value": 0.21}},
    ("b3d", "scores"): {"refine": 0, "search": {"samples": 50, "steps": 114, "check_every": 10, "learning_rate": 0.2}},
    ("b3d", "label"): {
        "refine": 0,
        "search": {"samples": 100, "steps": 120, "check_every": 10, "sparsity": {"mode": "proportional"}},
        "rule": {"name": "below_median"},
    },
}
"""The settings that were the default before."""

_WARPS_LAST = replace(PRESETS["race-warps"], turns=Turns((1000,)))
THREE_RACES = replace(
    PRESETS["race"],
    search=RaceConfig(),
    labels=RaceConfig(queries=3000),
    refine=RefineConfig.within(500),
    turns=Turns((1000, 2000)),
    then=replace(PRESETS["race-families"], turns=Turns((1000,)), then=_WARPS_LAST),
)
"""`auto` before refinement could take a detection back, and before it raced pictures."""

SINCE = {
    ("b3d", "scores"): "44d28dbe09e81f4bdee83859875c94ca4750bc9bb3a40dfd98067be56ba278d3",
    ("b3d", "label"): "20eb56bdaac8fde378df52bd4b5f11729e6d2cf8b6cf9a07dfeaa6303c2446f9",
    ("race", "scores"): "687060638f7f17fcf284f16dc2ecf92d214eb70846d286a92b1a7325692c7622",
    ("race", "label"): "7ad497eab7f4cbdda841abfd09d1ff52322bea1cf8ddd4ca2ab931d18b93aa9a",
    ("race-wide", "scores"): "f3d92923c9a991a69e5fbcb418b62b691b0ac2b60195284a8801397226db4d7b",
    ("race-wide", "label"): "2b2ee0e68884e48066b3152adaa216be36db5ab2e1c243e2d0f53810daed5ada",
    ("race-families", "scores"): "bc710010f1d62eb618ba428e7e70111a581c94cc666f829ea4849a7b3486b290",
    ("race-families", "label"): "ba747e2dadb255b42cf520a4b842f088fd799898f92141759956991132a5fe8f",
    ("race-mosaics", "scores"): "a0dbbd61042c09cbeca11d62800261aba07587a2e4df7def41bfcad772a6498e",
    ("race-mosaics", "label"): "f5bcc7b4e8fee59ca97d25f71989aa3be72f4316c86f5872d7221021c1d04dbe",
    ("race-warps", "scores"): "280580e566466f28de40c71feef30ae2e46c1b2cb8dbe1959d977b1d867b8efb",
    ("race-warps", "label"): "aa2904af9ebdc88eb7f76b24cff52d1330ebe885510022a8f547c25d455210db",
    ("race-pictures", "scores"): "9a6b52697a3cb30474da70308089bb832742968f901c00c4e2b2d75e8e8f2d18",
    ("race-pictures", "label"): "e744a9e210ff6e0727887c730899ba4a95711840da83e0dc5f314ac502d0d61a",
    ("race-sources", "scores"): "59aa28ef4201bd6e4ae00c4b12b61662bc77843f284a5256812f762caa33b725",
    ("race-sources", "label"): "4a1da57bfa22549d58f73e0d2654b9c7f5c699382b63579aeb0613e0b63f9d44",
    ("auto", "scores"): "78fa4851434419fb22d6012c0faa52a3fd5806430b1b8d9d9fe7d80ecbae6c99",
    ("auto", "label"): "f398dc8292a947e188e47163986b0877f68b83517ec1b92b244ed1c68e3dd945",
}


def key_of(preset: str | Preset, oracle: str = "scores", **settings: Any) -> str:
    images = planted_images(12)
    model = OpenedModel(TorchOracle(TemplateNet(), images.image_shape, n_classes=4), "net", "5" * 64)
    shape = {"image_shape": images.image_shape} if preset == "b3d-ss" else {}
    config = ScanConfig.of({"preset": preset, "budget": 1000, "oracle": oracle, **shape, **settings})
    return run_info(model, ScanImages(images, images), config).key


@pytest.mark.parametrize(("preset", "oracle"), PINNED)
def test_the_key_of_a_preset_stays_what_it_was(preset: str, oracle: str) -> None:
    assert key_of(preset, oracle, **FORMER.get((preset, oracle), {})) == PINNED[preset, oracle]


@pytest.mark.parametrize(("preset", "oracle"), PINNED | SINCE)
def test_the_key_of_a_preset_is_that_of_its_settings_today(preset: str, oracle: str) -> None:
    assert key_of(preset, oracle) == (PINNED | SINCE)[preset, oracle]


@pytest.mark.parametrize(
    ("oracle", "key"),
    [
        ("scores", "374b3a2b35e8ba4e99762d330cc9065b30d8adfb822578a07e527591bf841339"),
        ("label", "e77bbf16fc9e3e53ae35b438f1b4306aeb05ffebe9c9bdf7756ce47f60366a00"),
    ],
)
def test_stages_one_after_another_have_the_key_from_before_they_took_turns(oracle: str, key: str) -> None:
    assert key_of(THREE_RACES, oracle, turns=False) == key
    assert settings_of(ScanConfig.of({"preset": "race", "turns": False})) == settings_of(
        ScanConfig.of({"preset": "race"})
    )


@pytest.mark.parametrize(
    ("oracle", "key"),
    [
        ("scores", "6bf2d80fe60326be8dd29ad99d6de60daca7b90adddd724a19f5fbe120230575"),
        ("label", "208630b610350ac3e92b794687b549ffe549aa3bc856d2f914ac6cc1d976f2d6"),
    ],
)
def test_settings_that_came_later_are_in_the_key_only_where_they_are_set(oracle: str, key: str) -> None:
    assert key_of(THREE_RACES, oracle) == key


@pytest.mark.parametrize("preset", PRESETS)
def test_a_refinement_is_in_the_key_only_as_what_it_resolves_to(preset: str) -> None:
    shape = {"image_shape": (1, 12, 12)} if preset == "b3d-ss" else {}
    plain, none, set_so, more = (
        settings_of(ScanConfig.of({"preset": preset, **shape, "refine": refine})) for refine in (None, 0, 500, 2_000)
    )
    assert (plain == set_so, plain == none) == (preset in REFINES, preset not in REFINES)
    assert "refine" not in canonical(none)
    assert more["refine"]["queries"] < 2_000


NEW_SETTINGS = {"output_item": 1, "input_layout": "nhwc", "input_dtype": "uint8"}


@pytest.mark.parametrize("name", NEW_SETTINGS)
def test_a_later_setting_is_in_the_key_only_where_it_is_set(name: str) -> None:
    plain = ScanConfig.of({"budget": 1000})
    assert name not in canonical(settings_of(plain))
    assert settings_of(ScanConfig.of({"budget": 1000, name: None})) == settings_of(plain)
    given = ScanConfig.of({"budget": 1000, name: NEW_SETTINGS[name]})
    assert json.loads(canonical(settings_of(given)))[name] == str(NEW_SETTINGS[name])


def test_a_currency_is_in_the_key_only_where_it_is_set() -> None:
    priced = {"price_per_thousand": 1.5}
    plain, stated = (ScanConfig.of({"oracle": priced | more}) for more in ({}, {"currency": "USD"}))
    assert "currency" not in canonical(settings_of(plain)) + plain.oracle.to_json()
    assert json.loads(canonical(settings_of(stated)))["oracle"]["currency"] == "USD"


def test_a_detector_of_probing_is_in_the_key_only_where_it_is_set() -> None:
    watch = {"detector": "piha", "action": "ban"}
    plain, watched = (ScanConfig.of({"budget": 1000, "oracle": {"top_k": 3, **w}}) for w in ({}, {"watch": watch}))
    assert "watch" not in canonical(settings_of(plain))
    stored = json.loads(canonical(settings_of(watched)))["oracle"]["watch"]
    assert {name: stored[name] for name in watch} == watch


def test_every_preset_is_pinned() -> None:
    assert {preset for preset, _ in PINNED | SINCE} == set(PRESETS)


@pytest.mark.parametrize(("preset", "budget"), [("race", 400), ("b3d", 60), ("b3d-slides", 60)])
def test_a_scan_finished_before_the_move_is_answered_without_a_query(tmp_path: Path, preset: str, budget: int) -> None:
    shutil.copy(BEFORE, tmp_path / "before.db")
    model = TemplateNet(1)
    settings: dict[str, Any] = {"search": {}, "search_images": 16, "verify_images": 16}
    settings |= FORMER.get((preset, "scores"), {})
    driver = {"check_images": 16}
    result = scanned(model, preset=preset, budget=budget, db=tmp_path / "before.db", driver=driver, **settings)
    assert (model.seen.images, result.spent) == (0, 396 if preset == "race" else 16)


def test_runs_of_renamed_presets_are_read_by_todays_names(tmp_path: Path) -> None:
    shutil.copy(BEFORE, tmp_path / "before.db")
    infos = [StoredRun.read(tmp_path / "before.db", run).info for run in (1, 2, 3)]
    configs = [stored_config(info) for info in infos]
    assert [config.preset_name for config in configs] == ["race", "b3d", "b3d-slides"]
    stored = [current_settings(json.loads(info.config)) for info in infos]
    assert [json.loads(canonical(settings_of(config))) for config in configs] == stored
