"""Weights out of the checkpoints that training scripts write."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.testing import assert_close

from oracles.errors import ModelError
from oracles.model_files import Description, load_model
from oracles.model_files.checkpoints import named_for, nearest, shortened, weights_in
from oracles.oracle import ImageShape

State: TypeAlias = dict[str, torch.Tensor]
SHAPE, TOLD = (3, 8, 8), Description("net", (3, 8, 8), 4)


def net(_shape: ImageShape = SHAPE, n_classes: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, n_classes))


STATE: State = {name: torch.rand(t.shape) if t.ndim else t for name, t in net().state_dict().items()}


def renamed(prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in STATE.items()}


CHECKPOINTS: dict[str, Any] = {
    "plain": STATE,
    "model": {"model": STATE, "epoch": 3},
    "net": {"net": STATE, "acc": 0.9, "epoch": 3},
    "network": {"network": STATE},
    "nested twice": {"model": {"state_dict": STATE, "step": 1}},
    "the average beside it": {"ema": renamed("other."), "model": STATE},
    "torch.compile": renamed("_orig_mod."),
    "both wrappers": renamed("module._orig_mod."),
    "Lightning": {"state_dict": renamed("model."), "pytorch-lightning_version": "2.5"},
    "an attribute of one's own": renamed("backbone.net."),
    "averaged": AveragedModel(net()).state_dict() | renamed("module."),
    "averaged, under a key": {"model": AveragedModel(net()).state_dict() | renamed("module.")},
    "without some counters": {name: tensor for name, tensor in STATE.items() if name != "1.num_batches_tracked"},
    "before 0.4.1": {name: tensor for name, tensor in STATE.items() if "num_batches" not in name},
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_shape_of_checkpoint_is_loaded(name: str, tmp_path: Path) -> None:
    torch.save(CHECKPOINTS[name], tmp_path / "a.pth")
    assert_close(load_model(tmp_path / "a.pth", {"net": net}, TOLD).module.state_dict(), STATE)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module.model."])
def test_safetensors_are_named_alike(prefix: str, tmp_path: Path) -> None:
    save_file(renamed(prefix), tmp_path / "a.safetensors")
    assert_close(load_model(tmp_path / "a.safetensors", {"net": net}, TOLD).module.state_dict(), STATE)


@pytest.mark.parametrize("prefix", ["module.", "module.module.", ""])
def test_averaged_safetensors_are_loaded(prefix: str, tmp_path: Path) -> None:
    save_file(renamed(prefix) | {"n_averaged": torch.tensor(3)}, tmp_path / "a.safetensors")
    assert_close(load_model(tmp_path / "a.safetensors", {"net": net}, TOLD).module.state_dict(), STATE)


def test_a_counter_that_the_architecture_has_too_is_kept() -> None:
    wanted = {"n_averaged": torch.zeros(1), "w": torch.zeros(1)}
    assert named_for(dict(wanted), wanted).keys() == wanted.keys()
    assert named_for(dict(wanted), {"w": torch.zeros(1)}).keys() == {"w"}


OTHER = {name: torch.zeros_like(tensor) for name, tensor in STATE.items()}
SEVERAL: dict[str, tuple[dict[str, Any], str]] = {
    "an average": ({"model_ema": OTHER, "model": STATE}, "those under model are used, those under model_ema are not"),
    "timm": ({"state_dict": STATE, "state_dict_ema": OTHER, "epoch": 3}, "those under state_dict_ema are not"),
    "nested": (
        {"model": {"state_dict": STATE}, "ema": {"model": OTHER}},
        "under model.state_dict are used, those under",
    ),
    "a name of one's own": ({"net": STATE, "teacher": OTHER, "student": OTHER}, "under teacher, student are not"),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_a_choice_among_several_sets_of_weights_is_noted(name: str, tmp_path: Path) -> None:
    stored, said = SEVERAL[name]
    torch.save(stored, tmp_path / "a.pth")
    loaded = load_model(tmp_path / "a.pth", {"net": net}, TOLD)
    assert_close(loaded.module.state_dict(), STATE)
    assert said in loaded.notes


def test_one_set_of_weights_is_no_choice(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD(net().parameters(), 0.1, momentum=0.9).state_dict()
    torch.save({"model": STATE, "optimizer": optimizer, "scaler": {"scale": 2.0}, "rng": {}}, tmp_path / "a.pth")
    assert load_model(tmp_path / "a.pth", {"net": net}, TOLD).notes == ""


def test_a_prefix_that_the_architecture_has_too_is_kept() -> None:
    wanted = {"model.0.weight": torch.zeros(1)}
    assert named_for(dict(wanted), wanted).keys() == wanted.keys()
    assert named_for({"0.weight": torch.zeros(1)}, wanted).keys() == {"0.weight"}


def test_what_fits_nothing_keeps_its_names() -> None:
    assert named_for({"a.x": torch.zeros(1), "a.y": torch.zeros(1)}, STATE).keys() == {"a.x", "a.y"}
    assert named_for({}, STATE) == {}


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ({"weights_file": "x", "epoch": 3}, "its keys are weights_file, epoch"),
        ({"model": {"a": 1}, "optimizer": {}}, "its keys are model, optimizer"),
        ({str(i): i for i in range(9)}, "its keys are 0, 1, 2 and 6 more"),
        ([1], "holds a list"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(stored: object, said: str) -> None:
    with pytest.raises(ModelError, match="not a state_dict of named tensors") as caught:
        weights_in(Path("a.pth"), stored)
    assert said in str(caught.value)


def test_a_cycle_of_dictionaries_ends() -> None:
    loop: dict[str, Any] = {"epoch": 1}
    loop["model"] = loop
    with pytest.raises(ModelError, match="its keys are epoch, model"):
        weights_in(Path("a.pth"), loop)


def test_the_message_names_what_is_there_and_the_nearest_architecture(tmp_path: Path) -> None:
    def other(_shape: ImageShape, n_classes: int) -> nn.Module:
        return nn.Linear(5, n_classes)

    torch.save(STATE, tmp_path / "a.pth")
    described = Description("other", (3, 8, 8), 4)
    with pytest.raises(ModelError, match="do not fit other") as caught:
        load_model(tmp_path / "a.pth", {"net": net, "other": other}, described)
    assert "9 tensors are there: 0.weight, 0.bias, 1.weight and 6 more" in str(caught.value)
    assert str(caught.value).endswith("; the nearest architecture is net")


def test_only_a_candidate_with_half_of_the_weights_is_near() -> None:
    assert nearest(STATE, {"a": {"0.weight": STATE["0.weight"]}, "b": {}}) is None
    assert nearest(renamed("model."), {"a": {}, "b": STATE}) == "b"
    assert shortened([]) == "none"


def test_no_network_is_made_before_its_weights_are_compared(tmp_path: Path) -> None:
    made: list[str] = []

    def giant(_shape: ImageShape, n_classes: int) -> nn.Module:
        made.append(str(torch.get_default_device()))
        return nn.Linear(10**6, 10**6)  # four terabytes

    torch.save(STATE, tmp_path / "a.pth")
    with pytest.raises(ModelError, match="do not fit giant"):
        load_model(tmp_path / "a.pth", {"giant": giant}, Description("giant", (3, 8, 8), 4))
    assert set(made) == {"meta"}


@pytest.mark.parametrize(
    ("classes", "said"), [(1000, "1000 classes, more than the 4"), (2, "2 classes, fewer than the 4")]
)
def test_weights_for_another_number_of_classes_say_so(classes: int, said: str, tmp_path: Path) -> None:
    torch.save(net(SHAPE, classes).state_dict(), tmp_path / "a.pth")
    with pytest.raises(ModelError, match=f"the file has {said} of the data: give the data that it was trained for"):
        load_model(tmp_path / "a.pth", {"net": net}, TOLD)
    torch.save({"w": torch.rand(3)}, tmp_path / "b.pth")
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path / "b.pth", {"net": net}, TOLD)
    assert "of the data" not in str(caught.value)
