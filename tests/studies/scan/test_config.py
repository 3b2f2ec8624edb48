"""Settings of a scan: what goes over a preset, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracles.errors import InvalidSpec
from oracles.spec import OracleSpec
from simkit.errors import ConfigError
from simkit.search.b3d import B3DConfig
from simkit.search.presets import PRESETS
from simkit.search.refine import RefineConfig
from studies.scan.config import ScanConfig
from studies.scan.fields import with_fields


def test_settings_go_over_the_preset_and_leave_it_alone() -> None:
    config = ScanConfig.of(
        {"preset": "b3d-slides", "search": {"samples": 7, "sparsity": {"weight": 0.5}}, "driver": {"first_look": 3}}
    )
    resolved = config.resolved()
    assert isinstance(resolved.search, B3DConfig)
    assert (resolved.search.samples, resolved.search.images, resolved.search.sparsity.weight) == (7, 128, 0.5)
    assert resolved.driver.first_look == 3
    assert PRESETS["b3d-slides"].search == B3DConfig()


@pytest.mark.parametrize("told", [48, "48", "48,48", [48, 48]])
def test_an_image_size_in_every_form(told: object) -> None:
    assert ScanConfig.of({"image_size": told}).image_size == (48, 48)


@pytest.mark.parametrize("told", [0, "48x48", [1, 2, 3]])
def test_an_image_size_that_is_none(told: object) -> None:
    with pytest.raises(ConfigError, match="image_size"):
        ScanConfig.of({"image_size": told})


def test_a_threshold_that_is_set_says_so() -> None:
    assert ScanConfig.of({"preset": "b3d-slides"}).resolved_rule().source != "set for this run"
    rule = ScanConfig.of({"preset": "b3d-slides", "rule": {"name": "anomaly_index", "threshold": 3}}).resolved_rule()
    assert (rule.name, rule.threshold, rule.source) == ("anomaly_index", 3.0, "set for this run")


@pytest.mark.parametrize("oracle", ["top3", {"top_k": 3}, OracleSpec(top_k=3)])
def test_an_oracle_in_every_form(oracle: object) -> None:
    assert ScanConfig.of({"oracle": oracle}).oracle == OracleSpec(top_k=3)


def test_paths_are_as_good_as_their_text(tmp_path: Path) -> None:
    (tmp_path / "service.toml").write_text("top_k = 2")
    config = ScanConfig.of({"data": tmp_path / "images.npz", "oracle": tmp_path / "service.toml"})
    assert (config.data, config.oracle) == (str(tmp_path / "images.npz"), OracleSpec(top_k=2))


@pytest.mark.parametrize(("value", "numbers"), [("0.5,0.25", (0.5, 0.25)), (0.5, (0.5,)), ([1, 2], (1.0, 2.0))])
def test_means_in_every_form(value: object, numbers: tuple[float, ...]) -> None:
    assert ScanConfig.of({"mean": value, "std": value}).mean == numbers


@pytest.mark.parametrize(
    "settings",
    [
        {"budget": 0},
        {"budget": 1.5},
        {"seed": -1},
        {"search_images": 0},
        {"preset": "none"},
        {"search": {"sampels": 1}},
        {"search": {"samples": 0}},
        {"search": {"sparsity": {"wait": 1}}},
        {"driver": {"first_look": "soon"}},
        {"rule": {"threshhold": 1}},
        {"rule": {"name": "none"}},
        {"rule": {"threshold": "low"}},
        {"nonsense": 1},
        {"rule": {"threshold": float("nan")}},
        {"search": {"sigma": float("nan")}},
        {"search": {"learning_rate": float("inf")}},
        {"search": {"mask_init": float("nan")}},
        {"search": {"sparsity": {"weight": float("nan")}}},
        {"driver": {"confirmation": {"works": float("nan")}}},
    ],
    ids=str,
)
def test_what_is_wrong_is_told_in_one_line(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as told:
        ScanConfig.of(settings)
    assert "\n" not in str(told.value)


def test_a_wrong_oracle_is_the_oracles_error() -> None:
    with pytest.raises(InvalidSpec, match="top_k"):
        ScanConfig.of({"oracle": {"top_k": 0}})
    with pytest.raises(InvalidSpec, match="mean and std"):
        ScanConfig.of({"mean": 1})


def test_the_identity_is_json_and_has_every_setting_of_the_search() -> None:
    identity = ScanConfig.of({"data": "digits", "name": "mine", "preset": "b3d-slides"}).identity()
    assert json.loads(json.dumps(identity, allow_nan=False))["search"]["samples"] == 50
    assert identity["search"]["kind"] == "simkit.search.b3d_config.B3DConfig"
    assert identity["search"]["sparsity"]["weight"] == B3DConfig().sparsity.weight
    assert not {"data", "name"} & set(identity)
    same = ScanConfig.of({"preset": "b3d-slides", "search": {"samples": 50}}).identity()
    assert same == identity


def test_fields_are_checked_against_their_types() -> None:
    with pytest.raises(ConfigError, match=r"search\.baseline"):
        with_fields(B3DConfig(), {"baseline": "some"}, "search")


WRONG_NUMBERS = [True, False, 5.0, 2.5, math.nan, "5", b"5", [5], 1j, np.float32(4.0), np.array([1, 2])]


@pytest.mark.parametrize("wrong", WRONG_NUMBERS, ids=repr)
@pytest.mark.parametrize(
    "field", ["budget", "seed", "search_images", "verify_images", "chunk", "batch_limit", "n_classes"]
)
def test_only_whole_numbers_count(field: str, wrong: object) -> None:
    with pytest.raises(ConfigError, match=rf"{field}.*give a whole number"):
        ScanConfig.of({field: wrong})


@pytest.mark.parametrize("wrong", WRONG_NUMBERS, ids=repr)
def test_the_settings_of_a_search_count_in_whole_numbers_too(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"search.samples = .*: give a whole number"):
        ScanConfig.of({"preset": "b3d", "search": {"samples": wrong}})


def test_narrow_integers_are_numbers_of_any_size() -> None:
    config = ScanConfig.of({"budget": np.int8(100), "search": {"first": np.uint8(200)}})
    assert (config.budget, type(config.budget)) == (100, int)
    assert config.identity() == ScanConfig.of({"budget": 100, "search": {"first": 200}}).identity()


@pytest.mark.parametrize(
    ("refine", "said"),
    [
        (-1, "refine"),
        (1, "refine=1: a refinement takes 192 queries or more; give 0 for none"),
        (2.5, "refine"),
        ({"querys": 9}, "refine has no setting 'querys'"),
        ({"queries": 0}, "queries and verify_images of 1 or more"),
    ],
    ids=str,
)
def test_a_wrong_refinement_is_refused_before_a_query(refine: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ScanConfig.of({"data": "digits", "refine": refine})


@pytest.mark.parametrize(("oracle", "last"), [("scores", "race-mosaics"), ("label", "race-pictures")])
def test_the_stages_are_named_as_they_run(oracle: str, last: str) -> None:
    config, shape = ScanConfig.of({"data": "digits", "oracle": oracle}), (3, 32, 32)
    names = config.stage_names(shape)
    assert names[-1] == last
    assert len(names) == len(config.course(shape).stages)
    assert config.stage_names((1, 8, 8)) == ("race", "race-families")


def test_a_refinement_is_that_of_every_stage_that_refines() -> None:
    def within(preset: str, refine: object) -> list[int | None]:
        stages = ScanConfig.of({"data": "digits", "preset": preset, "refine": refine}).resolved().stages
        return [None if stage.refine is None else stage.refine.queries for stage in stages]

    some = RefineConfig.within(800).queries
    assert within("auto", 800) == [some] * 5
    assert within("auto", 0) == [None] * 5
    assert within("race", 800) == within("b3d", 800) == [some]
    assert within("race", None) == [None]
    assert within("race-wide", {"queries": 4000}) == [4000]
