"""The command that a report prints gives the run it stands for."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest
import torch

from db.records import RunInfo
from simkit.errors import ConfigError
from studies.cli.main import main
from studies.ledgers.run_words import answered_in_words, command_of, detector_of, oracle_in_words, settings_of
from studies.scan.config import ScanConfig
from tests.studies.report.ledgers import Kept, config_json, info_of


def parsed(command: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ScanConfig]:
    """The model and the config that `simkit` makes of a command line; nothing is scanned."""
    seen: list[tuple[str, ScanConfig]] = []

    def prepare(model: str, config: ScanConfig) -> None:
        seen.append((model, config))
        raise ConfigError("enough")

    monkeypatch.setattr("studies.scan.prepare.prepare", prepare)
    program, *arguments = shlex.split(command)
    assert program == "simkit"
    assert main(arguments) == 2
    return seen[0]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"preset": "auto"},
    {"preset": "random-patch", "oracle": "top3", "seed": 7},
    {"oracle": "label", "search": {"steps": 90, "sparsity": {"weight": 2e-3, "mode": "patience", "patience": 3}}},
    {"oracle": "noisy", "budget": None, "precision": "bfloat16", "chunk": 32},
    {"oracle": {"decimals": 2, "score_noise": 0.05, "seed": 3}, "preset": "b3d-slides"},
    {"mean": (0.5, 0.25, 0.125), "std": (0.1, 1e-9, 0.3), "output": "logits", "architecture": "conv4"},
    {"output_item": "scores", "input_layout": "nhwc", "input_dtype": "uint8"},
    {"search_images": 64, "verify_images": 32, "search": {"grid": None}, "driver": {"confirmation": {"works": 0.9}}},
    {"preset": "random-patch", "rule": {"name": "anomaly_index", "threshold": 2.5}, "driver": {"look_every": 3}},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_command_gives_the_same_identity(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    info = info_of(Kept(model="a folder/it's.safetensors", settings=settings))
    command, _ = command_of(info)
    assert command is not None
    model, config = parsed(command, monkeypatch)
    assert (model, config.data) == (info.model, info.data)
    assert config_json(**config.model_dump()) == info.config
    assert torch.get_num_threads() == json.loads(info.environment)["threads"]


def test_a_plain_scan_has_a_plain_command() -> None:
    command, _ = command_of(info_of(Kept()))
    options = "--data digits --budget 1000 --oracle scores --preset b3d --seed 0 --threads 1"
    assert command == f"simkit scan model.safetensors {options}"


@pytest.mark.parametrize(
    "model", ["http://127.0.0.1:8765/v2/models/net", "hf:https://models.example/net", "template:service.toml"]
)
def test_the_command_of_a_remote_scan_has_a_place_for_the_key(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command, _ = command_of(info_of(Kept(model=model)))
    assert command is not None
    assert command.endswith(" --api-key-env NAME_OF_VARIABLE")
    seen, config = parsed(command, monkeypatch)
    assert (seen, config.remote.key_env) == (model, "NAME_OF_VARIABLE")


@pytest.mark.parametrize(
    "config", ["{}", "[]", '{"preset":"gone","oracle":{}}', '{"preset":"b3d-slides","oracle":{"x":1}}']
)
def test_a_config_of_another_simkit_has_no_command(config: str) -> None:
    info = replace(info_of(Kept()), config=config)
    command, why = command_of(info)
    assert command is None
    assert why
    assert not any(setting.changed for setting in settings_of(info))


def test_a_searcher_that_the_preset_has_not_has_no_command() -> None:
    info = info_of(Kept())
    config = json.loads(info.config)
    config["search"]["kind"] = "Other"
    command, why = command_of(replace(info, config=json.dumps(config)))
    assert command is None
    assert "Other" in why


def test_another_detector_has_its_name_and_no_command() -> None:
    service = ScanConfig.of({"budget": 5}).service()
    info = replace(info_of(Kept()), config=json.dumps(service | {"detector": {"kind": "mine.TriggerSearch"}}))
    assert detector_of(info) == "TriggerSearch"
    command, why = command_of(info)
    assert command is None
    assert "mine.TriggerSearch" in why


def test_settings_that_differ_from_the_preset_are_marked() -> None:
    settings = {s.name: s for s in settings_of(info_of(Kept(settings={"search": {"sparsity": {"weight": 5e-3}}})))}
    assert [name for name, s in settings.items() if s.changed] == ["search.sparsity.weight"]
    assert settings["search.sparsity.weight"].value == "0.005"
    assert settings["budget"].value == "1000"


@pytest.mark.parametrize(
    ("oracle", "words"),
    [
        ("{}", "scores"),
        ('{"label_only": true, "seed": 0}', "label"),
        ('{"top_k": 3}', "top3"),
        ('{"decimals": 2, "quantized": true}', "decimals 2, quantized"),
        ('{"of_another_simkit": 5}', "of_another_simkit 5"),
    ],
)
def test_the_service_in_words(oracle: str, words: str) -> None:
    info: RunInfo = replace(info_of(Kept()), oracle=oracle)
    assert oracle_in_words(info) == words


@pytest.mark.parametrize(
    ("oracle", "codecs", "words"),
    [
        ({}, (), "scores"),
        ({}, ("scores/10/0.0",), "scores"),
        ({}, ("topk/10/3/0.0", "topk/10/12/0.0", "topk/10/2/0.1"), "top12"),
        ({"label_only": True}, ("labels/10",), "label"),
        ({}, ("scores/10/0.0", "topk/10/3/0.0"), "scores"),
        ({"top_k": 3}, ("topk/10/2/0.0",), "top3"),
        ({"decimals": 2}, ("topk/10/3/0.005",), "decimals 2"),
        ({}, ("something",), "scores"),
        ({}, ("topk",), "scores"),
        ({}, ("topk/x/y/z",), "scores"),
        ({}, ("topk/10/3/0.0", "topk/10"), "scores"),
        ({}, (f"topk/10/{'9' * 5000}/0.0",), "scores"),
    ],
)
def test_a_service_that_is_not_restricted_is_named_by_its_answers(
    oracle: dict[str, Any], codecs: tuple[str, ...], words: str
) -> None:
    assert answered_in_words(oracle, codecs) == words
