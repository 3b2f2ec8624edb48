"""torchvision's data sets, with a stand-in for torchvision: what is asked of it, and what its failures become."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import URLError

import pytest
import torch
from PIL import Image

from simkit.data import load
from simkit.data.load import open_source
from simkit.errors import DataError
from tests.simkit.data.pictures import picture


class _Dataset:
    """Images of their row's number, and what was asked for."""

    asked: tuple[Any, ...] = ()
    read: list[int]
    sizes: Sequence[tuple[int, int]] = ((32, 32),)

    def __init__(self, *args: Any) -> None:
        type(self).asked = args
        self.read = type(self).read = []

    def __len__(self) -> int:
        return 20

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        self.read.append(row)
        print("Files already downloaded and verified")
        return Image.fromarray(picture(row, *self.sizes[row % len(self.sizes)])), row % 10


class CIFAR10(_Dataset):
    classes = [f"c{i}" for i in range(10)]  # noqa: RUF012 (as there)

    def __init__(self, root: Path, train: bool, download: bool) -> None:
        super().__init__(root, train, download)
        print("Files already downloaded and verified")


class GTSRB(_Dataset):
    sizes = ((20, 31), (40, 33))

    def __init__(self, root: Path, split: str, download: bool) -> None:
        super().__init__(root, split, download)


class Imagenette(_Dataset):
    classes = [(f"c{i}", "another name") for i in range(10)]  # noqa: RUF012 (as there)
    sizes = ((160, 213), (200, 160))

    def __init__(self, root: Path, split: str, size: str, download: bool) -> None:
        super().__init__(root, split, size, download)


@pytest.fixture
def datasets(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    package, module = ModuleType("torchvision"), ModuleType("torchvision.datasets")
    module.CIFAR10, module.GTSRB, package.datasets = CIFAR10, GTSRB, module  # type: ignore[attr-defined]
    module.Imagenette = Imagenette  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    return module


@pytest.mark.usefixtures("datasets")
def test_imagenette_is_fetched_once_and_made_small(tmp_path: Path) -> None:
    images = load(f"torchvision:imagenette@{tmp_path}", "test", limit=3)
    assert (images.image_shape, images.classes[0], images.name) == ((3, 96, 96), "c0", "imagenette/test")
    assert Imagenette.asked == (tmp_path, "val", "160px", True)
    (tmp_path / "imagenette2-160").mkdir()
    load(f"torchvision:imagenette@{tmp_path}", "train", limit=3)
    assert Imagenette.asked == (tmp_path, "train", "160px", False)


@pytest.mark.usefixtures("datasets")
def test_cifar10_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIMKIT_HOME", str(tmp_path))
    images = load("torchvision:cifar10", "test", limit=4, seed=1)
    assert (images.image_shape, images.classes, images.name) == ((3, 32, 32), tuple(CIFAR10.classes), "cifar10/test")
    assert CIFAR10.asked == (tmp_path / "data", False, True)
    assert images.labels.tolist() == [row % 10 for row in CIFAR10.read]
    assert torch.equal(images.pixels[0], torch.from_numpy(picture(CIFAR10.read[0], 32, 32)).permute(2, 0, 1) / 255.0)
    assert open_source("torchvision:cifar10").size("train") == 20
    assert CIFAR10.asked[1] is True
    assert capsys.readouterr().out.count("verified") == 4, "what opening prints does not go to stdout"


@pytest.mark.usefixtures("datasets")
def test_gtsrb_is_brought_to_one_size_and_may_lie_elsewhere(tmp_path: Path) -> None:
    images = load(f"torchvision:gtsrb@{tmp_path}", "train")
    assert (images.image_shape, images.n_classes, len(images)) == ((3, 32, 32), 43, 20)
    assert GTSRB.asked == (tmp_path, "train", True)
    assert load(f"torchvision:gtsrb@{tmp_path}", "train", image_size=(16, 8)).image_shape == (3, 16, 8)


@pytest.mark.parametrize("data", ["torchvision:mnist", "torchvision:", "torchvision:cifar10@"])
def test_other_sets_are_refused(data: str) -> None:
    with pytest.raises(DataError, match="choose from torchvision:cifar10, torchvision:gtsrb"):
        load(data, "test")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(DataError, match=r"pip install 'b3d-simkit\[vision\]'"):
        load("torchvision:cifar10", "test")


def test_a_torchvision_for_another_torch_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision").mkdir()
    broken = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "torchvision" / "__init__.py").write_text(broken, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DataError, match="nms does not exist; install both from the same index"):
        load("torchvision:cifar10", "test")


def test_without_a_network_it_says_where_files_may_be_put(
    tmp_path: Path, datasets: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(datasets, "CIFAR10", refuse)
    with pytest.raises(DataError, match=r"cannot be loaded: URLError: .*no route.*@DIR") as caught:
        load(f"torchvision:cifar10@{tmp_path}", "test")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("datasets")
def test_a_file_that_an_unfinished_download_cut_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def cut(self: GTSRB, row: int) -> None:
        raise OSError("image file is truncated")

    monkeypatch.setattr(GTSRB, "__getitem__", cut)
    with pytest.raises(DataError, match=r"gtsrb: test image \d+: OSError: image file is truncated; remove"):
        load(f"torchvision:gtsrb@{tmp_path}", "test", limit=1)
