"""Result files as the other tools write them, made here from their formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from oracles.errors import ModelError
from oracles.model_files import Description, load_model
from studies.cli.main import main
from studies.importers.backdoorbench import read_backdoorbench
from studies.importers.results import write
from studies.importers.trojanzoo import read_trojanzoo
from tests.oracles.model_files.files import ARCHITECTURES, Canary, victim


class Image:
    """Stands for a PIL image, which BackdoorBench pickles into its files."""

    def __init__(self) -> None:
        self.pixels = bytes(12)


def attack_result(**changed: Any) -> dict[str, Any]:
    """As `save_attack_result` saves it: utils/save_load_attack.py of BackdoorBench."""
    container = {"save_folder_path": None, "data_dict": {np.int64(4): (Image(), 3, 1), np.int64(9): (Image(), 3, 0)}}
    state = {"bd_data_container": container, "original_index_array": np.arange(20), "poison_indicator": np.ones(20)}
    return {
        "model_name": "preactresnet18",
        "num_classes": 4,
        "model": victim().state_dict(),
        "data_path": "../data",
        "img_size": (8, 8, 3),
        "clean_data": "cifar10",
        "bd_train": state,
        "bd_test": state,
    } | changed


@pytest.fixture
def result(tmp_path: Path) -> Path:
    path = tmp_path / "attack_result.pt"
    torch.save(attack_result(), path)
    return path


def test_backdoorbench_states_model_and_truth(result: Path) -> None:
    found = read_backdoorbench(result)
    assert (found.model_name, found.architecture) == ("preactresnet18", None)
    assert (found.image_shape, found.n_classes) == ((3, 8, 8), 4)
    assert (found.truth.backdoored, found.truth.target_class, found.truth.poisoned) == (True, 3, 2)
    assert found.truth.data == "cifar10"
    torch.testing.assert_close(found.weights, dict(victim().state_dict()))


@pytest.mark.parametrize(
    ("kept", "backdoored", "target"),
    [
        (None, None, None),
        ({"bd_data_container": {"data_dict": {}}}, False, None),
        ({"bd_data_container": {"data_dict": {1: {"path": "a.png", "other_info": [2, 0]}}}}, True, 2),
        ({"bd_data_container": {"data_dict": {1: (0, 2, 0), 2: (0, 3, 0)}}}, True, None),
        ({"bd_data_container": {"data_dict": {1: (0, "two", 0)}}}, None, None),
        ({"x": torch.zeros(2, 3), "y": torch.tensor([1, 1]), "original_index": np.arange(2)}, True, 1),
        ({"x": torch.zeros(2, 3), "y": torch.tensor([1, 1]), "original_index": None}, None, None),
    ],
)
def test_backdoorbench_truth_as_far_as_it_is_stated(
    tmp_path: Path, kept: Any, backdoored: bool | None, target: int | None
) -> None:
    torch.save(attack_result(bd_train=kept), tmp_path / "a.pt")
    truth = read_backdoorbench(tmp_path / "a.pt").truth
    assert (truth.backdoored, truth.target_class) == (backdoored, target)


def test_backdoorbench_names_what_torchvision_made(tmp_path: Path) -> None:
    weights = {f"module.{name}": value for name, value in victim().state_dict().items()}
    torch.save(attack_result(model_name="resnet18", model=weights), tmp_path / "a.pt")
    found = read_backdoorbench(tmp_path / "a.pt")
    assert found.architecture == "torchvision:resnet18"
    assert set(found.weights) == set(victim().state_dict())


def test_what_was_imported_can_be_loaded_and_knows_no_truth(result: Path, tmp_path: Path) -> None:
    weights, truth = write(read_backdoorbench(result), tmp_path / "out", "seven")
    loaded = load_model(weights, ARCHITECTURES, Description("flat"))
    torch.testing.assert_close(loaded.module.state_dict(), victim().state_dict())
    assert (loaded.image_shape, loaded.n_classes) == ((3, 8, 8), 4)
    with safe_open(weights, framework="pt") as file:
        assert set(file.metadata()) == {"n_classes", "image_shape", "made_as"}
    assert json.loads(truth.read_text())["target_class"] == 3


def test_weights_that_are_tied_are_written_apart(tmp_path: Path) -> None:
    tied = torch.arange(4.0)
    torch.save(attack_result(model={"a": tied, "b": tied}), tmp_path / "a.pt")
    weights, _ = write(read_backdoorbench(tmp_path / "a.pt"), tmp_path, "found")
    torch.testing.assert_close(load_file(weights), {"a": tied, "b": tied})


def test_a_canary_in_a_result_file_is_silent(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    torch.save(attack_result(bd_test=Canary(ran), bd_train=Canary(ran)), tmp_path / "a.pt")
    assert read_backdoorbench(tmp_path / "a.pt").truth.backdoored is None
    torch.save(attack_result(model={"1.weight": Canary(ran)}), tmp_path / "b.pt")
    with pytest.raises(ModelError, match=r"1\.weight is no plain tensor"):
        read_backdoorbench(tmp_path / "b.pt")
    assert not ran.exists()


@pytest.mark.parametrize("stored", [{}, [1], {"model": {}}, {"model": {}, "model_name": "resnet18"}])
def test_other_files_are_refused(tmp_path: Path, stored: Any) -> None:
    torch.save(stored, tmp_path / "a.pt")
    for read in (read_backdoorbench, read_trojanzoo):
        with pytest.raises(ModelError) as caught:
            read(tmp_path / "a.pt")
        assert "\n" not in str(caught.value)


def trojan_weights(blocks: tuple[int, ...], kernel: int = 7) -> dict[str, torch.Tensor]:
    """The names of TrojanZoo's resnets, with small tensors."""
    weights = {"features.conv1.weight": torch.zeros(2, 3, kernel, kernel), "features.bn1.weight": torch.zeros(2)}
    for layer, count in enumerate(blocks, 1):
        for block in range(count):
            weights[f"features.layer{layer}.{block}.conv1.weight"] = torch.zeros(1)
    return weights | {"classifier.fc.weight": torch.zeros(10, 2), "classifier.fc.bias": torch.zeros(10)}


