"""From what the user names to an oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from oracles.errors import ModelError
from simkit.data import load
from simkit.errors import DataError
from studies.models import model_path, module_sha256, open_model
from studies.scan_config import ScanConfig

CONFIG = ScanConfig.of({"data": "digits"})


def net(weight: float = 0.0, last: nn.Module | None = None) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), *([last] if last else []))
    nn.init.constant_(model.get_parameter("1.weight"), weight)
    nn.init.zeros_(model.get_parameter("1.bias"))
    return model


def test_a_hash_is_of_the_weights_and_the_layers() -> None:
    assert module_sha256(net()) == module_sha256(net())
    assert len({module_sha256(m) for m in (net(), net(1.0), net(last=nn.ReLU()), net(last=nn.Tanh()))}) == 4
    assert module_sha256(net().half()) != module_sha256(net())


def test_a_scalar_and_an_empty_state_have_a_hash() -> None:
    assert module_sha256(nn.BatchNorm2d(3)) != module_sha256(nn.ReLU())


class Shifted(nn.Module):
    """Keeps `shift`, whatever it is, as an attribute."""

    def __init__(self, shift: object) -> None:
        super().__init__()
        self.net, self.shift = net(), shift

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        shifted: torch.Tensor = self.net(images)
        return shifted


class Scripted(nn.Module):
    """As `Shifted`, for TorchScript."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.net, self.shift = net(), shift

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        shifted: torch.Tensor = self.net(images - self.shift)
        return shifted


def test_a_hash_is_of_what_is_no_weight() -> None:
    plain: list[object] = [
        0,
        1,
        0.5,
        True,
        None,
        "0",
        (0, 1),
        (0, (1,)),
        [0.5, 0.25],
        {"mean": 0.5},
        torch.ones(3),
        torch.zeros(3),
    ]
    plain += [torch.ones(3, 1), np.zeros(3), np.ones(3)]
    assert len({module_sha256(Shifted(shift)) for shift in plain}) == len(plain)
    assert module_sha256(Shifted((0, 0.5))) == module_sha256(Shifted((0, 0.5)))
    convs = [
        nn.Sequential(nn.Conv2d(1, 1, 3, stride=stride, padding=padding)) for stride in (1, 2) for padding in (0, 1)
    ]
    for conv in convs:
        conv.load_state_dict(convs[0].state_dict())
    assert len(set(map(module_sha256, convs))) == 4
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        scripts = [torch.jit.script(Scripted(shift)) for shift in (0.0, 0.5, 0.5)]
    assert [module_sha256(script) == module_sha256(scripts[1]) for script in scripts] == [False, True, True]


def test_a_hash_is_of_the_name_and_of_no_address() -> None:
    assert len({module_sha256(net(), name) for name in (None, "None", "a", "b")}) == 4
    assert module_sha256(net(), "a") == module_sha256(net(), "a")
    assert module_sha256(Shifted(object())) == module_sha256(Shifted(object()))


def test_an_entry_of_a_zoo_is_its_file(demo_folder: Path) -> None:
    zoo = demo_folder / "zoo"
    assert model_path(f"{zoo}:0") == zoo / "0000.safetensors"
    assert model_path(zoo / "0000.safetensors") == zoo / "0000.safetensors"
    with pytest.raises(DataError, match="no victim 5"):
        model_path(f"{zoo}:5")


def test_a_file_with_such_a_name_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "model:7").write_bytes(b"")
    assert model_path(tmp_path / "model:7") == tmp_path / "model:7"


def test_the_file_says_what_it_answers(demo_folder: Path) -> None:
    images = load("digits", "test", 20)
    opened = open_model(f"{demo_folder / 'zoo'}:0", images, CONFIG)
    assert opened.oracle.n_classes == 10
    assert len(opened.sha256) == 64
    assert float(opened.oracle.query(images.pixels).values.sum(axis=1).mean()) == pytest.approx(1.0)  # type: ignore[union-attr]


def test_a_model_for_other_images_is_told_with_both_shapes(demo_folder: Path) -> None:
    images = load("digits", "test", 20)
    wide = type(images)(torch.zeros(20, 3, 8, 8), images.labels, images.classes, "wide")
    with pytest.raises(ModelError, match=r"\(1, 8, 8\).*\(3, 8, 8\)"):
        open_model(demo_folder / "zoo" / "0000.safetensors", wide, CONFIG)
