from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from oracles.errors import ModelError
from oracles.model_files import Description, architectures, load_model
from oracles.model_files.architectures import find_architecture, library_of
from tests.oracles.model_files.files import ARCHITECTURES, SHAPE, flat, victim


def made(*_: Any, num_classes: int, in_chans: int = 3, weights: object = None, pretrained: bool = False) -> nn.Module:
    assert weights is None, "nothing is downloaded"
    assert not pretrained, "nothing is downloaded"
    return flat((in_chans, 8, 8), num_classes)


TORCHVISION = SimpleNamespace(models=SimpleNamespace(list_models=lambda module: ["resnet18", "vgg16"], get_model=made))
TIMM = SimpleNamespace(list_models=lambda: ["resnet18", "resnet34", "vit_tiny"], create_model=made)


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two libraries with made-up registries, whatever is installed."""
    reference = {"torchvision": TORCHVISION, "timm": TIMM}
    monkeypatch.setattr(importlib, "import_module", reference.__getitem__)
    monkeypatch.setattr(architectures, "version", lambda library: "1.2.3")


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18", "flat"])
def test_weights_are_put_into_the_architecture_of_that_name(tmp_path: Path, name: str) -> None:
    torch.save(victim().state_dict(), tmp_path / "a.pt")
    loaded = load_model(tmp_path / "a.pt", ARCHITECTURES, Description(name, SHAPE, 4))
    assert loaded.libraries == ({} if name == "flat" else {name.partition(":")[0]: "1.2.3"})
    torch.testing.assert_close(loaded.module.state_dict(), victim().state_dict())


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("name", ["torchvision:resnet81", "timm:resnet19", "timm:hf-hub:evil/model", "torchvision:"])
def test_an_unknown_name_comes_with_the_nearest(name: str) -> None:
    with pytest.raises(ModelError, match=f"no architecture '{name}'; nearest: ") as caught:
        find_architecture(name, {})
    assert ("resnet18" in str(caught.value)) == ("resnet" in name)


def test_an_unknown_name_of_no_library_lists_what_there_is() -> None:
    with pytest.raises(ModelError, match=r"known: flat; or torchvision:NAME, timm:NAME"):
        find_architecture("deep", ARCHITECTURES)
    assert library_of(None) == library_of("flat") == {}


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ModuleNotFoundError(name="timm"), r"need timm: pip install 'b3d-simkit\[timm\]'"),
        (RuntimeError("operator torchvision::nms does not exist"), "must come from the same index"),
    ],
)
def test_a_library_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, error: Exception, says: str) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ModelError, match=says) as caught:
        find_architecture("timm:resnet18", {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18"])
def test_the_real_libraries(tmp_path: Path, name: str) -> None:
    try:
        importlib.import_module(name.partition(":")[0])
    except Exception as error:
        pytest.skip(f"{name.partition(':')[0]} cannot be imported here: {error}")
    module = find_architecture(name, {})((3, 32, 32), 7)
    torch.save(module.state_dict(), tmp_path / "a.pt")
    loaded = load_model(tmp_path / "a.pt", {}, Description(name, (3, 32, 32), 7))
    assert loaded.module(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    torch.save(module.state_dict() | {"odd": torch.zeros(1)}, tmp_path / "b.pt")
    with pytest.raises(ModelError, match=r"of another shape: fc.weight \(7, 512\) instead of \(9, 512\)"):
        load_model(tmp_path / "b.pt", {}, Description(name, (3, 32, 32), 9))