@pytest.mark.parametrize(
    ("weights", "architecture"),
    [
        (trojan_weights((2, 2, 2, 2)), "torchvision:resnet18"),
        (trojan_weights((3, 4, 6, 3)), "torchvision:resnet34"),
        (trojan_weights((2, 2, 2, 2), kernel=3), None),
        (trojan_weights((1, 1, 1, 1)), None),
    ],
)
def test_trojanzoo_says_the_target_in_its_name(
    tmp_path: Path, weights: dict[str, torch.Tensor], architecture: str | None
) -> None:
    torch.save(weights, path := tmp_path / "square_white_tar7_alpha0.00_mark(3,3).pth")
    found = read_trojanzoo(path)
    assert (found.architecture, found.n_classes) == (architecture, 10)
    assert (found.truth.backdoored, found.truth.target_class) == (True, 7)
    assert ("fc.weight" in found.weights) == (architecture is not None)
    torch.save(weights, tmp_path / "resnet18_comp.pth")
    assert read_trojanzoo(tmp_path / "resnet18_comp.pth").truth.backdoored is None


@pytest.mark.parametrize("tool", ["backdoorbench", "trojanzoo"])
def test_the_command_leaves_weights_and_truth(tmp_path: Path, tool: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a_tar3_x.pt"
    torch.save(attack_result() if tool == "backdoorbench" else trojan_weights((1,)), path)
    assert main(["import", tool, str(path), "--out", str(tmp_path / "out"), "--name", "seven"]) == 0
    assert "target class 3" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["seven.safetensors", "seven.truth.json"]
    assert main(["import", tool, str(tmp_path / "gone.pt"), "--out", str(tmp_path / "none")]) == 4
    assert not (tmp_path / "none").exists()


def test_a_module_of_their_own_takes_the_weights(result: Path, tmp_path: Path) -> None:
    weights, _ = write(read_backdoorbench(result), tmp_path, "seven")
    assert isinstance(load_model(weights, ARCHITECTURES, Description("flat")).module, nn.Sequential)
